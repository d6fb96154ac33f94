-- title = "Widths of rows"
-- grain = "one row per table and materialized view"
-- group = "storage"
-- since = 13
-- cost = "one scan of pg_attribute and pg_stats"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- column_count = {dtype = "Int64", unit = "columns"}
-- dropped_column_count = {dtype = "Int64", unit = "columns"}
-- visible_column_count = {dtype = "Int64", unit = "columns with statistics the asker may see"}
-- average_row_bytes = {dtype = "Float64", unit = "bytes"}
-- null_fraction_sum = {dtype = "Float64", unit = "columns"}
-- aligned_row_bytes = {dtype = "Float64", unit = "bytes"}
with statistics as (
  -- Shows only the columns the asker may read, and none where row security holds for the asker. Never the values
  select s.schemaname, s.tablename, s.attname, s.null_frac, s.avg_width
  from pg_catalog.pg_stats as s
  where not s.inherited
),
widths as (
  select
    c.oid,
    a.attnum,
    a.attisdropped as is_dropped,
    s.null_frac,
    (1 - s.null_frac) * case when a.attlen > 0 then a.attlen else s.avg_width end as bytes,
    -- A value whose width or presence differs from row to row leaves what follows at any offset
    a.attlen < 0 or (s.null_frac > 0 and s.null_frac < 1) as is_varying,
    case
      when s.null_frac >= 0.5 then 1
      -- Up to 126 bytes: a header of one byte, and no alignment
      when a.attlen < 0 and a.attstorage <> 'p' and s.avg_width <= 126 then 1
      else case a.attalign when 'd' then 8 when 'i' then 4 when 's' then 2 else 1 end
    end as alignment
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  -- A virtual column is not stored
  join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and a.attgenerated <> 'v'
  left join statistics as s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname
  where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
),
-- Values of alignment 8 begin runs that begin at multiples of 8; within these, values of alignment 4 begin runs, and so on.
-- A run ends in padding to its alignment: exact where the widths are fixed, else the mean of what is possible
runs as (
  select
    w.oid,
    w.bytes,
    w.is_varying,
    pg_catalog.count(*) filter (where w.alignment >= 8) over by_position as run_of_8,
    pg_catalog.count(*) filter (where w.alignment >= 4) over by_position as run_of_4,
    pg_catalog.count(*) filter (where w.alignment >= 2) over by_position as run_of_2
  from widths as w
  where not w.is_dropped
  window by_position as (partition by w.oid order by w.attnum rows unbounded preceding)
),
runs_of_2 as (
  select
    r.oid, r.run_of_8, r.run_of_4,
    pg_catalog.bool_or(r.is_varying) as is_varying,
    case when pg_catalog.bool_or(r.is_varying) then pg_catalog.sum(r.bytes) + 0.5 else pg_catalog.ceil(pg_catalog.sum(r.bytes) / 2) * 2 end as bytes
  from runs as r
  group by r.oid, r.run_of_8, r.run_of_4, r.run_of_2
),
runs_of_4 as (
  select
    r.oid, r.run_of_8,
    pg_catalog.bool_or(r.is_varying) as is_varying,
    case when pg_catalog.bool_or(r.is_varying) then pg_catalog.sum(r.bytes) + 1 else pg_catalog.ceil(pg_catalog.sum(r.bytes) / 4) * 4 end as bytes
  from runs_of_2 as r
  group by r.oid, r.run_of_8, r.run_of_4
),
runs_of_8 as (
  select
    r.oid,
    case when pg_catalog.bool_or(r.is_varying) then pg_catalog.sum(r.bytes) + 2 else pg_catalog.ceil(pg_catalog.sum(r.bytes) / 8) * 8 end as bytes
  from runs_of_4 as r
  group by r.oid, r.run_of_8
),
aligned as (
  select r.oid, pg_catalog.sum(r.bytes) as bytes from runs_of_8 as r group by r.oid
),
totals as (
  select
    w.oid,
    pg_catalog.count(*) filter (where not w.is_dropped) as column_count,
    pg_catalog.count(*) filter (where w.is_dropped) as dropped_column_count,
    pg_catalog.count(w.null_frac) as visible_column_count,
    pg_catalog.sum(w.bytes) as bytes,
    pg_catalog.sum(w.null_frac::double precision) as null_fraction_sum
  from widths as w
  group by w.oid
)
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  coalesce(t.column_count, 0) as column_count,
  coalesce(t.dropped_column_count, 0) as dropped_column_count,
  coalesce(t.visible_column_count, 0) as visible_column_count,
  t.bytes::double precision as average_row_bytes,
  t.null_fraction_sum,
  -- The data of a row as far as the header of the next one; unknown where one column was not seen
  case when t.visible_column_count = t.column_count then a.bytes::double precision end as aligned_row_bytes
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join totals as t on t.oid = c.oid
left join aligned as a on a.oid = c.oid
-- Partitions are listed, their parents have no storage. The server's own tables are left out
where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
