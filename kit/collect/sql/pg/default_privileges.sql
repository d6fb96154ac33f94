-- title = "Default privileges"
-- grain = "one row per creator, schema, kind of object and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_default_acl"
-- [columns]
-- creator_name = {dtype = "string", class = "identifier"}
-- schema_name = {dtype = "string", class = "identifier"}
-- object_kind = {dtype = "string"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
select
  pg_catalog.pg_get_userbyid(d.defaclrole)::pg_catalog.text as creator_name,
  -- NULL for all schemas
  n.nspname::pg_catalog.text as schema_name,
  case d.defaclobjtype
    when 'r' then 'table'
    when 'S' then 'sequence'
    when 'f' then 'function'
    when 'T' then 'type'
    when 'n' then 'schema'
    when 'L' then 'large object'
  end as object_kind,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  -- An acl from which everything was revoked is one row without privileges
  coalesce(
    pg_catalog.array_agg(a.privilege_type order by a.privilege_type) filter (where a.privilege_type is not null),
    '{}'::pg_catalog.text[]
  ) as privileges
from pg_catalog.pg_default_acl as d
left join pg_catalog.pg_namespace as n on n.oid = d.defaclnamespace
left join lateral pg_catalog.aclexplode(d.defaclacl) as a on true
group by d.defaclrole, n.nspname, d.defaclobjtype, a.grantee
order by creator_name, n.nspname, object_kind, a.grantee, d.defaclrole;
