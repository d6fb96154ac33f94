"""A role whose sessions are read-only by default, while the application's write is refused."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create role reading_service login; alter role reading_service set default_transaction_read_only = on")
    try:
        yield {
            "conninfo": server.dsn(database, "reading_service"),
            "symptom": "ERROR: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)",
            "expected": ("unsuitable_servers:setting:default_transaction_read_only",),
            "repair": lambda server, _: server.execute("alter role reading_service reset default_transaction_read_only"),
        }
    finally:
        server.execute("drop role reading_service")
