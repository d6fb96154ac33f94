-- title = "Locks"
-- grain = "one row per lock on a user relation, and per lock waited for"
-- group = "locks"
-- since = 13
-- cost = "one scan of the lock table"
-- [columns]
-- pid = {dtype = "Int64"}
-- lock_type = {dtype = "string"}
-- mode = {dtype = "string"}
-- is_granted = {dtype = "boolean"}
-- database_name = {dtype = "string", class = "identifier"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
select
  -- NULL for a prepared transaction
  l.pid::bigint as pid,
  l.locktype as lock_type,
  l.mode,
  l.granted as is_granted,
  d.datname::pg_catalog.text as database_name,
  -- Relations of other databases stay unnamed
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name
from pg_catalog.pg_locks as l
left join pg_catalog.pg_database as d on d.oid = l.database
left join pg_catalog.pg_class as c on c.oid = l.relation and (l.database = 0 or d.datname = pg_catalog.current_database())
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
-- 16384 is the first object identifier that initdb does not use; partitions and their parents are both listed
where not l.granted or (l.locktype = 'relation' and l.relation >= 16384)
order by l.pid, l.granted, l.locktype, l.mode, l.database, l.relation;
