grant usage on schema app to interspace_dev;
grant select (nonce) on app.siwe_nonces to interspace_dev;
