-- The ledger is the last that vacuum.sql names.
select pg_stat_get_last_analyze_time('auth._prisma_migrations'::regclass) is not null
