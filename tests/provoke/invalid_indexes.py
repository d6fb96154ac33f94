"""An index whose concurrent build was cancelled because another transaction did not end."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create table orders (id bigint); insert into orders values (1)", database)
    with server.connect(database, autocommit=False) as writer, server.connect(database) as builder:
        writer.execute("insert into orders values (2)")
        builder.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            builder.execute('create index concurrently "Orders by id" on orders (id)')
    yield {"expected": ('invalid_indexes:index:public."Orders by id"',)}
