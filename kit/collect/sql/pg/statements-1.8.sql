-- title = "Statements"
-- grain = "one row per user, database and statement"
-- group = "statements"
-- since = "1.8"
-- extension = "pg_stat_statements"
-- role = "pg_read_all_stats"
-- cost = "reads the file of statement texts once"
-- [columns]
-- query_id = {dtype = "string"}
-- user_name = {dtype = "string", class = "identifier"}
-- database_name = {dtype = "string", class = "identifier"}
-- is_top_level = {dtype = "boolean"}
-- statement = {dtype = "string", mask = "statement"}
-- calls = {dtype = "Int64"}
-- total_exec_ms = {dtype = "Float64", unit = "milliseconds"}
-- mean_exec_ms = {dtype = "Float64", unit = "milliseconds"}
-- minimum_exec_ms = {dtype = "Float64", unit = "milliseconds"}
-- maximum_exec_ms = {dtype = "Float64", unit = "milliseconds"}
-- rows = {dtype = "Int64", unit = "rows"}
-- shared_blocks_hit = {dtype = "Int64", unit = "blocks of block_size"}
-- shared_blocks_read = {dtype = "Int64", unit = "blocks of block_size"}
-- temporary_blocks_written = {dtype = "Int64", unit = "blocks of block_size"}
-- statistics_since = {dtype = "datetime64[us, UTC]"}
-- is_hidden = {dtype = "boolean"}
select
  s.queryid::pg_catalog.text as query_id,
  pg_catalog.pg_get_userbyid(s.userid)::pg_catalog.text as user_name,
  d.datname::pg_catalog.text as database_name,
  null::boolean as is_top_level,
  case when s.queryid is not null then pg_catalog.left(s.query, 4000) end as statement,
  s.calls,
  s.total_exec_time as total_exec_ms,
  s.mean_exec_time as mean_exec_ms,
  s.min_exec_time as minimum_exec_ms,
  s.max_exec_time as maximum_exec_ms,
  s.rows,
  s.shared_blks_hit as shared_blocks_hit,
  s.shared_blks_read as shared_blocks_read,
  s.temp_blks_written as temporary_blocks_written,
  null::pg_catalog.timestamptz as statistics_since,
  -- The extension hides the text and the number of other users' statements, and nothing else
  s.queryid is null as is_hidden
from :"pg_stat_statements_schema".pg_stat_statements as s
left join pg_catalog.pg_database as d on d.oid = s.dbid
order by s.total_exec_time desc, s.queryid, s.userid, s.dbid, s.calls, s.rows;
