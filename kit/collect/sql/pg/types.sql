-- title = "Types"
-- grain = "one row per enum, domain, range, base type and composite type of its own"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_type"
-- [columns]
-- type_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- type_name = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string"}
-- owner_name = {dtype = "string", class = "identifier"}
-- has_default_acl = {dtype = "boolean"}
select
  t.oid::pg_catalog.text as type_oid,
  n.nspname::pg_catalog.text as schema_name,
  t.typname::pg_catalog.text as type_name,
  case t.typtype
    when 'e' then 'enum'
    when 'd' then 'domain'
    when 'r' then 'range'
    when 'm' then 'multirange'
    when 'b' then 'base'
    when 'c' then 'composite'
  end as kind,
  pg_catalog.pg_get_userbyid(t.typowner)::pg_catalog.text as owner_name,
  t.typacl is null as has_default_acl
from pg_catalog.pg_type as t
join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
left join pg_catalog.pg_class as c on c.oid = t.typrelid
-- Arrays, shell types and the row types of relations are left out, as are the server's own types
where t.typtype in ('e', 'd', 'r', 'm', 'b', 'c')
  and (t.typrelid = 0 or c.relkind = 'c')
  and not (t.typtype = 'b' and t.typelem <> 0 and exists (select 1 from pg_catalog.pg_type as e where e.typarray = t.oid))
  and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, t.typname, t.oid;
