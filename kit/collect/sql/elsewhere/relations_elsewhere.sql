-- title = "Relations of the other databases"
-- grain = "one row per table, view, materialized view, foreign table and sequence of another database"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_class in each of the other databases"
-- [columns]
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string"}
-- owner_name = {dtype = "string", class = "identifier"}
select
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  case c.relkind
    when 'r' then 'table'
    when 'p' then 'partitioned table'
    when 'v' then 'view'
    when 'm' then 'materialized view'
    when 'f' then 'foreign table'
    when 'S' then 'sequence'
  end as kind,
  pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text as owner_name
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
