-- title = "Grants on functions"
-- grain = "one row per function, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_proc"
-- [columns]
-- function_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- function_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- grantable = {dtype = "list[string]"}
select
  -- Only where an acl is set: `has_default_acl` of the functions says where not. Grantee NULL is PUBLIC
  p.oid::pg_catalog.text as function_oid,
  n.nspname::pg_catalog.text as schema_name,
  p.proname::pg_catalog.text as function_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges,
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.is_grantable), '{}'::pg_catalog.text[]
  ) as grantable
from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
cross join lateral pg_catalog.aclexplode(p.proacl) as a
where p.proacl is not null and n.nspname <> 'information_schema'
group by n.nspname, p.proname, p.oid, a.grantor, a.grantee
order by n.nspname, p.proname, p.oid, grantor_name, a.grantee, a.grantor;
