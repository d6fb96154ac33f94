-- All that the service needs; only its search_path, where a variant sets none, does not name the schema.
grant usage on schema app to interspace_dev;
grant select, insert, update, delete on app.siwe_nonces, app.blacklisted_tokens to interspace_dev;
