select exists (select from pg_locks where pid = :'pid'::integer and not granted)
