-- The schema is where every session of this database looks first.
do $$ begin execute format('alter database %I set search_path = app, public', current_database()); end $$;
