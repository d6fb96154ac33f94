-- title = "Grants on columns"
-- grain = "one row per column, grantor and grantee"
-- group = "access"
-- since = 13
-- cost = "one scan of pg_attribute"
-- [columns]
-- relation_oid = {dtype = "string"}
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- column_name = {dtype = "string", class = "identifier"}
-- grantor_name = {dtype = "string", class = "identifier"}
-- grantee_name = {dtype = "string", class = "identifier"}
-- privileges = {dtype = "list[string]"}
select
  c.oid::pg_catalog.text as relation_oid,
  n.nspname::pg_catalog.text as schema_name,
  c.relname::pg_catalog.text as relation_name,
  t.attname::pg_catalog.text as column_name,
  pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text as grantor_name,
  case when a.grantee <> 0 then pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text end as grantee_name,
  pg_catalog.array_agg(a.privilege_type order by a.privilege_type) as privileges
from pg_catalog.pg_attribute as t
join pg_catalog.pg_class as c on c.oid = t.attrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join lateral pg_catalog.aclexplode(t.attacl) as a
-- Partitions and their parents have grants of their own. The server's own relations are left out
where t.attacl is not null and not t.attisdropped and n.nspname not in ('pg_catalog', 'information_schema')
group by n.nspname, c.relname, c.oid, t.attnum, t.attname, a.grantor, a.grantee
order by n.nspname, c.relname, c.oid, t.attnum, grantor_name, a.grantee, a.grantor;
