-- The view belongs to a role that may not read the table itself.
create view app.logins as select nonce, address from app.siwe_nonces;
alter view app.logins owner to reporting;
grant usage on schema app to interspace_dev, reporting;
grant select on app.logins to interspace_dev;
