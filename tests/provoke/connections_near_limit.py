"""A pool that holds nearly all connection slots."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

SLOTS = """select sum(case name when 'max_connections' then 1 else -1 end * setting::int)::int from pg_settings
    where name in ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"""


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    [(slots,)] = server.execute(SLOTS)
    with contextlib.ExitStack() as pool:
        for _ in range(int(slots * 0.85)):
            pool.enter_context(contextlib.closing(server.connect(database)))
        yield {
            "symptom": "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "expected": ("connections_near_limit:setting:max_connections",),
            "repair": lambda server, database: pool.close(),
        }
