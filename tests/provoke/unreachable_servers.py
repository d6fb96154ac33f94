"""A socket folder in which no server listens, as with an instance that is not attached."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    folder = server.socket_folder / "project:us-central1-a:instance"
    yield {
        "conninfo": f"host={folder} user=postgres dbname={database}",
        "symptom": f'connection to server on socket "{folder}/.s.PGSQL.5432" failed: No such file or directory',
        "expected": (f'unreachable_servers:server:"{folder}"',),
        "repair": lambda server, database: server.dsn(database),
    }
