-- Staged fault: incident A. What the service logs in with lies in a schema of the migrator's, made with the migrator's
-- own connection (`?schema=auth`). The service has no USAGE on it, so an unqualified name "does not exist".
set role migrator;
create schema auth;
reset role;

-- Someone's remedy, which has no effect: shop_owner never creates anything here, migrator does.
alter default privileges for role shop_owner in schema auth
  grant select, insert, update, delete on tables to shop_api;

set role migrator;
create table auth.login_sessions (
  session_id text primary key,
  customer_id bigint not null,
  expires_at timestamptz not null
);
insert into auth.login_sessions
select md5('login ' || n), n, :'now'::timestamptz + n * interval '1 minute'
from generate_series(1, 200) as n;

create table auth.siwe_nonces (
  nonce text primary key,
  address text not null,
  expires_at timestamptz not null
);
insert into auth.siwe_nonces
select md5('nonce ' || n), '0x' || left(md5('address ' || n) || md5('more ' || n), 40), :'now'::timestamptz
from generate_series(1, 40) as n;

create table auth.blacklisted_tokens (
  token_hash text primary key,
  revoked_at timestamptz not null
);
insert into auth.blacklisted_tokens
select md5('revoked ' || n), :'now'::timestamptz - n * interval '1 day'
from generate_series(1, 40) as n;
reset role;
