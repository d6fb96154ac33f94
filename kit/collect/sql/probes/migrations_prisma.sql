-- title = "Migrations by prisma"
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
  -- Neither finished nor rolled back means failed, or running at this moment. The logs are not read
  m.migration_name::pg_catalog.text as migration_name,
  case when m.started_at > '0001-01-02' and m.started_at < '9999-12-30' then m.started_at at time zone 'UTC' end as started_at,
  case when m.finished_at > '0001-01-02' and m.finished_at < '9999-12-30' then m.finished_at at time zone 'UTC' end as finished_at,
  case when m.rolled_back_at > '0001-01-02' and m.rolled_back_at < '9999-12-30' then m.rolled_back_at at time zone 'UTC' end as rolled_back_at,
  m.finished_at is null and m.rolled_back_at is null as is_failed,
  m.applied_steps_count::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.started_at, migration_name, m.id;
