-- title = "Relations named in definer and trigger functions"
-- grain = "one row per function and relation whose name stands in its body"
-- group = "access"
-- since = 13
-- cost = "a look through the bodies of SECURITY DEFINER and trigger functions, which stay on the server"
-- [columns]
-- function_oid = {dtype = "string"}
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
with bodies as materialized (
  select
    p.oid,
    p.pronamespace,
    -- The function's own search_path names schemas too
    pg_catalog.concat_ws(' ', p.prosrc, pg_catalog.array_to_string(p.proconfig, ' ')) as body
  from pg_catalog.pg_proc as p
  join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
  join pg_catalog.pg_language as l on l.oid = p.prolang
  where (p.prosecdef or p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype)
    and l.lanname not in ('c', 'internal')
    and n.nspname not in ('pg_catalog', 'information_schema')
),
words as materialized (
  -- Words are folded; what stands between double quotes counts as it is too, with the doubled ones in it taken for one
  select b.oid, b.pronamespace, u.word
  from bodies as b
  cross join lateral pg_catalog.unnest(
    pg_catalog.string_to_array(
      -- All of ASCII that is no letter, digit or underscore
      pg_catalog.regexp_replace(pg_catalog.lower(b.body collate pg_catalog."C"), '[[:space:]!-/:-@[-^`{-~]+', ' ', 'g'),
      ' '
    )
  ) as u(word)
  where u.word <> ''
  union
  select b.oid, b.pronamespace, pg_catalog.replace(q.word, pg_catalog.chr(1), '"')
  from bodies as b
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.replace(b.body, '""', pg_catalog.chr(1)), '"')) as q(word)
  where pg_catalog.strpos(b.body, '"') > 0 and pg_catalog.octet_length(q.word) < 130
),
relations as (
  select c.oid, c.relname::pg_catalog.text as name, c.relnamespace, pg_catalog.count(*) over (partition by c.relname) as homes
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname not in ('pg_catalog', 'information_schema')
),
schemas as materialized (
  select w.oid, n.oid as namespace from words as w join pg_catalog.pg_namespace as n on n.nspname::pg_catalog.text = w.word
),
mentions as (
  select w.oid as function_oid, r.oid as relation_oid
  from words as w
  join relations as r on r.name = w.word
  left join schemas as s on s.oid = w.oid and s.namespace = r.relnamespace
  -- Where several schemas have a relation of that name: those that the function names, and its own
  where r.homes = 1 or r.relnamespace = w.pronamespace or s.oid is not null
  union
  -- A body in standard SQL (since 14) is kept parsed, and the function depends on what it names
  select d.objid, d.refobjid
  from pg_catalog.pg_depend as d
  join pg_catalog.pg_proc as p on p.oid = d.objid
  where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and (p.prosecdef or p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype)
)
select
  m.function_oid::pg_catalog.text as function_oid,
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name
from mentions as m
join pg_catalog.pg_class as c on c.oid = m.relation_oid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname not in ('pg_catalog', 'information_schema')
order by m.function_oid::bigint, n.nspname, c.relname, c.oid;
