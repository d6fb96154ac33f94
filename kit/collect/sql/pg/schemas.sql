-- title = "Schemas"
-- grain = "one row per schema"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_namespace"
-- [columns]
-- schema_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- owner_name = {dtype = "string", class = "identifier"}
select
  n.oid::pg_catalog.text as schema_oid,
  n.nspname::pg_catalog.text as schema_name,
  pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text as owner_name
from pg_catalog.pg_namespace as n
-- The schemas of temporary tables and of TOAST are left out: one or two per connection slot, and nobody grants on them
where not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_temp_') and not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_toast')
order by n.nspname;
