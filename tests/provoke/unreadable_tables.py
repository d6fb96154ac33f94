"""Tables of a migrator that nobody granted to the service: default privileges wait for another creator."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role unreadable_migrator login;
        create role unreadable_service login;
        create schema unreadable_app authorization unreadable_migrator;
        grant usage on schema unreadable_app to unreadable_service;
        alter default privileges in schema unreadable_app grant select, insert on tables to unreadable_service;
        alter role unreadable_service set search_path = unreadable_app;
        set role unreadable_migrator;
        create table unreadable_app.orders (order_id bigint);
        create table unreadable_app."Order lines" (order_id bigint);
        """,
        database,
    )
    try:
        yield {
            "symptom": "ERROR: permission denied for table orders",
            "expected": ("unreadable_tables:role:unreadable_app.unreadable_service",),
        }
    finally:
        server.execute(
            """
            drop owned by unreadable_service, unreadable_migrator cascade;
            drop role unreadable_service, unreadable_migrator;
            """,
            database,
        )
