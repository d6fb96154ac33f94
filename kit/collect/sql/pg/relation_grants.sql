-- title = "Grants on relations"
-- grain = "one row per relation, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_class"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- grantable = {dtype = "list[string]"}
select
  -- Only where an acl is set: `has_default_acl` of the relations says where not. Grantee NULL is PUBLIC
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges,
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.is_grantable), '{}'::pg_catalog.text[]
  ) as grantable
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral pg_catalog.aclexplode(c.relacl) as a
-- Partitions and their parents have grants of their own. The server's own relations are left out
where c.relacl is not null
  and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and n.nspname not in ('pg_catalog', 'information_schema')
group by n.nspname, c.relname, c.oid, a.grantor, a.grantee
order by n.nspname, c.relname, c.oid, grantor_name, a.grantee, a.grantor;
