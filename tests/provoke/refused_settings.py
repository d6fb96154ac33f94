"""A connection string whose `options` name a setting that the server does not have."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    yield {
        "conninfo": f"{server.dsn(database)}&options=-c%20stament_timeout%3D5s",
        "symptom": 'FATAL: unrecognized configuration parameter "stament_timeout"',
        "expected": (f'refused_settings:connection:"{server.socket_folder}:{server.port}"',),
        "repair": lambda server, database: server.dsn(database),
    }
