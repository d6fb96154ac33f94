"""A role that may not log in."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create role refused_service nologin")
    try:
        yield {
            "conninfo": server.dsn(database, "refused_service"),
            "symptom": 'FATAL: password authentication failed for user "refused_service"',
            "expected": ("refused_logins:role:refused_service",),
            "repair": lambda server, _: server.execute("alter role refused_service login"),
        }
    finally:
        server.execute("drop role refused_service")
