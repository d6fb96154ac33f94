-- title = "State of the statement statistics"
-- grain = "one row"
-- group = "statements"
-- since = "1.9"
-- extension = "pg_stat_statements"
-- cost = "one call of pg_stat_statements_info"
-- [columns]
-- entries_evicted = {dtype = "Int64", unit = "times the least-used entries were evicted"}
-- statistics_reset_at = {dtype = "datetime64[us, UTC]"}
select
  i.dealloc as entries_evicted,
  i.stats_reset as statistics_reset_at
from :"pg_stat_statements_schema".pg_stat_statements_info as i;
