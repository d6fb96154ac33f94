"""A table of which two rows of three were deleted and vacuumed away."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROWS = 30_000


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    with server.connect(database) as connection:
        connection.execute(
            'create schema "App"; create table "App"."Carts" (id bigint, note text) with (autovacuum_enabled = false)'
        )
        connection.execute(f'insert into "App"."Carts" select g, md5(g::text) from generate_series(1, {ROWS}) as g')
        connection.execute('delete from "App"."Carts" where id % 3 > 0')
        connection.execute("select pg_stat_force_next_flush()")
        connection.execute('vacuum (analyze) "App"."Carts"')
    yield {"thresholds": {"minimum_wasted_bytes": 500_000}, "expected": ('bloated_tables:table:"App"."Carts"',)}
