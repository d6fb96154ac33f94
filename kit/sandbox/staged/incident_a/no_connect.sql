do $$ begin
  execute format('revoke connect on database %I from public', current_database());
  execute format('grant connect on database %I to migrator', current_database());
end $$;
