-- What the kit's own role may read, from PostgreSQL 14: everything, as Google's and Amazon's guides propose.
grant pg_read_all_data to incident_kit;
grant usage on schema extensions to incident_kit;
