-- A wait of a moment is no fault: the staged one must be older than the check's second.
select exists (
  select from pg_locks
  join pg_stat_activity using (pid)
  where pid = :'pid'::integer and not granted and query_start < clock_timestamp() - interval '1.5 seconds'
)
