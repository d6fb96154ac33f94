-- The tool that migrates quotes its names, the statements of the service do not.
set role migrator;
alter table app.siwe_nonces rename to "Siwe_Nonces";
reset role;
grant usage on schema app to interspace_dev;
grant select on app."Siwe_Nonces" to interspace_dev;
