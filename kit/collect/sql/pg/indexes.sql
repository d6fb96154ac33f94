-- title = "Indexes"
-- grain = "one row per index"
-- group = "storage"
-- since = 13
-- cost = "opens every index once and asks for the size of its file"
-- [columns]
-- index_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- index_name = {dtype = "string", class = "identifier"}
-- table_oid = {dtype = "string"}
-- table_name = {dtype = "string", class = "identifier"}
-- access_method = {dtype = "string"}
-- is_unique = {dtype = "boolean"}
-- is_primary = {dtype = "boolean"}
-- is_valid = {dtype = "boolean"}
-- is_ready = {dtype = "boolean"}
-- backs_constraint = {dtype = "boolean"}
-- is_partial = {dtype = "boolean"}
-- has_expressions = {dtype = "boolean"}
-- column_names = {dtype = "list[string]", class = "identifier"}
-- index_bytes = {dtype = "Int64", unit = "bytes of the main fork; NULL where locked or partitioned"}
-- is_locked = {dtype = "boolean"}
-- scans = {dtype = "Int64", unit = "since statistics_reset_at of the database; NULL where partitioned"}
-- last_scan_at = {dtype = "datetime64[us, UTC]"}
with locked as materialized (
  -- Opening one of these would wait: another session holds ACCESS EXCLUSIVE, or waits for it with us behind it in the queue
  select distinct l.relation as oid
  from pg_catalog.pg_locks as l
  join pg_catalog.pg_database as d on d.oid = l.database
  where l.locktype = 'relation'
    and l.mode = 'AccessExclusiveLock'
    and d.datname = pg_catalog.current_database()
    and l.pid is distinct from pg_catalog.pg_backend_pid()
),
keys as (
  select
    i.indexrelid,
    -- The key columns in their order, NULL for an expression; INCLUDE columns are left out
    pg_catalog.array_agg(a.attname::pg_catalog.text order by k.position) as column_names
  from pg_catalog.pg_index as i
  cross join lateral pg_catalog.unnest(i.indkey::smallint[]) with ordinality as k(attnum, position)
  left join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where k.position <= i.indnkeyatts
  group by i.indexrelid
),
constraints as (
  -- Primary key, unique, exclusion, and the index a foreign key of another table relies on
  select distinct o.conindid as oid from pg_catalog.pg_constraint as o where o.conindid <> 0
)
select
  c.oid::pg_catalog.text as index_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as index_name,
  t.oid::pg_catalog.text as table_oid,
  t.relname::pg_catalog.text as table_name,
  m.amname::pg_catalog.text as access_method,
  i.indisunique as is_unique,
  i.indisprimary as is_primary,
  i.indisvalid as is_valid,
  i.indisready as is_ready,
  o.oid is not null as backs_constraint,
  i.indpred is not null as is_partial,
  i.indexprs is not null as has_expressions,
  keys.column_names,
  case
    when c.relkind = 'i' and c.oid not in (select l.oid from locked as l) then pg_catalog.pg_relation_size(c.oid)
  end as index_bytes,
  c.oid in (select l.oid from locked as l) as is_locked,
  case when c.relkind = 'i' then pg_catalog.pg_stat_get_numscans(c.oid) end as scans,
  null::pg_catalog.timestamptz as last_scan_at
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indexrelid
join pg_catalog.pg_class as t on t.oid = i.indrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_am as m on m.oid = c.relam
join keys on keys.indexrelid = i.indexrelid
left join constraints as o on o.oid = i.indexrelid
-- Partitioned indexes are listed beside those of the partitions. Those of the server's own tables and of TOAST are left out
where t.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
