"""Tables of an interface to the internet, one of them left without row security."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role anon;
        create role authenticated;
        create schema api;
        create table api.orders (order_id bigint, note text);
        create table api.countries (code text);
        create table api.drafts (draft_id bigint, author text);
        alter table api.drafts enable row level security;
        create table api.internal (secret text);
        create table api."Only one" (code text, secret text);
        insert into api.drafts values (1, 'someone');
        create materialized view api.all_drafts as select * from api.drafts;
        create materialized view api.inner_drafts as select * from api.drafts;
        grant select on api.all_drafts to anon;
        create foreign data wrapper nowhere;
        create server nowhere foreign data wrapper nowhere;
        create foreign table api.far (n integer) server nowhere;
        grant select on api.far to authenticated;
        create schema closed;
        create table closed.unreachable (secret text);
        grant usage on schema api to anon, authenticated;
        grant insert, select on api.orders to authenticated;
        grant select on api.countries to anon;
        grant select on api.drafts, closed.unreachable to anon;
        grant update (code) on api."Only one" to anon;
        """,
        database,
    )
    try:
        yield {
            "expected": (
                "exposed_tables_without_row_security:table:api.orders",
                "exposed_tables_without_row_security:table:api.countries",
                'exposed_tables_without_row_security:table:api."Only one"',
                "exposed_tables_without_row_security:view:api.all_drafts",
                "exposed_tables_without_row_security:table:api.far",
            ),
            "absent": (
                "exposed_tables_without_row_security:table:api.drafts",
                "exposed_tables_without_row_security:table:api.internal",
                "exposed_tables_without_row_security:view:api.inner_drafts",
                "exposed_tables_without_row_security:table:closed.unreachable",
            ),
            "repair": repair,
        }
    finally:
        server.execute(
            "drop schema api, closed cascade; drop foreign data wrapper nowhere cascade; drop role anon; drop role authenticated",
            database,
        )


def repair(server: Server, database: str) -> None:
    """Decide, table by table, as the remedy asks."""
    server.execute(
        """
        create policy own on api.orders to authenticated using (note = current_user);
        alter table api.orders enable row level security;
        revoke all on api.countries from public, anon;
        revoke all on api."Only one" from public, anon;
        create view api.own_drafts as select * from api.all_drafts where author = current_user;
        revoke all on api.all_drafts from anon;
        revoke all on api.far from authenticated;
        """,
        database,
    )
