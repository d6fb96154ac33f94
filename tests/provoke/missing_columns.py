"""A deploy that expects a column which no migration has added here (incident D)."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create table sessions (id bigint, platform text); create table platforms (platform_id bigint)", database)
    yield {
        "symptom": 'ERROR: column "platform_id" of relation "sessions" does not exist',
        "expected": ("missing_columns:column:sessions.platform_id",),
        "repair": lambda server, database: server.execute("alter table sessions add column platform_id bigint", database),
    }
