-- Last, so that nothing but the carts is in need of it.
vacuum (analyze) shop.customers, shop.products, shop.orders, shop.order_lines, shop.payments, shop.events,
  auth.login_sessions, auth.siwe_nonces, auth.blacklisted_tokens, auth._prisma_migrations
