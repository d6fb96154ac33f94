"""Everything granted to everybody, because one role needed some of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create schema "Open";
        create table "Open".orders (order_id bigserial, note text);
        create view "Open"."All orders" as select * from "Open".orders;
        create table "Open".halves (code text, secret text);
        create function "Open".renew(how integer) returns integer security definer language sql as $$ select 1 $$;
        create procedure "Open".clear() security definer language sql as $$ delete from "Open".orders $$;
        grant usage on schema "Open" to public;
        grant select, insert on "Open".orders, "Open"."All orders" to public;
        grant select (code) on "Open".halves to public;
        grant usage, select on sequence "Open".orders_order_id_seq to public;
        create schema narrow;
        create table narrow.orders (order_id bigserial);
        create function narrow.plain() returns integer language sql as $$ select 1 $$;
        create function narrow.on_change() returns trigger security definer language plpgsql as $$ begin return new; end $$;
        """,
        database,
    )
    try:
        kinds = ("tables", "sequences", "schema", "functions")
        yield {
            "expected": tuple(f'public_grants:{kind}:"Open"' for kind in kinds),
            "absent": (*(f"public_grants:{kind}:narrow" for kind in kinds), "public_grants:schema:public"),
        }
    finally:
        server.execute('drop schema "Open", narrow cascade', database)
