-- title = "Migrations by sqitch"
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
  m.project || ':' || m.change as migration_name,
  null::pg_catalog.timestamptz as started_at,
  case when m.committed_at > '0001-01-02' and m.committed_at < '9999-12-30' then m.committed_at at time zone 'UTC' end as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.committed_at, m.change_id;
