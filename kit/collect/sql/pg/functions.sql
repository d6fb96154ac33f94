-- title = "Functions and procedures"
-- grain = "one row per function, procedure, aggregate and window function"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_proc"
-- [columns]
-- function_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- function_name = {dtype = "string", class = "identifier"}
-- arguments = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string"}
-- owner_name = {dtype = "string", class = "identifier"}
-- language = {dtype = "string", class = "identifier"}
-- volatility = {dtype = "string"}
-- returns_trigger = {dtype = "boolean"}
-- is_security_definer = {dtype = "boolean"}
-- has_default_acl = {dtype = "boolean"}
-- extension_name = {dtype = "string", class = "identifier"}
-- search_path = {dtype = "string", class = "identifier"}
-- setting_names = {dtype = "list[string]"}
select
  p.oid::pg_catalog.text as function_oid,
  n.nspname::pg_catalog.text as schema_name,
  p.proname::pg_catalog.text as function_name,
  pg_catalog.pg_get_function_identity_arguments(p.oid) as arguments,
  case p.prokind when 'f' then 'function' when 'p' then 'procedure' when 'a' then 'aggregate' when 'w' then 'window function' end as kind,
  pg_catalog.pg_get_userbyid(p.proowner)::pg_catalog.text as owner_name,
  l.lanname::pg_catalog.text as language,
  case p.provolatile when 'i' then 'immutable' when 's' then 'stable' when 'v' then 'volatile' end as volatility,
  p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype as returns_trigger,
  p.prosecdef as is_security_definer,
  p.proacl is null as has_default_acl,
  e.extname::pg_catalog.text as extension_name,
  -- A function keeps its own settings as name=value; the values of others than search_path stay there
  (
    select pg_catalog.substr(s.item, pg_catalog.strpos(s.item, '=') + 1)
    from pg_catalog.unnest(p.proconfig) as s(item)
    where pg_catalog.split_part(s.item, '=', 1) = 'search_path'
  ) as search_path,
  array(
    select pg_catalog.split_part(s.item, '=', 1) as setting_name
    from pg_catalog.unnest(p.proconfig) as s(item)
    order by setting_name
  ) as setting_names
from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
join pg_catalog.pg_language as l on l.oid = p.prolang
left join pg_catalog.pg_depend as d
  on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  and d.objid = p.oid
  and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
  and d.deptype = 'e'
left join pg_catalog.pg_extension as e on e.oid = d.refobjid
-- Of the server's own functions only those that not everybody may call, which is what an acl means there
where n.nspname not in ('pg_catalog', 'information_schema') or (n.nspname = 'pg_catalog' and p.proacl is not null)
order by n.nspname, p.proname, p.oid;
