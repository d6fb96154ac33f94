-- title = "Relations that views and policies read"
-- grain = "one row per view or policy expression and place where it reads a relation"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_rewrite and pg_policy, with a look through the parsed form of every view"
-- [columns]
-- user_kind = {dtype = "string"}
-- user_oid = {dtype = "string"}
-- user_name = {dtype = "string", class = "identifier"}
-- position = {dtype = "Int64"}
-- target_column = {dtype = "string", class = "identifier"}
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
-- column_names = {dtype = "list[string]", class = "identifier"}
with trees as (
  select 'view' as user_kind, c.oid as user_oid, c.relname as user_name, r.ev_action::pg_catalog.text as tree
  from pg_catalog.pg_rewrite as r
  join pg_catalog.pg_class as c on c.oid = r.ev_class
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  -- Not those of materialized views: who reads one reads its own rows
  where c.relkind = 'v' and r.ev_type = '1' and n.nspname not in ('pg_catalog', 'information_schema')
  union all
  select 'policy using', p.polrelid, p.polname, p.polqual::pg_catalog.text from pg_catalog.pg_policy as p where p.polqual is not null
  union all
  select 'policy check', p.polrelid, p.polname, p.polwithcheck::pg_catalog.text from pg_catalog.pg_policy as p where p.polwithcheck is not null
),
-- What the server will demand stands in the parsed form: since 16 in nodes of its own (RTEPERMISSIONINFO), before in those of the
-- relations, behind the same words. A name cannot imitate them, because its spaces are written with a backslash
cut as materialized (
  select
    t.user_kind,
    t.user_oid,
    t.user_name,
    p.position,
    pg_catalog.length(p.piece) as size,
    -- Cut short before anything is sorted or matched: the parsed forms of a big schema's views are a hundred megabytes
    case
      when pg_catalog.strpos(p.piece, ' :requiredPerms ') > 0 then pg_catalog.split_part(p.piece, ' :insertedCols ', 1)
    end as words
  from trees as t
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(t.tree, ':relid ')) with ordinality as p(piece, position)
),
places as (
  select
    c.user_kind,
    c.user_oid,
    c.user_name,
    c.position,
    c.size,
    pg_catalog.sum(c.size + 7) over (partition by c.user_kind, c.user_oid, c.user_name order by c.position) as reached,
    c.words
  from cut as c
),
pieces as materialized (
  select
    p.user_kind,
    p.user_oid,
    p.user_name,
    p.position,
    p.size,
    p.reached,
    pg_catalog.substring(p.words, '^([0-9]+) ')::pg_catalog.oid as relation_oid,
    pg_catalog.regexp_match(p.words, ':requiredPerms ([0-9]+) :checkAsUser [0-9]+ :selectedCols [(]b([0-9 ]*)[)]$') as demand
  from places as p
  where p.words is not null
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
  where t.user_kind = 'view'
),
lists as (
  select p.user_oid, pg_catalog.sum(p.size + 13) over w as reached, pg_catalog.sum(p.depth) over w as depth
  from parts as p
  window w as (partition by p.user_oid order by p.position)
),
own_lists as materialized (
  select l.user_oid, pg_catalog.min(l.reached) as reached from lists as l where l.depth = 1 group by l.user_oid
),
-- Where each of the columns ends, by the same count: only of views with a sub-select behind the beginning of their list
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
  where t.user_kind = 'view' and pg_catalog.strpos(own.text, ':requiredPerms ') > 0
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
own_columns as materialized (
  select
    s.user_oid,
    s.reached,
    pg_catalog.split_part(s.behind, ' ', 1)::smallint as attnum,
    -- What is grouped, sorted or made distinct by is read in any case
    pg_catalog.strpos(pg_catalog.split_part(s.behind, ' :resjunk ', 1), ' :ressortgroupref 0 ') > 0 as is_by_itself
  from reached_steps as s
  where s.depth = 1 and s.behind is not null
),
wanted as materialized (
  select
    p.user_kind,
    p.user_oid,
    p.user_name,
    p.position,
    -- The piece is behind its words: what was reached before it is where it stands
    p.reached - p.size as started,
    p.relation_oid,
    p.demand[1]::bigint as bits,
    p.demand[2] as columns
  from pieces as p
  where p.demand[1] <> '0'
),
-- The column that ends next behind the place, in one pass over both
ends as (
  select
    p.user_oid,
    p.position,
    p.reached,
    pg_catalog.min(p.found) over (partition by p.user_oid order by p.reached desc rows unbounded preceding) as found
  from (
    select o.user_oid, null::bigint as position, o.reached, array[o.reached, o.attnum, o.is_by_itself::integer] as found
    from own_columns as o
    union all
    select w.user_oid, w.position, w.started, null from wanted as w where w.user_kind = 'view'
  ) as p
),
within as materialized (
  select e.user_oid, e.position, e.found[2]::smallint as attnum
  from ends as e
  join own_lists as l on l.user_oid = e.user_oid
  where e.position is not null and e.reached > l.reached and e.found[3] = 1
)
select
  w.user_kind,
  w.user_oid::pg_catalog.text as user_oid,
  w.user_name::pg_catalog.text as user_name,
  -- The first is what an automatically updatable view changes
  w.position::bigint as position,
  (
    select a.attname::pg_catalog.text from pg_catalog.pg_attribute as a where a.attrelid = w.user_oid and a.attnum = i.attnum
  ) as target_column,
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  array(
    select b.name
    from (values (1, 'INSERT'), (2, 'SELECT'), (4, 'UPDATE'), (8, 'DELETE')) as b(bit, name)
    where w.bits & b.bit <> 0
    order by b.name
  ) as privileges,
  -- Empty where any one column will do (count(*)), * where the whole row is asked for; a number is attnum + 7
  array(
    select coalesce(a.attname::pg_catalog.text, '*') as column_name
    from (
      select distinct k.number::integer - 7 as attnum
      from pg_catalog.unnest(pg_catalog.string_to_array(w.columns, ' ')) as k(number)
      where k.number <> ''
    ) as k
    left join pg_catalog.pg_attribute as a on a.attrelid = w.relation_oid and a.attnum = k.attnum
    where k.attnum = 0 or a.attname is not null
    order by k.attnum
  ) as column_names
from wanted as w
left join within as i on w.user_kind = 'view' and i.user_oid = w.user_oid and i.position = w.position
join pg_catalog.pg_class as c on c.oid = w.relation_oid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema')
order by w.user_kind, w.user_name, w.user_oid, w.position;
