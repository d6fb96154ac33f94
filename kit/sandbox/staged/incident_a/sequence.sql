-- GRANT … ON ALL TABLES gives nothing on the sequence behind a serial column.
set role migrator;
create table app.login_attempts (attempt_id serial primary key, address text not null);
reset role;
grant usage on schema app to interspace_dev;
grant select, insert on all tables in schema app to interspace_dev;
