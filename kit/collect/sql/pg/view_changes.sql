-- title = "Views: the changes they take, and where their columns come from"
-- grain = "one row per view"
-- group = "access"
-- since = 13
-- cost = "opens every view and the relations it reads; a look through the parsed form of every view"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- updatable_events = {dtype = "list[string]"}
-- instead_of_events = {dtype = "list[string]"}
-- fixed_columns = {dtype = "list[string]", class = "identifier"}
-- source_oids = {dtype = "list[string]"}
-- source_columns = {dtype = "list[string]", class = "identifier"}
-- read_positions = {dtype = "list[string]"}
-- is_merged = {dtype = "boolean"}
-- has_outer_join = {dtype = "boolean"}
-- is_locked = {dtype = "boolean"}
with locked as materialized (
  -- The function opens what a view reads as well: while anything is locked, no view is asked about
  select pg_catalog.count(*) > 0 as is_any
  from pg_catalog.pg_locks as l
  join pg_catalog.pg_database as d on d.oid = l.database
  where l.locktype = 'relation'
    and l.mode = 'AccessExclusiveLock'
    and d.datname = pg_catalog.current_database()
    and l.pid is distinct from pg_catalog.pg_backend_pid()
),
trees as (
  select c.oid as user_oid, r.ev_action::pg_catalog.text as tree
  from pg_catalog.pg_rewrite as r
  join pg_catalog.pg_class as c on c.oid = r.ev_class
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where c.relkind = 'v' and r.ev_type = '1' and n.nspname not in ('pg_catalog', 'information_schema')
),
-- Where a view's own list of columns begins: behind as many closed braces as open ones, but for that of the view itself
parts as materialized (
  select
    t.user_oid,
    p.position,
    pg_catalog.length(p.piece) as size,
    pg_catalog.length(pg_catalog.replace(k.plain, '}', '')) - pg_catalog.length(pg_catalog.replace(k.plain, '{', '')) as depth
  from trees as t
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(t.tree, ' :targetList ')) with ordinality as p(piece, position)
  cross join lateral (
    select pg_catalog.replace(pg_catalog.replace(p.piece, pg_catalog.chr(92) || '{', ''), pg_catalog.chr(92) || '}', '') as plain
  ) as k
),
lists as (
  select p.user_oid, pg_catalog.sum(p.size + 13) over w as reached, pg_catalog.sum(p.depth) over w as depth
  from parts as p
  window w as (partition by p.user_oid order by p.position)
),
own_lists as materialized (
  select l.user_oid, pg_catalog.min(l.reached) as reached from lists as l where l.depth = 1 group by l.user_oid
),
-- Where each of the columns ends, by the same count
steps as materialized (
  select
    l.user_oid,
    l.reached,
    p.position,
    pg_catalog.left(p.piece, 400) as piece,
    pg_catalog.length(p.piece) as size,
    pg_catalog.length(pg_catalog.replace(k.plain, '}', '')) - pg_catalog.length(pg_catalog.replace(k.plain, '{', '')) as depth
  from trees as t
  join own_lists as l on l.user_oid = t.user_oid
  cross join lateral (select pg_catalog.substr(t.tree, l.reached::integer + 1) as text) as own
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(own.text, ' :resno ')) with ordinality as p(piece, position)
  cross join lateral (
    select pg_catalog.replace(pg_catalog.replace(p.piece, pg_catalog.chr(92) || '{', ''), pg_catalog.chr(92) || '}', '') as plain
  ) as k
),
reached_steps as (
  select
    s.user_oid,
    s.position,
    s.reached + pg_catalog.sum(s.size + 8) over w as reached,
    pg_catalog.sum(s.depth) over w as depth,
    pg_catalog.lead(s.piece) over (partition by s.user_oid order by s.position) as behind
  from steps as s
  window w as (partition by s.user_oid order by s.position)
),
-- A column that is another's has its table and number there; any other is computed
own_columns as materialized (
  select
    s.user_oid,
    s.reached,
    pg_catalog.split_part(s.behind, ' ', 1)::smallint as attnum,
    array[
      pg_catalog.split_part(pg_catalog.split_part(k.header, ' :ressortgroupref ', 2), ' ', 1),
      pg_catalog.split_part(pg_catalog.split_part(k.header, ' :resorigtbl ', 2), ' ', 1),
      pg_catalog.split_part(k.header, ' :resorigcol ', 2)
    ] as origin
  from reached_steps as s
  cross join lateral (select pg_catalog.split_part(s.behind, ' :resjunk ', 1) as header) as k
  where s.depth = 1 and s.behind is not null
),
sources as (
  select
    o.user_oid,
    pg_catalog.array_agg(o.origin[2] order by o.attnum) as oids,
    pg_catalog.array_agg(coalesce(a.attname::pg_catalog.text, '') order by o.attnum) as columns
  from own_columns as o
  join pg_catalog.pg_attribute as v on v.attrelid = o.user_oid and v.attnum = o.attnum
  left join pg_catalog.pg_attribute as a on a.attrelid = o.origin[2]::pg_catalog.oid and a.attnum = o.origin[3]::smallint and a.attnum > 0
  group by o.user_oid
),
-- What the planner makes a part of the statement around it (is_simple_subquery); another is planned by itself
merged as (
  select t.user_oid
  from trees as t
  join (select o.user_oid, pg_catalog.max(o.reached)::integer as reached from own_columns as o group by o.user_oid) as o
    on o.user_oid = t.user_oid
  join pg_catalog.pg_class as c on c.oid = t.user_oid
  cross join lateral (
    select pg_catalog.substr(t.tree, 1, pg_catalog.strpos(t.tree, ' :cteList ') + 11) as head, pg_catalog.substr(t.tree, o.reached) as tail
  ) as k
  where k.head ~ ':hasAggs false :hasWindowFuncs false :hasTargetSRFs false .*:hasForUpdate false .*:cteList <>$'
    and k.tail ~ ' :groupClause <> .*:groupingSets <> :havingQual <> :windowClause <> :distinctClause <> :sortClause <> '
    and k.tail ~ ' :limitOffset <> :limitCount <> .*:setOperations <> '
    and not 'security_barrier=true' = any(coalesce(c.reloptions, '{}'))
),
-- What a view that reads other views reads of them: "2 3" where its second column is made with a third one, "0 3" anywhere else
layered as materialized (
  select t.user_oid, t.tree
  from trees as t
  where exists (
    select
    from pg_catalog.pg_depend as d
    join pg_catalog.pg_rewrite as w on w.oid = d.objid and w.ev_class = t.user_oid
    join pg_catalog.pg_class as c on c.oid = d.refobjid and c.relkind = 'v' and c.oid <> t.user_oid
    where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  )
),
reads as (
  select r.user_oid, pg_catalog.array_agg(distinct r.attnum || ' ' || m.found[1]) as positions
  from (
    select t.user_oid, 0 as attnum, pg_catalog.substr(t.tree, 1, l.reached::integer) as text
    from layered as t
    join own_lists as l on l.user_oid = t.user_oid
    union all
    select t.user_oid, 0, pg_catalog.substr(t.tree, o.reached::integer)
    from layered as t
    join (select c.user_oid, pg_catalog.max(c.reached) as reached from own_columns as c group by c.user_oid) as o
      on o.user_oid = t.user_oid
    union all
    -- What is grouped, sorted or made distinct by is read in any case
    select t.user_oid, case when o.origin[1] = '0' then o.attnum else 0 end, pg_catalog.substr(t.tree, o.started, o.size)
    from layered as t
    join (
      select
        c.user_oid,
        c.attnum,
        c.origin,
        coalesce(pg_catalog.lag(c.reached) over w, l.reached)::integer as started,
        (c.reached - coalesce(pg_catalog.lag(c.reached) over w, l.reached))::integer as size
      from own_columns as c
      join own_lists as l on l.user_oid = c.user_oid
      window w as (partition by c.user_oid order by c.reached)
    ) as o on o.user_oid = t.user_oid and (o.origin[1] <> '0' or o.origin[2] = '0')
  ) as r
  cross join lateral pg_catalog.regexp_matches(r.text, '{VAR :varno [0-9]+ :varattno ([0-9]+) ', 'g') as m(found)
  group by r.user_oid
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  -- What the server turns into the same change of the one table that the view reads, or that a trigger takes
  case
    when not k.is_any then array(
      select e.name
      from (values (4, 'UPDATE'), (8, 'INSERT'), (16, 'DELETE')) as e(bit, name)
      where pg_catalog.pg_relation_is_updatable(c.oid, true) & e.bit <> 0
      order by e.name
    )
  end as updatable_events,
  array(
    select distinct e.name
    from pg_catalog.pg_trigger as t
    join (values (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE')) as e(bit, name) on t.tgtype & e.bit <> 0
    where t.tgrelid = c.oid and t.tgtype & 64 <> 0 and t.tgenabled <> 'D'
    order by e.name
  ) as instead_of_events,
  -- Columns that are computed: naming one in an INSERT or UPDATE is an error
  case
    when not k.is_any then array(
      select a.attname::pg_catalog.text
      from pg_catalog.pg_attribute as a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and pg_catalog.pg_relation_is_updatable(c.oid, true) <> 0
        and not pg_catalog.pg_column_is_updatable(c.oid, a.attnum, true)
      order by a.attnum
    )
  end as fixed_columns,
  -- Of each column, in order: empty for one that is computed
  coalesce(o.oids, '{}') as source_oids,
  coalesce(o.columns, '{}') as source_columns,
  coalesce(p.positions, '{}') as read_positions,
  exists (select from merged as m where m.user_oid = c.oid) as is_merged,
  -- The planner leaves out the other side of a left join where nothing is read of it and it cannot multiply rows
  exists (select from trees as t where t.user_oid = c.oid and t.tree ~ ':jointype [123] ') as has_outer_join,
  k.is_any as is_locked
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join locked as k
left join sources as o on o.user_oid = c.oid
left join reads as p on p.user_oid = c.oid
where c.relkind = 'v' and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
