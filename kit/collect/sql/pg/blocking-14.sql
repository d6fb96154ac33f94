-- title = "Sessions that wait for others"
-- grain = "one row per process that waits for a lock"
-- group = "activity"
-- since = 14
-- cost = "one scan of the lock table, one pg_blocking_pids per waiting process"
-- [columns]
-- blocked_pid = {dtype = "Int64"}
-- blocking_pids = {dtype = "list[string]"}
-- lock_type = {dtype = "string"}
-- mode = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- waiting_since = {dtype = "datetime64[us, UTC]"}
select
  -- Takes the lock manager's partition locks, hence for waiting processes alone, and once for each: a process waits for one lock at a time
  l.pid::bigint as blocked_pid,
  -- 0 stands for a prepared transaction
  array(
    select distinct b.pid::pg_catalog.text as blocking_pid
    from pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) as b(pid)
    order by blocking_pid
  ) as blocking_pids,
  l.locktype as lock_type,
  l.mode,
  -- Relations of other databases stay unnamed
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  l.waitstart as waiting_since
from pg_catalog.pg_locks as l
left join pg_catalog.pg_database as d on d.oid = l.database
left join pg_catalog.pg_class as c on c.oid = l.relation and (l.database = 0 or d.datname = pg_catalog.current_database())
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where not l.granted
order by l.pid;
