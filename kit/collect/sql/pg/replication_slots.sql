-- title = "Replication slots"
-- grain = "one row per replication slot"
-- group = "server"
-- since = 13
-- cost = "one call of pg_get_replication_slots"
-- [columns]
-- slot_name = {dtype = "string", class = "identifier"}
-- slot_type = {dtype = "string"}
-- is_active = {dtype = "boolean"}
-- xmin_age = {dtype = "Int64", unit = "transactions"}
-- catalog_xmin_age = {dtype = "Int64", unit = "transactions"}
-- wal_status = {dtype = "string"}
select
  s.slot_name::pg_catalog.text as slot_name,
  s.slot_type,
  s.active as is_active,
  pg_catalog.age(s.xmin)::bigint as xmin_age,
  pg_catalog.age(s.catalog_xmin)::bigint as catalog_xmin_age,
  s.wal_status
from pg_catalog.pg_replication_slots as s
order by s.slot_name;
