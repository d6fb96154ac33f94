"""A policy on a table whose row security nobody enabled."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role idle_service login; create schema "Idle"; grant usage on schema "Idle" to idle_service;
        create table "Idle"."Private notes" (owner_name text);
        create policy own_rows on "Idle"."Private notes" using (owner_name = current_user);
        grant select on "Idle"."Private notes" to idle_service;
        insert into "Idle"."Private notes" values ('idle_service');
        """,
        database,
    )
    try:
        yield {
            "kept": (("idle_service", 'select 1 / count(*) from "Idle"."Private notes"'),),
            "expected": ('policies_without_row_security:table:"Idle"."Private notes"',),
        }
    finally:
        server.execute('drop schema "Idle" cascade; drop role idle_service', database)
