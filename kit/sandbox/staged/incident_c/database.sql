-- Shared by auth-service and backend; nothing is wrong with it.
create extension pg_stat_statements;
create schema platform authorization staging;
grant usage on schema platform to investigator;
create table platform.accounts (account_id bigint generated always as identity primary key, email text not null unique);
create table platform.tokens (
  token_id bigint generated always as identity primary key,
  account_id bigint not null references platform.accounts,
  expires_at timestamptz not null
);
create index on platform.tokens (account_id);
alter table platform.accounts owner to staging;
alter table platform.tokens owner to staging;
alter role staging in database platform set search_path = platform;
insert into platform.accounts (email) select 'account' || number || '@example.com' from generate_series(1, 200) as number;
insert into platform.tokens (account_id, expires_at) select account_id, now() + interval '1 day' from platform.accounts;
analyze platform.accounts, platform.tokens;
