-- title = "Migrations by phinx"
-- grain = "one row per entry of the ledger"
-- group = "changes"
-- since = 13
-- cost = "one scan of the ledger"
-- [columns]
-- migration_name = {dtype = "string", class = "identifier"}
-- started_at = {dtype = "datetime64[us, UTC]"}
-- finished_at = {dtype = "datetime64[us, UTC]"}
-- rolled_back_at = {dtype = "datetime64[us, UTC]"}
-- is_failed = {dtype = "boolean"}
-- applied_steps = {dtype = "Int64"}
select
  -- The times have no time zone and are taken for UTC
  pg_catalog.concat_ws('_', m.version, m.migration_name) as migration_name,
  case when m.start_time > '0001-01-02' and m.start_time < '9999-12-30' then m.start_time at time zone 'UTC' end as started_at,
  case when m.end_time > '0001-01-02' and m.end_time < '9999-12-30' then m.end_time at time zone 'UTC' end as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.version;
