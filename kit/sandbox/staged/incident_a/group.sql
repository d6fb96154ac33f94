-- Everything is granted to a group that the service belongs to; the membership alone gives nothing.
create role app_readers;
grant usage on schema app to app_readers;
grant select on app.siwe_nonces to app_readers;
do $$ begin
  if current_setting('server_version_num')::int >= 160000 then
    execute 'grant app_readers to interspace_dev with inherit false';
  else
    alter role interspace_dev noinherit;
    grant app_readers to interspace_dev;
  end if;
end $$;
