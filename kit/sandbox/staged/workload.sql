-- What the service asks, as shop_api. Before each statement: how often, and the highest number it asks for.
-- %(number)s is that number, %(token)s the session_token of the session with that number.

-- 64 calls up to 40000
select event_id, kind, created_at from shop.events where session_token = %(token)s

-- 400 calls up to 5000
select customer_id, email, display_name from customers where customer_id = %(number)s

-- 200 calls up to 5000
select customer_id, display_name from customers where email = 'customer-' || %(number)s::text || '@shop.example'

-- 400 calls up to 1000
select product_id, sku, title, price_cents from products where product_id = %(number)s

-- 200 calls up to 1000
select product_id, title, price_cents from products where sku = 'SKU-' || lpad(%(number)s::text, 6, '0')

-- 400 calls up to 20000
select order_id, status, placed_at, email
from orders
join customers using (customer_id)
where order_id = %(number)s

-- 300 calls up to 5000
select order_id, status, placed_at from orders where customer_id = %(number)s order by placed_at desc limit 10

-- 400 calls up to 20000
select line_number, product_id, quantity, price_cents from order_lines where order_id = %(number)s

-- 200 calls up to 1000
select order_id, quantity from order_lines where product_id = %(number)s limit 20

-- 300 calls up to 20000
select payment_id, amount_cents, received_at from payments where order_id = %(number)s

-- 200 calls up to 20000
select amount_cents, received_at from payments where payment_id = %(number)s

-- 60 calls up to 20000
select content, updated_at from carts where cart_id = %(number)s

-- 60 calls up to 20000
update orders set status = 'packed' where order_id = %(number)s and status = 'paid'

-- 60 calls up to 5000
insert into orders (customer_id) values (%(number)s)

-- 25 failing calls up to 40
select address, expires_at from siwe_nonces where nonce = %(token)s
