-- Keys and indexes: each foreign key has its index, and the workload reads each index.
set role shop_owner;
alter table shop.customers add primary key (customer_id), add unique (email);
alter table shop.products add primary key (product_id), add unique (sku);
alter table shop.orders add primary key (order_id);
alter table shop.order_lines add primary key (order_id, line_number);
alter table shop.payments add primary key (payment_id), add unique (order_id);
alter table shop.carts add primary key (cart_id);
alter table shop.events add primary key (event_id);

create index orders_customer_id_placed_at_idx on shop.orders (customer_id, placed_at);
create index order_lines_product_id_idx on shop.order_lines (product_id);

alter table shop.orders add foreign key (customer_id) references shop.customers;
alter table shop.order_lines add foreign key (order_id) references shop.orders;
alter table shop.order_lines add foreign key (product_id) references shop.products;
alter table shop.payments add foreign key (order_id) references shop.orders;

select setval(pg_get_serial_sequence('shop.customers', 'customer_id'), 5000);
select setval(pg_get_serial_sequence('shop.products', 'product_id'), 1000);
select setval(pg_get_serial_sequence('shop.orders', 'order_id'), 20000);
select setval(pg_get_serial_sequence('shop.payments', 'payment_id'), 20000);
select setval(pg_get_serial_sequence('shop.carts', 'cart_id'), 20000);
select setval(pg_get_serial_sequence('shop.events', 'event_id'), 400000);

grant usage on schema shop to shop_api;
grant select, insert, update, delete on all tables in schema shop to shop_api;
alter default privileges in schema shop grant select, insert, update, delete on tables to shop_api;
reset role;
