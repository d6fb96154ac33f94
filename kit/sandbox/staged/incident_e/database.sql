-- A new database in which the migrations of settlement-service never ran.
create extension pg_stat_statements;
create schema settlement authorization settlement;
grant usage on schema settlement to investigator;
alter role settlement in database settlement set search_path = settlement;
