"""A service whose search_path names a schema that it may not enter, though its table is granted in full."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role usage_service login;
        create schema "Usage shop";
        create table "Usage shop".orders (order_id bigint);
        create table "Usage shop"."Order lines" (order_id bigint);
        grant all on all tables in schema "Usage shop" to usage_service;
        alter role usage_service set search_path = "Usage shop", public;
        """,
        database,
    )
    try:
        yield {
            "symptom": 'ERROR: relation "orders" does not exist',
            "expected": ('schemas_without_usage:role:"Usage shop".usage_service',),
        }
    finally:
        server.execute("drop owned by usage_service; drop role usage_service", database)
