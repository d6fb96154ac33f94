-- title = "Migrations by atlas"
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
  -- The text of the error is not read
  pg_catalog.concat_ws('_', m.version, m.description) as migration_name,
  case when m.executed_at > '0001-01-02' and m.executed_at < '9999-12-30' then m.executed_at at time zone 'UTC' end as started_at,
  null::pg_catalog.timestamptz as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  coalesce(m.error, '') <> '' as is_failed,
  m.applied::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.executed_at, m.version;
