-- title = "Grants on types"
-- grain = "one row per type, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_type"
-- [columns]
-- type_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- type_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- grantable = {dtype = "list[string]"}
select
  -- Only where an acl is set: `has_default_acl` of the types says where not. Grantee NULL is PUBLIC
  t.oid::pg_catalog.text as type_oid,
  n.nspname::pg_catalog.text as schema_name,
  t.typname::pg_catalog.text as type_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges,
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.is_grantable), '{}'::pg_catalog.text[]
  ) as grantable
from pg_catalog.pg_type as t
join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
left join pg_catalog.pg_class as c on c.oid = t.typrelid
cross join lateral pg_catalog.aclexplode(t.typacl) as a
-- The same types as are listed
where t.typacl is not null
  and t.typtype in ('e', 'd', 'r', 'm', 'b', 'c')
  and (t.typrelid = 0 or c.relkind = 'c')
  and n.nspname not in ('pg_catalog', 'information_schema')
group by n.nspname, t.typname, t.oid, a.grantor, a.grantee
order by n.nspname, t.typname, t.oid, grantor_name, a.grantee, a.grantor;
