-- title = "Migration ledgers"
-- grain = "one row per table that looks like the ledger of a migration tool"
-- group = "changes"
-- since = 13
-- cost = "one scan of pg_attribute"
-- [columns]
-- schema_name = {dtype = "string", class = "identifier"}
-- relation_name = {dtype = "string", class = "identifier"}
-- relation_oid = {dtype = "string"}
-- tool = {dtype = "string"}
-- column_names = {dtype = "list[string]", class = "identifier"}
with signatures (tool, is_exact, name_part, required) as (
  -- By their columns, since most tools let the user name the table; where those are too common the name must fit as well.
  -- What has only a version under the name schema_migrations is called rails: dbmate and others look the same
  values
    ('prisma', false, null, '{id, checksum, migration_name, started_at, finished_at, rolled_back_at, applied_steps_count}'::pg_catalog.text[]),
    ('flyway', false, null, '{installed_rank, version, description, type, script, checksum, installed_by, installed_on, execution_time, success}'::pg_catalog.text[]),
    ('alembic', true, null, '{version_num}'::pg_catalog.text[]),
    ('django', true, null, '{id, app, name, applied}'::pg_catalog.text[]),
    ('rails', true, 'schema_migrations', '{version}'::pg_catalog.text[]),
    ('ecto', true, 'migration', '{version, inserted_at}'::pg_catalog.text[]),
    ('golang-migrate', true, null, '{version, dirty}'::pg_catalog.text[]),
    ('knex', true, null, '{id, name, batch, migration_time}'::pg_catalog.text[]),
    ('goose', true, null, '{id, version_id, is_applied, tstamp}'::pg_catalog.text[]),
    ('liquibase', false, null, '{id, author, filename, dateexecuted, orderexecuted, exectype, md5sum}'::pg_catalog.text[]),
    ('supabase', false, 'migration', '{version, statements}'::pg_catalog.text[]),
    ('drizzle', false, 'migration', '{id, hash, created_at}'::pg_catalog.text[]),
    ('sqlx', true, null, '{version, description, installed_on, success, checksum, execution_time}'::pg_catalog.text[]),
    ('sequelize', true, 'sequelize', '{name}'::pg_catalog.text[]),
    ('typeorm', true, 'migration', '{id, timestamp, name}'::pg_catalog.text[]),
    ('mikro-orm', true, 'migration', '{id, name, executed_at}'::pg_catalog.text[]),
    ('node-pg-migrate', true, 'migration', '{id, name, run_on}'::pg_catalog.text[]),
    ('diesel', true, 'migration', '{version, run_on}'::pg_catalog.text[]),
    ('ef-core', true, null, '{MigrationId, ProductVersion}'::pg_catalog.text[]),
    ('atlas', false, null, '{version, description, type, applied, total, executed_at, execution_time, error, hash}'::pg_catalog.text[]),
    ('laravel', true, 'migration', '{id, migration, batch}'::pg_catalog.text[]),
    ('phinx', false, null, '{version, migration_name, start_time, end_time, breakpoint}'::pg_catalog.text[]),
    ('sqitch', false, null, '{change_id, script_hash, change, project, committed_at, planned_at}'::pg_catalog.text[])
),
tables as (
  -- A ledger may be partitioned, a partition is none. Views would run their owner's functions when probed, and so might
  -- types of somebody's own: only tables made of the server's types are looked at
  select
    c.oid,
    n.nspname,
    c.relname,
    pg_catalog.array_agg(a.attname::pg_catalog.text order by a.attnum) as column_names
  from pg_catalog.pg_class as c
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
  join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_catalog.pg_type as t on t.oid = a.atttypid
  join pg_catalog.pg_namespace as tn on tn.oid = t.typnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
  group by c.oid, n.nspname, c.relname
  having pg_catalog.bool_and(tn.nspname = 'pg_catalog')
)
select
  t.nspname::pg_catalog.text as schema_name,
  t.relname::pg_catalog.text as relation_name,
  t.oid::pg_catalog.text as relation_oid,
  s.tool,
  t.column_names
from tables as t
join signatures as s
  on t.column_names @> s.required
  and (not s.is_exact or pg_catalog.cardinality(t.column_names) = pg_catalog.cardinality(s.required))
  and (s.name_part is null or pg_catalog.strpos(pg_catalog.lower(t.relname::pg_catalog.text), s.name_part) > 0)
order by t.nspname, t.relname, t.oid, s.tool;
