-- The remedy of the write-up: run by an administrator, it says nothing of the tables that the migrator creates later.
grant usage on schema app to interspace_dev;
alter default privileges in schema app grant select, insert, update, delete on tables to interspace_dev;
set role migrator;
create table app.sessions (session text primary key);
insert into app.sessions select 'session ' || n from generate_series(1, 3) as n;
reset role;
