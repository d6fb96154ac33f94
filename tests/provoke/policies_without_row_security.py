"""A policy on a table whose row security nobody enabled."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create schema "Idle";
        create table "Idle"."Private notes" (owner_name text);
        create policy own_rows on "Idle"."Private notes" using (owner_name = current_user);
        """,
        database,
    )
    try:
        yield {"expected": ('policies_without_row_security:table:"Idle"."Private notes"',)}
    finally:
        server.execute('drop schema "Idle" cascade', database)
