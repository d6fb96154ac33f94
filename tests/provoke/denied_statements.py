"""A service that reads a table with one column that it was not granted; another that was granted all of them."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "denied_service, denied_reader"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role denied_service login; create role denied_reader login;
        create schema denied; create table denied."Log ins" (id int, address text);
        grant usage on schema denied to denied_service, denied_reader;
        grant select (id) on denied."Log ins" to denied_service; grant select on denied."Log ins" to denied_reader;
        """,
        database,
    )
    try:
        yield {
            "symptom": f"user=denied_service,db={database} ERROR:  permission denied for table Log ins\n"
            'user=denied_service STATEMENT:  select * from denied."Log ins"',
            "expected": ("denied_statements:role:denied_service",),
            "absent": ("denied_statements:role:denied_reader",),
        }
    finally:
        server.execute(f"drop owned by {ROLES} cascade; drop role {ROLES}", database)
