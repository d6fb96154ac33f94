-- title = "Views that take changes"
-- grain = "one row per view"
-- group = "access"
-- since = 13
-- cost = "opens every view and the relations it reads"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- updatable_events = {dtype = "list[string]"}
-- instead_of_events = {dtype = "list[string]"}
-- fixed_columns = {dtype = "list[string]", class = "identifier"}
-- is_locked = {dtype = "boolean"}
with locked as materialized (
  -- The function opens what a view reads as well: while anything is locked, no view is asked about
  select pg_catalog.count(*) > 0 as is_any
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
  -- What the server turns into the same change of the one table that the view reads
  case
    when not k.is_any then array(
      select e.name
      from (values (4, 'UPDATE'), (8, 'INSERT'), (16, 'DELETE')) as e(bit, name)
      where pg_catalog.pg_relation_is_updatable(c.oid, false) & e.bit <> 0
      order by e.name
    )
  end as updatable_events,
  array(
    select distinct e.name
    from pg_catalog.pg_trigger as t
    join (values (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE')) as e(bit, name) on t.tgtype & e.bit <> 0
    where t.tgrelid = c.oid and t.tgtype & 64 <> 0 and t.tgenabled <> 'D'
    order by e.name
  ) as instead_of_events,
  -- Columns that are computed: naming one in an INSERT or UPDATE is an error
  case
    when not k.is_any then array(
      select a.attname::pg_catalog.text
      from pg_catalog.pg_attribute as a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and pg_catalog.pg_relation_is_updatable(c.oid, false) <> 0
        and not pg_catalog.pg_column_is_updatable(c.oid, a.attnum, false)
      order by a.attnum
    )
  end as fixed_columns,
  k.is_any as is_locked
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join locked as k
where c.relkind = 'v' and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
