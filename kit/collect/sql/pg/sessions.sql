-- title = "Sessions"
-- grain = "one row per server process"
-- group = "activity"
-- since = 13
-- role = "pg_read_all_stats"
-- cost = "one call of pg_stat_get_activity"
-- [columns]
-- pid = {dtype = "Int64"}
-- user_name = {dtype = "string", class = "identifier"}
-- database_name = {dtype = "string", class = "identifier"}
-- application_name = {dtype = "string", class = "identifier"}
-- client_address = {dtype = "string", class = "identifier"}
-- backend_type = {dtype = "string"}
-- state = {dtype = "string"}
-- wait_event_type = {dtype = "string"}
-- wait_event = {dtype = "string"}
-- backend_started_at = {dtype = "datetime64[us, UTC]"}
-- transaction_started_at = {dtype = "datetime64[us, UTC]"}
-- query_started_at = {dtype = "datetime64[us, UTC]"}
-- state_changed_at = {dtype = "datetime64[us, UTC]"}
-- xmin_age = {dtype = "Int64", unit = "transactions"}
-- statement = {dtype = "string", mask = "statement"}
-- is_hidden = {dtype = "boolean"}
select
  a.pid::bigint as pid,
  a.usename::pg_catalog.text as user_name,
  a.datname::pg_catalog.text as database_name,
  a.application_name,
  pg_catalog.host(a.client_addr) as client_address,
  a.backend_type,
  a.state,
  a.wait_event_type,
  a.wait_event,
  a.backend_start as backend_started_at,
  a.xact_start as transaction_started_at,
  a.query_start as query_started_at,
  a.state_change as state_changed_at,
  -- What holds back vacuum: its snapshot, or the transaction of its own that it has written under
  greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid))::bigint as xmin_age,
  -- The text is in the encoding of the session's own database and is not converted: one of another encoding could
  -- fail the whole query, so it stays NULL
  case
    when a.backend_type is not null and (a.datid is null or d.encoding = here.encoding) then pg_catalog.left(a.query, 4000)
  end as statement,
  a.backend_type is null as is_hidden
from pg_catalog.pg_stat_activity as a
left join pg_catalog.pg_database as d on d.oid = a.datid
cross join (select h.encoding from pg_catalog.pg_database as h where h.datname = pg_catalog.current_database()) as here
order by a.pid;
