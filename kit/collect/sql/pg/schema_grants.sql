-- title = "Grants on schemas"
-- grain = "one row per schema, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_namespace"
-- [columns]
-- schema_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- grantable = {dtype = "list[string]"}
select
  -- A NULL acl means the defaults, not nothing; grantee NULL is PUBLIC, and a dropped role still has its number
  n.nspname::pg_catalog.text as schema_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges,
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.is_grantable), '{}'::pg_catalog.text[]
  ) as grantable
from pg_catalog.pg_namespace as n
cross join lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) as a
-- The schemas of temporary tables and of TOAST are left out: one or two per connection slot, and nobody grants on them
where not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_temp_') and not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_toast')
group by n.nspname, a.grantor, a.grantee
order by n.nspname, grantor_name, a.grantee, a.grantor;
