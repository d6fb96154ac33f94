"""A large table that is read whole by every call."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

SCANS = 30


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    with server.connect(database) as connection:
        connection.execute("create table events (id bigint primary key, session_token text)")
        connection.execute("insert into events select g, md5(g::text) from generate_series(1, 15000) as g")
        connection.execute("create table small as select g as id from generate_series(1, 100) as g")
        connection.execute("set max_parallel_workers_per_gather = 0")
        for number in range(SCANS):
            connection.execute("select * from events where session_token = %s", (str(number),))
            connection.execute("select * from small where id = %s", (number,))
        connection.execute("select pg_stat_force_next_flush()")
    yield {
        "expected": ("large_sequential_scans:table:public.events",),
        "absent": ("large_sequential_scans:table:public.small",),
        "repair": _repair,
    }


def _repair(server: Server, database: str) -> None:
    # The counters remember; the next capture compares with what has been counted since.
    server.execute("create index on events (session_token)", database)
    server.execute("select pg_stat_reset_single_table_counters('events'::regclass)", database)
