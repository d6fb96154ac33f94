-- Run with pg_stat_statements on, which keeps the text of a utility statement as it came, passwords and all.
alter role shop_api password :'api_password';
alter role incident_kit password :'kit_password';
alter role deployer password :'deployer_password';
alter role migrator password :'migrator_password';
