"""Default privileges typed by the administrator, without FOR ROLE, for tables that a migrator creates."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role misdirected_migrator login;
        create role misdirected_service login;
        create schema misdirected_app authorization misdirected_migrator;
        grant usage on schema misdirected_app to misdirected_service;
        alter default privileges in schema misdirected_app grant select on tables to misdirected_service;
        set role misdirected_migrator;
        create table misdirected_app.orders (order_id bigint);
        grant select on misdirected_app.orders to misdirected_service;
        """,
        database,
    )
    try:
        yield {"expected": ("misdirected_default_privileges:role:misdirected_app.misdirected_service",)}
    finally:
        server.execute(
            """
            drop owned by misdirected_service, misdirected_migrator cascade;
            drop role misdirected_service, misdirected_migrator;
            """,
            database,
        )
