-- title = "Columns that take values of a sequence"
-- grain = "one row per column and sequence"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_depend"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- column_name = {dtype = "string", class = "identifier"}
-- sequence_oid = {dtype = "string"}
-- sequence_schema_name = {dtype = "string", class = "identifier"}
-- sequence_name = {dtype = "string", class = "identifier"}
-- how = {dtype = "string"}
with uses as (
  -- The sequence of an identity column is a part of the column
  select d.refobjid as relation_oid, d.refobjsubid as attnum, d.objid as sequence_oid, 'identity' as how
  from pg_catalog.pg_depend as d
  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and d.refobjsubid > 0
    and d.deptype = 'i'
  union all
  select f.adrelid, f.adnum, d.refobjid, 'default'
  from pg_catalog.pg_depend as d
  join pg_catalog.pg_attrdef as f on f.oid = d.objid
  where d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and d.deptype = 'n'
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  a.attname::pg_catalog.text as column_name,
  s.oid::pg_catalog.text as sequence_oid,
  sn.nspname::pg_catalog.text as sequence_schema_name,
  s.relname::pg_catalog.text as sequence_name,
  u.how
from uses as u
join pg_catalog.pg_class as s on s.oid = u.sequence_oid and s.relkind = 'S'
join pg_catalog.pg_namespace as sn on sn.oid = s.relnamespace
join pg_catalog.pg_class as c on c.oid = u.relation_oid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_attribute as a on a.attrelid = u.relation_oid and a.attnum = u.attnum
where n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid, a.attnum, s.oid;
