-- ALTER ROLE … INHERIT after the grant: enough up to 15, without effect from 16 on.
create role app_readers;
grant usage on schema app to app_readers;
grant select on app.siwe_nonces to app_readers;
alter role interspace_dev noinherit;
grant app_readers to interspace_dev;
alter role interspace_dev inherit;
