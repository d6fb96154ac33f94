"""A connection string that names a database the server does not have."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    name = f"{database} staging"
    try:
        yield {
            "conninfo": server.dsn(name),
            "symptom": f'FATAL: database "{name}" does not exist',
            "expected": (f'missing_databases:database:"{name}"',),
            "repair": lambda server, _: server.create_database(name),
        }
    finally:
        server.execute(f'drop database if exists "{name}" with (force)')
