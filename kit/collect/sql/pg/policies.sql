-- title = "Row security policies"
-- grain = "one row per policy"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_policy; opens the tables that have policies, and those that the policies read"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- policy_name = {dtype = "string", class = "identifier"}
-- command = {dtype = "string"}
-- is_permissive = {dtype = "boolean"}
-- role_names = {dtype = "list[string]", class = "identifier"}
-- has_using = {dtype = "boolean"}
-- has_with_check = {dtype = "boolean"}
-- using_expression = {dtype = "string", class = "identifier", mask = "expression"}
-- check_expression = {dtype = "string", class = "identifier", mask = "expression"}
-- is_locked = {dtype = "boolean"}
with locked as materialized (
  -- Opening one of these would wait: another session holds ACCESS EXCLUSIVE, or waits for it with us behind it in the queue
  select distinct l.relation as oid
  from pg_catalog.pg_locks as l
  join pg_catalog.pg_database as d on d.oid = l.database
  where l.locktype = 'relation'
    and l.mode = 'AccessExclusiveLock'
    and d.datname = pg_catalog.current_database()
    and l.pid is distinct from pg_catalog.pg_backend_pid()
),
unreadable as materialized (
  -- pg_get_expr opens the policy's table and the relations of its subqueries; the policy depends on all of them
  select distinct d.objid as oid
  from pg_catalog.pg_depend as d
  where d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and d.refobjid in (select l.oid from locked as l)
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  p.polname::pg_catalog.text as policy_name,
  case p.polcmd when '*' then 'ALL' when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' end as command,
  p.polpermissive as is_permissive,
  array(
    select case when r.oid = 0 then 'public' else pg_catalog.pg_get_userbyid(r.oid)::pg_catalog.text end as role_name
    from pg_catalog.unnest(p.polroles) as r(oid)
    order by role_name
  ) as role_names,
  p.polqual is not null as has_using,
  p.polwithcheck is not null as has_with_check,
  case when p.oid not in (select u.oid from unreadable as u) then pg_catalog.pg_get_expr(p.polqual, p.polrelid) end as using_expression,
  case when p.oid not in (select u.oid from unreadable as u) then pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) end as check_expression,
  p.oid in (select u.oid from unreadable as u) as is_locked
from pg_catalog.pg_policy as p
join pg_catalog.pg_class as c on c.oid = p.polrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
-- A partition has policies of its own; those of the parent do not hold for a query of the partition
order by n.nspname, c.relname, c.oid, p.polname;
