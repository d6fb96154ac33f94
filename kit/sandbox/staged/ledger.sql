-- Prisma's ledger as its migration engine creates it. Staged fault: the last migration, which was to grant the service
-- its rights on auth, failed on a role name that does not exist.
set role migrator;
create table auth._prisma_migrations (
  id varchar(36) primary key not null,
  checksum varchar(64) not null,
  finished_at timestamptz,
  migration_name varchar(255) not null,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz not null default now(),
  applied_steps_count integer not null default 0
);

insert into auth._prisma_migrations
  (id, checksum, started_at, finished_at, migration_name, logs, applied_steps_count)
select md5('id ' || name)::uuid::text, encode(sha256(name::bytea), 'hex'),
  :'now'::timestamptz - age, case when error is null then :'now'::timestamptz - age + interval '180 ms' end,
  name, error, case when error is null then 1 else 0 end
from (
  values
    (interval '61 days', '20260112084500_init', null),
    (interval '40 days', '20260202133000_login_sessions', null),
    (interval '19 days', '20260223101000_session_expiry', null),
    (interval '96 minutes', '20260313150000_siwe_login', null),
    (
      interval '95 minutes 50 seconds',
      '20260313154500_grant_auth_to_service',
      'A migration failed to apply. New migrations cannot be applied before the error is recovered from. '
        || 'Read more about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve'
        || E'\n\nMigration name: 20260313154500_grant_auth_to_service'
        || E'\n\nDatabase error code: 42704'
        || E'\n\nDatabase error:\nERROR: role "shop_service" does not exist'
        || E'\n\nDbError { severity: "ERROR", parsed_severity: Some(Error), code: SqlState(E42704), '
        || 'message: "role \"shop_service\" does not exist", routine: Some("get_role_oid") }'
    )
) as migrations (age, name, error);
reset role;
