-- Production as it is: the migration that adds sessions.platform_id never ran here.
create extension pg_stat_statements;
create schema app authorization app;
grant usage on schema app to investigator;
create table app.sessions (
  session_id uuid primary key default gen_random_uuid(),
  user_id bigint not null,
  created_at timestamptz not null default now()
);
alter table app.sessions owner to app;
alter role app in database orders set search_path = app;
insert into app.sessions (user_id) select number from generate_series(1, 100) as number;
analyze app.sessions;
