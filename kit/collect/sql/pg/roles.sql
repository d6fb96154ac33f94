-- title = "Roles"
-- grain = "one row per role"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_authid"
-- [columns]
-- role_name = {dtype = "string", class = "identifier"}
-- is_superuser = {dtype = "boolean"}
-- inherits = {dtype = "boolean"}
-- can_login = {dtype = "boolean"}
-- can_create_role = {dtype = "boolean"}
-- can_create_database = {dtype = "boolean"}
-- bypasses_row_security = {dtype = "boolean"}
-- connection_limit = {dtype = "Int64", unit = "connections; -1 is none"}
-- valid_until = {dtype = "datetime64[us, UTC]"}
-- is_valid_forever = {dtype = "boolean"}
select
  r.rolname::pg_catalog.text as role_name,
  r.rolsuper as is_superuser,
  r.rolinherit as inherits,
  r.rolcanlogin as can_login,
  r.rolcreaterole as can_create_role,
  r.rolcreatedb as can_create_database,
  r.rolbypassrls as bypasses_row_security,
  r.rolconnlimit::bigint as connection_limit,
  -- Python knows no infinite times and none before Christ
  case
    when r.rolvaliduntil > '0001-01-02 00:00:00+00' and r.rolvaliduntil < '9999-12-30 00:00:00+00' then r.rolvaliduntil
  end as valid_until,
  r.rolvaliduntil is null or r.rolvaliduntil >= '9999-12-30 00:00:00+00' as is_valid_forever
from pg_catalog.pg_roles as r
order by r.rolname;
