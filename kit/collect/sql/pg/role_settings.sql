-- title = "Settings of roles and databases"
-- grain = "one row per role, database and setting"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_db_role_setting"
-- [columns]
-- role_name = {dtype = "string", class = "identifier"}
-- database_name = {dtype = "string", class = "identifier"}
-- setting_name = {dtype = "string"}
-- setting_value = {dtype = "string", mask = "option"}
select
  -- NULL for all roles
  r.rolname::pg_catalog.text as role_name,
  -- NULL for all databases
  d.datname::pg_catalog.text as database_name,
  pg_catalog.split_part(c.item, '=', 1) as setting_name,
  pg_catalog.substr(c.item, pg_catalog.strpos(c.item, '=') + 1) as setting_value
from pg_catalog.pg_db_role_setting as s
cross join lateral pg_catalog.unnest(s.setconfig) as c(item)
left join pg_catalog.pg_roles as r on r.oid = s.setrole
left join pg_catalog.pg_database as d on d.oid = s.setdatabase
order by r.rolname, d.datname, setting_name;
