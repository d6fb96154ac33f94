"""A foreign key of two columns without an index, beside one whose index has the columns in another order."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create table customers (shop text, "Number" bigint, primary key (shop, "Number"));
        insert into customers select 'a', g from generate_series(1, 100) as g;
        create table orders (id bigint, shop text, "Customer" bigint,
            constraint orders_customer foreign key (shop, "Customer") references customers);
        create table returns (shop text, "Customer" bigint,
            constraint returns_customer foreign key (shop, "Customer") references customers);
        create index on returns ("Customer", shop);
        insert into orders select g, 'a', 1 + g % 100 from generate_series(1, 2000) as g;
        insert into returns select 'a', 1 + g % 100 from generate_series(1, 2000) as g;
        select pg_stat_force_next_flush();
        """,
        database,
    )
    yield {
        "expected": ('unindexed_foreign_keys:foreign key:public."orders.orders_customer"',),
        "absent": ('unindexed_foreign_keys:foreign key:public."returns.returns_customer"',),
    }
