-- Who works with the shop. Passwords are set although the sandbox trusts its socket: they are the planted secrets.
create role shop_owner nologin;
create role deployer login in role shop_owner;
create role migrator login;
create role shop_api login;
create role incident_kit login in role pg_monitor;

alter database shop owner to shop_owner;
alter database shop set max_parallel_workers_per_gather = 0;
revoke all on database shop from public;
grant connect on database shop to deployer, migrator, shop_api, incident_kit;
grant create on database shop to migrator;
revoke create on schema public from public;

alter role shop_api in database shop set search_path = auth, shop;
alter role shop_api set app.jwt_secret = :'jwt_secret';
