"""An index nobody scans, beside others nobody scans that are there for a reason."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create table customers (id bigint primary key);
        insert into customers select g from generate_series(1, 10) as g;
        create table orders (id bigint primary key, customer_id bigint references customers, code text unique, note text);
        insert into orders select g, 1 + g % 10, md5(g::text), 'note ' || g from generate_series(1, 3000) as g;
        create index orders_by_customer on orders (customer_id);
        create index "Orders by note" on orders (note);
        """,
        database,
    )
    yield {
        "thresholds": {"minimum_statistics_days": 0, "minimum_bytes": 10_000},
        "expected": ('unused_indexes:index:public."Orders by note"',),
        "absent": tuple(
            f"unused_indexes:index:public.{name}" for name in ("orders_pkey", "orders_code_key", "orders_by_customer")
        ),
    }
