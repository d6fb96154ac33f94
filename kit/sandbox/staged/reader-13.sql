-- What the kit's own role may read, on PostgreSQL 13, which has no pg_read_all_data.
grant usage on schema shop, auth, extensions to incident_kit;
grant select on all tables in schema shop, auth to incident_kit;
grant select on all sequences in schema shop, auth to incident_kit;
