-- title = "Session as the server gave it"
-- grain = "one row"
-- group = "session"
-- since = 13
-- cost = "a dozen functions, no relation"
-- [columns]
-- user_name = {dtype = "string", class = "identifier"}
-- session_user_name = {dtype = "string", class = "identifier"}
-- database_name = {dtype = "string", class = "identifier"}
-- server_version_number = {dtype = "Int64"}
-- server_version_text = {dtype = "string"}
-- server_address = {dtype = "string", class = "identifier"}
-- server_port = {dtype = "Int64"}
-- is_superuser_text = {dtype = "string"}
-- is_in_recovery = {dtype = "boolean"}
-- search_path = {dtype = "string", class = "identifier"}
-- visible_schemas = {dtype = "list[string]", class = "identifier"}
-- server_started_at = {dtype = "datetime64[us, UTC]"}
-- configuration_loaded_at = {dtype = "datetime64[us, UTC]"}
-- asked_at = {dtype = "datetime64[us, UTC]"}
select
  -- Asked before any SET, under a search_path that may be hostile: no operator, no unqualified function or type
  current_user::pg_catalog.text as user_name,
  session_user::pg_catalog.text as session_user_name,
  pg_catalog.current_database()::pg_catalog.text as database_name,
  pg_catalog.current_setting('server_version_num')::bigint as server_version_number,
  pg_catalog.current_setting('server_version') as server_version_text,
  -- NULL over a Unix socket, as is the port
  pg_catalog.host(pg_catalog.inet_server_addr()) as server_address,
  pg_catalog.inet_server_port()::bigint as server_port,
  pg_catalog.current_setting('is_superuser') as is_superuser_text,
  pg_catalog.pg_is_in_recovery() as is_in_recovery,
  pg_catalog.current_setting('search_path') as search_path,
  pg_catalog.current_schemas(true)::pg_catalog.text[] as visible_schemas,
  pg_catalog.pg_postmaster_start_time() as server_started_at,
  pg_catalog.pg_conf_load_time() as configuration_loaded_at,
  pg_catalog.clock_timestamp() as asked_at;
