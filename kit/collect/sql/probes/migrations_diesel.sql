-- title = "Migrations by diesel"
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
  -- run_on has no time zone and is taken for UTC
  m.version::pg_catalog.text as migration_name,
  null::pg_catalog.timestamptz as started_at,
  case when m.run_on > '0001-01-02' and m.run_on < '9999-12-30' then m.run_on at time zone 'UTC' end as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.run_on, m.version;
