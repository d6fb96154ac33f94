-- title = "Extensions"
-- grain = "one row per installed extension"
-- group = "server"
-- since = 13
-- cost = "reads the control files of the available extensions"
-- [columns]
-- extension_name = {dtype = "string", class = "identifier"}
-- schema_name = {dtype = "string", class = "identifier"}
-- version = {dtype = "string"}
-- default_version = {dtype = "string"}
select
  e.extname::pg_catalog.text as extension_name,
  n.nspname::pg_catalog.text as schema_name,
  e.extversion as version,
  -- NULL where the server no longer has the extension's files
  a.default_version
from pg_catalog.pg_extension as e
join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
left join pg_catalog.pg_available_extensions() as a on a.name = e.extname
order by e.extname;
