-- A planted secret: the password in a user mapping.
create server billing foreign data wrapper postgres_fdw
  options (host 'billing.shop.example', port '5432', dbname 'billing');
create user mapping for shop_api server billing options (user 'shop', password :'mapping_password');
