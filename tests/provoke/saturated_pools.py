"""A pooler whose pool is smaller than its load."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from kit.sandbox.server import Server
from kit.target.poolers import PoolerSource
from tests.saturating import PGBOUNCER, bounced, until


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    if not PGBOUNCER.exists():
        pytest.skip(f"{PGBOUNCER} is not installed: the pooler is NOT tested")
    with bounced(server, database) as bouncer:
        bouncer.run(8, "select pg_sleep(0.3)", times=10_000)
        until(bouncer.holds(taken=2, waiting=6))
        yield {
            "poolers": (PoolerSource("database.pooler", bouncer.console),),
            "thresholds": {"warning_seconds": 0.3},
            "symptom": "Timed out fetching a new connection from the connection pool",
            "expected": ('saturated_pools:pool:"shop/pooled"',),
            "repair": lambda server, database: bouncer.admin("set default_pool_size = 20") and None,
        }
