-- A session's statistics arrive after it has ended. The inserts are the workload's last, the dead rows the carts' own.
select pg_stat_get_tuples_inserted('shop.orders'::regclass) >= 60
  and pg_stat_get_dead_tuples('shop.carts'::regclass) >= 120000
