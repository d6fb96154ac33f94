"""A role whose only connection is taken."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create role crowded_service login connection limit 1")
    holder = server.connect(database, "crowded_service")
    try:
        yield {
            "conninfo": server.dsn(database, "crowded_service"),
            "symptom": "FATAL: sorry, too many clients already",
            "expected": (f'exhausted_connection_slots:server:"{server.socket_folder}:{server.port}"',),
            "repair": lambda server, database: holder.close(),
        }
    finally:
        holder.close()
        server.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'crowded_service'")
        server.execute("drop role crowded_service")
