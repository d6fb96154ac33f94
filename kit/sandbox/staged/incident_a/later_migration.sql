-- A migration that came after the copy was made.
set role migrator;
create table app.login_devices (device text primary key);
insert into app.login_devices select 'device ' || n from generate_series(1, 3) as n;
insert into app._prisma_migrations values ('2', '', now(), '20260302_devices', null, null, now(), 1);
grant select on app.login_devices to interspace_dev;
reset role;
