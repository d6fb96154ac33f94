-- What the migrations make: in schema app, owned by the role that migrates, granted to nobody.
create schema app authorization migrator;
set role migrator;
create table app.siwe_nonces (nonce text primary key, address text not null);
insert into app.siwe_nonces select md5('nonce ' || n), '0x' || md5('address ' || n) from generate_series(1, 3) as n;
create table app.blacklisted_tokens (token_hash text primary key);
insert into app.blacklisted_tokens select md5('token ' || n) from generate_series(1, 3) as n;
create table app._prisma_migrations (
  id text primary key, checksum text not null, finished_at timestamptz, migration_name text not null, logs text,
  rolled_back_at timestamptz, started_at timestamptz not null default now(), applied_steps_count int not null default 0
);
insert into app._prisma_migrations values ('1', '', now(), '20260301_siwe', null, null, now(), 1);
reset role;
