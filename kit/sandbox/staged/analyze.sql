-- Before the workload, so that it gets the right plans; and before the carts bloat, as of old.
analyze shop.customers, shop.products, shop.orders, shop.order_lines, shop.payments, shop.carts, shop.events
