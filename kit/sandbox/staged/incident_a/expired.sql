alter role interspace_password valid until '2026-01-01';
grant usage on schema app to interspace_password;
grant select on app.siwe_nonces to interspace_password;
