-- title = "Migrations by drizzle"
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
  -- created_at is when the migration was written; when it was applied is not kept
  m.hash::pg_catalog.text as migration_name,
  null::pg_catalog.timestamptz as started_at,
  null::pg_catalog.timestamptz as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  null::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by m.created_at, m.id;
