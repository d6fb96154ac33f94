"""Everything granted to everybody, because one role needed some of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role anon; create role everybody_service login; create role everybody_group;
        create role everybody_member login in role everybody_group;
        create schema "Open"; grant usage on schema "Open" to everybody_group;
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
            # Whoever works with it must not notice.
            "kept": [
                (role, statement)
                for role in ("anon", "everybody_service", "everybody_member")
                for statement in (
                    'select "Open".renew(1)',
                    'call "Open".clear()',
                    'insert into "Open".orders (note) values (null) returning order_id',
                    'select from "Open"."All orders"',
                    'select code from "Open".halves',
                )
            ],
            "absent": (*(f"public_grants:{kind}:narrow" for kind in kinds), "public_grants:schema:public"),
        }
    finally:
        server.execute('drop schema "Open", narrow cascade', database)
        server.execute("drop role anon, everybody_service, everybody_member, everybody_group", database)
