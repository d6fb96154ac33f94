"""A table in a schema that its service may use, but does not have on its search_path."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLE = "off_the_path_api"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        f"create role {ROLE} login; create role {ROLE}_other login; create schema app; create table app.nonces (nonce text);"
        f"grant usage on schema app to {ROLE}, {ROLE}_other; grant select on app.nonces to {ROLE}, {ROLE}_other;"
        f"alter role {ROLE}_other in database {database} set search_path = app",
        database,
    )
    try:
        yield {
            "symptom": 'relation "nonces" does not exist',
            "expected": (f"relations_off_the_path:role:app.{ROLE}",),
            "absent": (f"relations_off_the_path:role:app.{ROLE}_other",),
        }
    finally:
        server.execute(f"drop owned by {ROLE}, {ROLE}_other; drop role {ROLE}, {ROLE}_other", database)
