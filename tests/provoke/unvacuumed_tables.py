"""A table whose rows all died, and that autovacuum may not touch."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    with server.connect(database) as connection:
        connection.execute("create table carts (id bigint) with (autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0)")
        connection.execute("insert into carts select g from generate_series(1, 5000) as g")
        connection.execute("delete from carts where id <= 4000")
        connection.execute("select pg_stat_force_next_flush()")
    yield {"expected": ("unvacuumed_tables:table:public.carts",)}
