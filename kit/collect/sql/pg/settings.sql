-- title = "Settings of the session"
-- grain = "one row per setting visible to the asker"
-- group = "session"
-- since = 13
-- cost = "one call of pg_show_all_settings"
-- [columns]
-- setting_name = {dtype = "string"}
-- setting = {dtype = "string", mask = "option"}
-- unit = {dtype = "string"}
-- source = {dtype = "string"}
-- category = {dtype = "string"}
-- is_pending_restart = {dtype = "boolean"}
select
  -- Asked before any SET, under a search_path that may be hostile: no operator, no unqualified function or type
  s.name as setting_name,
  s.setting,
  s.unit,
  s.source,
  s.category,
  s.pending_restart as is_pending_restart
from pg_catalog.pg_settings as s
order by s.name;
