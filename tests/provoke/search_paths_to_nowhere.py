"""Two names in one pair of quotes, for a role and for a database, and a schema that was renamed."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "nowhere_quoted, nowhere_renamed, nowhere_emptied, nowhere_elsewhere, nowhere_half"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        f"""
        create role nowhere_quoted login; create role nowhere_renamed login; create role nowhere_emptied login;
        create role nowhere_elsewhere login; create role nowhere_half login;
        create schema "Nowhere app"; create schema nowhere_new;
        create table "Nowhere app".orders (order_id bigint); create table nowhere_new.lines (line_id bigint);
        grant usage on schema "Nowhere app", nowhere_new to nowhere_quoted, nowhere_renamed, nowhere_emptied, nowhere_half;
        grant select on "Nowhere app".orders to nowhere_quoted, nowhere_emptied, nowhere_half;
        grant select on nowhere_new.lines to nowhere_renamed;
        alter role nowhere_quoted set search_path = '"$user", "Nowhere app", missing';
        alter role nowhere_renamed in database {database} set search_path = nowhere_old;
        alter role nowhere_emptied set search_path = '';
        alter role nowhere_elsewhere set search_path = of_another_database;
        alter role nowhere_half set search_path = missing, "Nowhere app";
        alter database {database} set search_path = 'NOWHERE_NEW,public';
        """,
        database,
    )
    try:
        yield {
            "symptom": 'ERROR: relation "orders" does not exist',
            "expected": (
                "search_paths_to_nowhere:role:nowhere_quoted",
                "search_paths_to_nowhere:role:nowhere_renamed",
                f"search_paths_to_nowhere:database:{database}",
            ),
            "absent": tuple(f"search_paths_to_nowhere:role:nowhere_{name}" for name in ("emptied", "elsewhere", "half")),
        }
    finally:
        server.execute(f"drop owned by {ROLES}; drop role {ROLES}", database)
