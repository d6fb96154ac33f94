-- title = "Relations of extensions"
-- grain = "one row per relation that an extension has made"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_depend"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- extension_name = {dtype = "string", class = "identifier"}
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  e.extname::pg_catalog.text as extension_name
from pg_catalog.pg_depend as d
join pg_catalog.pg_extension as e on e.oid = d.refobjid
join pg_catalog.pg_class as c on c.oid = d.objid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
  and d.deptype = 'e'
  and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid, e.extname;
