-- title = "Relations"
-- grain = "one row per table, view, materialized view, foreign table and sequence"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_class"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- kind = {dtype = "string"}
-- owner_name = {dtype = "string", class = "identifier"}
-- persistence = {dtype = "string"}
-- has_row_security = {dtype = "boolean"}
-- forces_row_security = {dtype = "boolean"}
-- is_partition = {dtype = "boolean"}
-- is_security_invoker = {dtype = "boolean"}
-- has_default_acl = {dtype = "boolean"}
-- options = {dtype = "list[string]"}
-- estimated_rows = {dtype = "Float64", unit = "rows"}
-- estimated_pages = {dtype = "Int64", unit = "pages of block_size"}
-- frozen_xid_age = {dtype = "Int64", unit = "transactions"}
-- catalog_changed_xid_age = {dtype = "Int64", unit = "transactions"}
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  case c.relkind
    when 'r' then 'table'
    when 'p' then 'partitioned table'
    when 'v' then 'view'
    when 'm' then 'materialized view'
    when 'f' then 'foreign table'
    when 'S' then 'sequence'
  end as kind,
  pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text as owner_name,
  case c.relpersistence when 'p' then 'permanent' when 'u' then 'unlogged' when 't' then 'temporary' end as persistence,
  c.relrowsecurity as has_row_security,
  c.relforcerowsecurity as forces_row_security,
  c.relispartition as is_partition,
  -- The server keeps the word the user wrote (on, 1, yes, ...), having checked that it is a boolean
  coalesce((
    select pg_catalog.split_part(o.item, '=', 2)::boolean
    from pg_catalog.unnest(c.reloptions) as o(item)
    where pg_catalog.split_part(o.item, '=', 1) = 'security_invoker'
  ), false) as is_security_invoker,
  c.relacl is null as has_default_acl,
  coalesce(c.reloptions, '{}'::pg_catalog.text[]) as options,
  -- Unknown is -1 from 14 on; on 13 a table that was never analyzed looks like an empty one
  case
    when c.relkind not in ('r', 'p', 'm', 'f') or c.reltuples < 0 then null
    when c.reltuples = 0 and c.relpages = 0 and pg_catalog.current_setting('server_version_num')::integer < 140000 then null
    else c.reltuples::double precision
  end as estimated_rows,
  c.relpages::bigint as estimated_pages,
  -- The older one of the table and its TOAST table; a partitioned table has none
  case
    when c.relkind in ('r', 'm') then greatest(pg_catalog.age(c.relfrozenxid), pg_catalog.age(t.relfrozenxid))::bigint
  end as frozen_xid_age,
  -- When its row in pg_class last changed, as far as the server still knows (2147483647 means frozen)
  nullif(pg_catalog.age(c.xmin), 2147483647)::bigint as catalog_changed_xid_age
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid
-- Partitions and their parents are both listed. The server's own relations are left out: some 350 that nobody can change
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname not in ('pg_catalog', 'information_schema')
order by n.nspname, c.relname, c.oid;
