-- title = "Foreign keys"
-- grain = "one row per declared foreign key"
-- group = "storage"
-- since = 13
-- cost = "one scan of pg_constraint"
-- [columns]
-- constraint_name = {dtype = "string", class = "identifier"}
-- schema_name = {dtype = "string", class = "identifier"}
-- table_oid = {dtype = "string"}
-- table_name = {dtype = "string", class = "identifier"}
-- column_names = {dtype = "list[string]", class = "identifier"}
-- referenced_schema_name = {dtype = "string", class = "identifier"}
-- referenced_table_name = {dtype = "string", class = "identifier"}
-- referenced_table_oid = {dtype = "string"}
-- is_validated = {dtype = "boolean"}
select
  o.conname::pg_catalog.text as constraint_name,
  n.nspname::pg_catalog.text as schema_name,
  c.oid::pg_catalog.text as table_oid,
  c.relname::pg_catalog.text as table_name,
  array(
    select a.attname::pg_catalog.text
    from pg_catalog.unnest(o.conkey) with ordinality as k(attnum, position)
    join pg_catalog.pg_attribute as a on a.attrelid = o.conrelid and a.attnum = k.attnum
    order by k.position
  ) as column_names,
  rn.nspname::pg_catalog.text as referenced_schema_name,
  rc.relname::pg_catalog.text as referenced_table_name,
  rc.oid::pg_catalog.text as referenced_table_oid,
  o.convalidated as is_validated
from pg_catalog.pg_constraint as o
join pg_catalog.pg_class as c on c.oid = o.conrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_class as rc on rc.oid = o.confrelid
join pg_catalog.pg_namespace as rn on rn.oid = rc.relnamespace
-- The copies that the server makes for partitions (on either side) are left out: the one of the parent stands for them
where o.contype = 'f' and o.conparentid = 0
order by n.nspname, c.relname, o.conname, o.oid;
