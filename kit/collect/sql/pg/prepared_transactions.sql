-- title = "Prepared transactions"
-- grain = "one row per prepared transaction"
-- group = "activity"
-- since = 13
-- cost = "one call of pg_prepared_xact"
-- [columns]
-- owner_name = {dtype = "string", class = "identifier"}
-- database_name = {dtype = "string", class = "identifier"}
-- prepared_at = {dtype = "datetime64[us, UTC]"}
-- xid_age = {dtype = "Int64", unit = "transactions"}
select
  p.owner::pg_catalog.text as owner_name,
  p.database::pg_catalog.text as database_name,
  p.prepared as prepared_at,
  pg_catalog.age(p.transaction)::bigint as xid_age
from pg_catalog.pg_prepared_xacts as p
order by p.prepared, p.gid;
