"""A service whose role may not log in; the kit asks as somebody else."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create role shut_out nologin")
    try:
        yield {
            "symptom": f'user=shut_out,db={database} FATAL:  role "shut_out" is not permitted to log in',
            "expected": ("refused_sessions:role:shut_out",),
        }
    finally:
        server.execute("drop role shut_out")
