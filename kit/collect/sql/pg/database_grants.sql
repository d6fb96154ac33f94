-- title = "Grants on databases"
-- grain = "one row per database, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_database"
-- [columns]
-- database_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- grantable = {dtype = "list[string]"}
select
  -- A NULL acl means the defaults, not nothing; grantee NULL is PUBLIC, and a dropped role still has its number
  d.datname::pg_catalog.text as database_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges,
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.is_grantable), '{}'::pg_catalog.text[]
  ) as grantable
from pg_catalog.pg_database as d
cross join lateral pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) as a
group by d.datname, a.grantor, a.grantee
order by d.datname, grantor_name, a.grantee, a.grantor;
