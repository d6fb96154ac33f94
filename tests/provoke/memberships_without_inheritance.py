"""A service that was NOINHERIT when its membership was granted, and was given INHERIT afterwards, as on 15 one would."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "inheriting_service, inheriting_gateway, inheriting_creator, inheriting_group, inheriting_made, inheriting_idle"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role inheriting_group; create role inheriting_idle;
        create role inheriting_service login noinherit; create role inheriting_gateway login noinherit;
        create role inheriting_creator login createrole;
        create schema inheriting_app;
        create table inheriting_app.orders (order_id bigint);
        grant usage on schema inheriting_app to inheriting_group;
        grant select on inheriting_app.orders to inheriting_group;
        grant inheriting_group, inheriting_idle to inheriting_service, inheriting_gateway;
        alter role inheriting_service inherit;
        set role inheriting_creator;
        create role inheriting_made;
        reset role;
        grant usage on schema inheriting_app to inheriting_made;
        """,
        database,
    )
    is_told = server.version >= 16
    try:
        yield {
            "symptom": "ERROR: permission denied for table orders",
            "expected": ("memberships_without_inheritance:role:inheriting_service",) if is_told else (),
            "absent": (
                "memberships_without_inheritance:role:inheriting_gateway",
                "memberships_without_inheritance:role:inheriting_creator",
            ),
        }
    finally:
        server.execute(f"drop owned by {ROLES}; drop role {ROLES}", database)
