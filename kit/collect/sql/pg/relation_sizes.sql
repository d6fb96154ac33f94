-- title = "Sizes of tables"
-- grain = "one row per table and materialized view"
-- group = "storage"
-- since = 13
-- cost = "opens every table and its TOAST table once, and asks for the sizes of their files"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string"}
-- table_bytes = {dtype = "Int64", unit = "bytes of the main fork"}
-- toast_bytes = {dtype = "Int64", unit = "bytes of the main fork of the TOAST table; NULL without one"}
-- is_locked = {dtype = "boolean"}
with locked as materialized (
  -- Opening one of these would wait: another session holds ACCESS EXCLUSIVE, or waits for it with us behind it in the queue
  select distinct l.relation as oid
  from pg_catalog.pg_locks as l
  join pg_catalog.pg_database as d on d.oid = l.database
  where l.locktype = 'relation'
    and l.mode = 'AccessExclusiveLock'
    and d.datname = pg_catalog.current_database()
    and l.pid is distinct from pg_catalog.pg_backend_pid()
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  case c.relkind when 'r' then 'table' when 'm' then 'materialized view' end as kind,
  case when c.oid not in (select l.oid from locked as l) then pg_catalog.pg_relation_size(c.oid) end as table_bytes,
  case
    when c.reltoastrelid <> 0 and c.reltoastrelid not in (select l.oid from locked as l)
      then pg_catalog.pg_relation_size(c.reltoastrelid)
  end as toast_bytes,
  c.oid in (select l.oid from locked as l) or c.reltoastrelid in (select l.oid from locked as l) as is_locked
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
-- Partitions are listed, their parents have no storage. The server's own tables are left out
where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
