-- title = "Migrations by supabase"
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
  -- Older ledgers have no column name. No times are kept: the version is when the migration was written
  pg_catalog.concat_ws('_', m.version, pg_catalog.to_jsonb(m) ->> 'name') as migration_name,
  null::pg_catalog.timestamptz as started_at,
  null::pg_catalog.timestamptz as finished_at,
  null::pg_catalog.timestamptz as rolled_back_at,
  null::boolean as is_failed,
  pg_catalog.cardinality(m.statements)::bigint as applied_steps
from :"ledger_schema".:"ledger_table" as m
order by migration_name;
