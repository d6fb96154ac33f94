-- Staged fault: what the session that forgot to commit did last. The text holds a planted secret.
update shop.orders set note = 'refund approved with token ' || :'session_token' where order_id = 1
