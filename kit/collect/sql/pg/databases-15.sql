-- title = "Databases"
-- grain = "one row per database"
-- group = "server"
-- since = 15
-- cost = "a stat of every file of the databases the asker may connect to"
-- [columns]
-- database_name = {dtype = "string", class = "identifier"}
-- owner_name = {dtype = "string", class = "identifier"}
-- encoding = {dtype = "string"}
-- is_template = {dtype = "boolean"}
-- allows_connections = {dtype = "boolean"}
-- connection_limit = {dtype = "Int64", unit = "connections; -1 is none"}
-- is_current = {dtype = "boolean"}
-- frozen_xid_age = {dtype = "Int64", unit = "transactions"}
-- minimum_multixact_age = {dtype = "Int64", unit = "multixacts"}
-- database_bytes = {dtype = "Int64", unit = "bytes"}
-- deadlocks = {dtype = "Int64", unit = "since statistics_reset_at"}
-- temporary_bytes = {dtype = "Int64", unit = "bytes since statistics_reset_at"}
-- statistics_reset_at = {dtype = "datetime64[us, UTC]"}
-- collation_version = {dtype = "string"}
-- actual_collation_version = {dtype = "string"}
select
  d.datname::pg_catalog.text as database_name,
  pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text as owner_name,
  pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text as encoding,
  d.datistemplate as is_template,
  d.datallowconn as allows_connections,
  d.datconnlimit::bigint as connection_limit,
  d.datname = pg_catalog.current_database() as is_current,
  pg_catalog.age(d.datfrozenxid)::bigint as frozen_xid_age,
  pg_catalog.mxid_age(d.datminmxid)::bigint as minimum_multixact_age,
  -- Without one of these privileges pg_database_size raises an error
  case
    when d.datallowconn
      and (pg_catalog.has_database_privilege(d.oid, 'CONNECT') or pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))
      then pg_catalog.pg_database_size(d.oid)
  end as database_bytes,
  s.deadlocks,
  s.temp_bytes as temporary_bytes,
  s.stats_reset as statistics_reset_at,
  d.datcollversion as collation_version,
  pg_catalog.pg_database_collation_actual_version(d.oid) as actual_collation_version
from pg_catalog.pg_database as d
left join pg_catalog.pg_stat_database as s on s.datid = d.oid
order by d.datname;
