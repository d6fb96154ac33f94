-- Staged fault: six generations of dead rows. All of them in one transaction, which the one round trip of this file
-- makes: else each update would prune the pages of the one before, and reuse their room. Through the index, because
-- sequential scans of this table are not among the faults.
set local enable_seqscan = off;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 1'), 4), updated_at = now() where cart_id > 0;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 2'), 4), updated_at = now() where cart_id > 0;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 3'), 4), updated_at = now() where cart_id > 0;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 4'), 4), updated_at = now() where cart_id > 0;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 5'), 4), updated_at = now() where cart_id > 0;
update shop.carts set content = repeat(md5('cart ' || cart_id || ' change 6'), 4), updated_at = now() where cart_id > 0;
