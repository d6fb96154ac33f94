-- title = "Use and upkeep of tables"
-- grain = "one row per table and materialized view"
-- group = "storage"
-- since = 13
-- cost = "a look-up of the counters of every table and index"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- live_rows = {dtype = "Int64", unit = "rows"}
-- dead_rows = {dtype = "Int64", unit = "rows"}
-- rows_modified_since_analyze = {dtype = "Int64", unit = "rows"}
-- sequential_scans = {dtype = "Int64"}
-- sequential_rows_read = {dtype = "Int64", unit = "rows"}
-- index_scans = {dtype = "Int64"}
-- rows_inserted = {dtype = "Int64", unit = "rows"}
-- rows_updated = {dtype = "Int64", unit = "rows"}
-- rows_deleted = {dtype = "Int64", unit = "rows"}
-- rows_hot_updated = {dtype = "Int64", unit = "rows"}
-- last_vacuum_at = {dtype = "datetime64[us, UTC]"}
-- last_autovacuum_at = {dtype = "datetime64[us, UTC]"}
-- last_analyze_at = {dtype = "datetime64[us, UTC]"}
-- last_autoanalyze_at = {dtype = "datetime64[us, UTC]"}
with index_scans as (
  select i.indrelid, pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.indexrelid))::bigint as scans
  from pg_catalog.pg_index as i
  group by i.indrelid
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  pg_catalog.pg_stat_get_live_tuples(c.oid) as live_rows,
  pg_catalog.pg_stat_get_dead_tuples(c.oid) as dead_rows,
  pg_catalog.pg_stat_get_mod_since_analyze(c.oid) as rows_modified_since_analyze,
  pg_catalog.pg_stat_get_numscans(c.oid) as sequential_scans,
  pg_catalog.pg_stat_get_tuples_returned(c.oid) as sequential_rows_read,
  -- NULL for a table without an index
  x.scans as index_scans,
  pg_catalog.pg_stat_get_tuples_inserted(c.oid) as rows_inserted,
  pg_catalog.pg_stat_get_tuples_updated(c.oid) as rows_updated,
  pg_catalog.pg_stat_get_tuples_deleted(c.oid) as rows_deleted,
  pg_catalog.pg_stat_get_tuples_hot_updated(c.oid) as rows_hot_updated,
  pg_catalog.pg_stat_get_last_vacuum_time(c.oid) as last_vacuum_at,
  pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) as last_autovacuum_at,
  pg_catalog.pg_stat_get_last_analyze_time(c.oid) as last_analyze_at,
  pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid) as last_autoanalyze_at
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join index_scans as x on x.indrelid = c.oid
-- Partitions are listed, their parents have no rows of their own. The server's own tables are left out
where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
