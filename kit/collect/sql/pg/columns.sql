-- title = "Columns"
-- grain = "one row per column of a table, view, materialized view and foreign table"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_attribute"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- column_name = {dtype = "string", class = "identifier"}
-- position = {dtype = "Int64"}
-- type_name = {dtype = "string", class = "identifier"}
-- is_not_null = {dtype = "boolean"}
-- has_default = {dtype = "boolean"}
-- identity = {dtype = "string"}
-- generated = {dtype = "string"}
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  a.attname::pg_catalog.text as column_name,
  a.attnum::bigint as position,
  pg_catalog.format_type(a.atttypid, a.atttypmod) as type_name,
  a.attnotnull as is_not_null,
  -- What a generated column is made of stands in the same place as a default
  a.atthasdef and a.attgenerated = '' as has_default,
  case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as identity,
  case a.attgenerated when 's' then 'stored' when 'v' then 'virtual' end as generated
from pg_catalog.pg_attribute as a
join pg_catalog.pg_class as c on c.oid = a.attrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
-- Partitions and their parents are both listed. The server's own relations are left out
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and a.attnum > 0
  and not a.attisdropped
  and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid, a.attnum;
