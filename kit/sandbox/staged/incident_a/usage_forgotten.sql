-- "Full grants" on the tables, none on their schema.
grant select, insert, update, delete on app.siwe_nonces, app.blacklisted_tokens to interspace_dev;
