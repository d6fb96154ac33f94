"""A session that began a transaction and then did nothing."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    session = server.connect(database, autocommit=False)
    try:
        session.execute("select 1")
        yield {
            "thresholds": {"idle_seconds": 0},
            "expected": (f'idle_transactions:session:"{session.info.backend_pid}"',),
        }
    finally:
        session.close()
