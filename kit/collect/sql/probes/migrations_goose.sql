-- title = "Migrations by goose"
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
  -- tstamp has no time zone and is taken for UTC
  m.version_id::pg_catalog.text as migration_name,
  null::pg_catalog.timestamptz as started_at,
  case when m.is_applied then case when m.tstamp > '0001-01-02' and m.tstamp < '9999-12-30' then m.tstamp at time zone 'UTC' end end as finished_at,
  case when not m.is_applied then case when m.tstamp > '0001-01-02' and m.tstamp < '9999-12-30' then m.tstamp at time zone 'UTC' end end as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.tstamp, m.id;
