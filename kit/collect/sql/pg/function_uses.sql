-- title = "Functions that views, policies, defaults, constraints, indexes and triggers call"
-- grain = "one row per object that calls and function that it calls"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_depend, pg_rewrite, pg_policy and pg_trigger"
-- [columns]
-- user_kind = {dtype = "string"}
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- user_name = {dtype = "string", class = "identifier"}
-- function_oid = {dtype = "string"}
-- function_schema_name = {dtype = "string", class = "identifier"}
-- function_name = {dtype = "string", class = "identifier"}
-- events = {dtype = "list[string]"}
-- is_enabled = {dtype = "boolean"}
-- target_column = {dtype = "string", class = "identifier"}
-- read_columns = {dtype = "list[string]", class = "identifier"}
with trees as (
  select 'view' as user_kind, c.oid as relation_oid, c.relname as user_name, r.ev_action::pg_catalog.text as tree
  from pg_catalog.pg_rewrite as r
  join pg_catalog.pg_class as c on c.oid = r.ev_class
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where c.relkind = 'v' and r.ev_type = '1' and n.nspname not in ('pg_catalog', 'information_schema')
  union all
  -- pg_depend does not tell the one expression of a policy from the other
  select 'policy using', p.polrelid, p.polname, p.polqual::pg_catalog.text from pg_catalog.pg_policy as p where p.polqual is not null
  union all
  select 'policy check', p.polrelid, p.polname, p.polwithcheck::pg_catalog.text from pg_catalog.pg_policy as p where p.polwithcheck is not null
),
-- Few call anything but the server's own functions: only those views are taken apart
calling as materialized (
  select distinct t.user_kind, t.relation_oid, t.user_name, p.oid as function_oid
  from trees as t
  cross join lateral pg_catalog.regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+) ', 'g') as m(found)
  join pg_catalog.pg_proc as p on p.oid = m.found[1]::pg_catalog.oid
  join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
  where n.nspname not in ('pg_catalog', 'information_schema') or p.proacl is not null
),
-- Where a view's own list of columns begins: behind as many closed braces as open ones, but for that of the view itself
parts as materialized (
  select
    t.relation_oid,
    p.position,
    pg_catalog.length(p.piece) as size,
    pg_catalog.length(pg_catalog.replace(k.plain, '}', '')) - pg_catalog.length(pg_catalog.replace(k.plain, '{', '')) as depth
  from trees as t
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(t.tree, ' :targetList ')) with ordinality as p(piece, position)
  cross join lateral (
    select pg_catalog.replace(pg_catalog.replace(p.piece, pg_catalog.chr(92) || '{', ''), pg_catalog.chr(92) || '}', '') as plain
  ) as k
  where t.user_kind = 'view'
    and t.relation_oid in (select c.relation_oid from calling as c where c.user_kind = 'view')
),
lists as (
  select p.relation_oid, pg_catalog.sum(p.size + 13) over w as reached, pg_catalog.sum(p.depth) over w as depth
  from parts as p
  window w as (partition by p.relation_oid order by p.position)
),
own_lists as materialized (
  select l.relation_oid, pg_catalog.min(l.reached) as reached from lists as l where l.depth = 1 group by l.relation_oid
),
-- Where each of the columns ends, by the same count: 
steps as materialized (
  select
    l.relation_oid,
    l.reached,
    p.position,
    pg_catalog.left(p.piece, 400) as piece,
    pg_catalog.length(p.piece) as size,
    pg_catalog.length(pg_catalog.replace(k.plain, '}', '')) - pg_catalog.length(pg_catalog.replace(k.plain, '{', '')) as depth
  from trees as t
  join own_lists as l on l.relation_oid = t.relation_oid
  cross join lateral (select pg_catalog.substr(t.tree, l.reached::integer + 1) as text) as own
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(own.text, ' :resno ')) with ordinality as p(piece, position)
  cross join lateral (
    select pg_catalog.replace(pg_catalog.replace(p.piece, pg_catalog.chr(92) || '{', ''), pg_catalog.chr(92) || '}', '') as plain
  ) as k
  where t.user_kind = 'view'
),
reached_steps as (
  select
    s.relation_oid,
    s.position,
    s.reached + pg_catalog.sum(s.size + 8) over w as reached,
    pg_catalog.sum(s.depth) over w as depth,
    pg_catalog.lead(s.piece) over (partition by s.relation_oid order by s.position) as behind
  from steps as s
  window w as (partition by s.relation_oid order by s.position)
),
own_columns as materialized (
  select
    s.relation_oid,
    s.reached,
    pg_catalog.split_part(s.behind, ' ', 1)::smallint as attnum,
    -- What is grouped, sorted or made distinct by is read in any case
    pg_catalog.strpos(pg_catalog.split_part(s.behind, ' :resjunk ', 1), ' :ressortgroupref 0 ') > 0 as is_by_itself
  from reached_steps as s
  where s.depth = 1 and s.behind is not null
),
cuts as materialized (
  select
    o.relation_oid,
    case when o.is_by_itself then o.attnum end as attnum,
    coalesce(pg_catalog.lag(o.reached) over w, l.reached)::integer as started,
    o.reached::integer as ended
  from own_columns as o
  join own_lists as l on l.relation_oid = o.relation_oid
  window w as (partition by o.relation_oid order by o.reached)
),
segments as (
  select t.user_kind, t.relation_oid, t.user_name, c.attnum, pg_catalog.substr(t.tree, c.started, c.ended - c.started) as text
  from trees as t
  join cuts as c on c.relation_oid = t.relation_oid
  where t.user_kind = 'view'
  union all
  select t.user_kind, t.relation_oid, t.user_name, null, pg_catalog.substr(t.tree, 1, c.started)
  from trees as t
  join (select k.relation_oid, pg_catalog.min(k.started) as started from cuts as k group by k.relation_oid) as c
    on c.relation_oid = t.relation_oid
  where t.user_kind = 'view'
  union all
  select t.user_kind, t.relation_oid, t.user_name, null, pg_catalog.substr(t.tree, c.ended)
  from trees as t
  join (select k.relation_oid, pg_catalog.max(k.ended) as ended from cuts as k group by k.relation_oid) as c
    on c.relation_oid = t.relation_oid
  where t.user_kind = 'view'
),
called as (
  select t.user_kind, t.relation_oid, t.user_name, null::smallint as attnum, t.function_oid
  from calling as t
  where t.user_kind <> 'view'
  union all
  select t.user_kind, t.relation_oid, t.user_name, t.attnum, m.found[1]::pg_catalog.oid
  from segments as t
  cross join lateral pg_catalog.regexp_matches(t.text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+) ', 'g') as m(found)
),
-- The server's own functions are pinned, and nothing depends on them. An operator stands for its function
dependencies as (
  select d.classid, d.objid, d.objsubid, case when d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass then d.refobjid else o.oprcode::pg_catalog.oid end as function_oid
  from pg_catalog.pg_depend as d
  left join pg_catalog.pg_operator as o on o.oid = d.refobjid and d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
  where d.deptype in ('n', 'a')
    and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
    and d.classid in (
      'pg_catalog.pg_attrdef'::pg_catalog.regclass,
      'pg_catalog.pg_constraint'::pg_catalog.regclass,
      'pg_catalog.pg_class'::pg_catalog.regclass,
      'pg_catalog.pg_trigger'::pg_catalog.regclass
    )
),
triggers as (
  select
    t.oid,
    -- A partition's copy has the condition of the trigger that it is a copy of
    coalesce(nullif(p.tgparentid, 0), nullif(t.tgparentid, 0), t.oid) as original,
    t.tgrelid,
    t.tgname,
    t.tgfoid,
    t.tgenabled <> 'D' as is_enabled,
    array(
      select e.name
      from (values (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE'), (32, 'TRUNCATE')) as e(bit, name)
      where t.tgtype & e.bit <> 0
      order by e.name
    ) as events
  from pg_catalog.pg_trigger as t
  left join pg_catalog.pg_trigger as p on p.oid = t.tgparentid
  -- Up to 14 the copies for partitions count as internal; those of foreign keys belong to a constraint
  where not t.tgisinternal or (t.tgparentid <> 0 and t.tgconstraint = 0)
),
uses as (
  select c.user_kind, c.relation_oid, c.user_name, c.function_oid, '{}'::pg_catalog.text[] as events, true as is_enabled, c.attnum
  from called as c
  union
  select case a.attgenerated when '' then 'default' else 'generated' end, f.adrelid, a.attname, d.function_oid, '{}', true, null
  from dependencies as d
  join pg_catalog.pg_attrdef as f on f.oid = d.objid
  join pg_catalog.pg_attribute as a on a.attrelid = f.adrelid and a.attnum = f.adnum
  where d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
  union
  -- Up to 14 the column itself depends on what it is generated from
  select 'generated', a.attrelid, a.attname, d.function_oid, '{}', true, null
  from dependencies as d
  join pg_catalog.pg_attribute as a on a.attrelid = d.objid and a.attnum = d.objsubid and a.attgenerated <> ''
  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid > 0
  union
  select 'check', o.conrelid, o.conname, d.function_oid, '{}', true, null
  from dependencies as d
  join pg_catalog.pg_constraint as o on o.oid = d.objid
  where d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and o.contype = 'c' and o.conrelid <> 0
  union
  select 'index', i.indrelid, c.relname, d.function_oid, '{}', true, null
  from dependencies as d
  join pg_catalog.pg_index as i on i.indexrelid = d.objid
  join pg_catalog.pg_class as c on c.oid = d.objid
  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  union
  select 'trigger', t.tgrelid, t.tgname, t.tgfoid, t.events, t.is_enabled, null
  from triggers as t
  union
  -- What a trigger calls in its WHEN is called with the rights of whoever writes; its own function needs none
  select 'trigger condition', t.tgrelid, t.tgname, d.function_oid, t.events, t.is_enabled, null
  from dependencies as d
  join triggers as t on t.original = d.objid and t.tgfoid <> d.function_oid
  where d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
)
select
  u.user_kind,
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  u.user_name::pg_catalog.text as user_name,
  p.oid::pg_catalog.text as function_oid,
  pn.nspname::pg_catalog.text as function_schema_name,
  p.proname::pg_catalog.text as function_name,
  u.events,
  u.is_enabled,
  a.attname::pg_catalog.text as target_column,
  -- What a generated column is made of: only when that is changed it is made anew
  array(
    select s.attname::pg_catalog.text
    from pg_catalog.pg_attribute as g
    left join pg_catalog.pg_attrdef as f on f.adrelid = g.attrelid and f.adnum = g.attnum
    join pg_catalog.pg_depend as d
      on (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = f.oid)
      or (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = g.attrelid and d.objsubid = g.attnum)
    join pg_catalog.pg_attribute as s on s.attrelid = d.refobjid and s.attnum = d.refobjsubid
    where u.user_kind = 'generated' and g.attrelid = u.relation_oid and g.attname = u.user_name
      and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = u.relation_oid and s.attnum <> g.attnum
    order by s.attnum
  ) as read_columns
from uses as u
join pg_catalog.pg_class as c on c.oid = u.relation_oid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_proc as p on p.oid = u.function_oid
join pg_catalog.pg_namespace as pn on pn.oid = p.pronamespace
left join pg_catalog.pg_attribute as a on a.attrelid = u.relation_oid and a.attnum = u.attnum
-- Those that are listed: of the server's own functions only the ones that not everybody may call
where n.nspname not in ('pg_catalog', 'information_schema')
  and (pn.nspname not in ('pg_catalog', 'information_schema') or (pn.nspname = 'pg_catalog' and p.proacl is not null))
order by n.nspname, c.relname, c.oid, u.user_kind, u.user_name, p.oid, u.attnum;
