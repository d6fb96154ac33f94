-- title = "Migrations by django"
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
  m.app::pg_catalog.text || '.' || m.name::pg_catalog.text as migration_name,
  null::pg_catalog.timestamptz as started_at,
  case when m.applied > '0001-01-02' and m.applied < '9999-12-30' then m.applied at time zone 'UTC' end as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.applied, m.id;
