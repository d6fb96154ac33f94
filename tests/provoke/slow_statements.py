"""A statement that reads a large table from end to end for want of an index, beside healthy ones."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from kit.sandbox.server import Server

# Well above the five milliseconds of the threshold, on a fast machine too.
ROWS = 500_000
CALLS = 25
EVENTS = "select id, kind from events where session_token = $1"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    with server.connect(database) as connection:
        connection.execute("create extension pg_stat_statements")
        connection.execute("create table events (id bigint primary key, session_token text, kind text)")
        connection.execute(f"insert into events select g, md5(g::text), 'view' from generate_series(1, {ROWS}) as g")
        connection.execute("analyze events")
        connection.execute("set max_parallel_workers_per_gather = 0")
        connection.execute("select pg_stat_statements_reset()")
        for number in range(CALLS):
            connection.execute("select id, kind from events where session_token = %s", (f"none {number}",))
            connection.execute("select kind from events where id = %s", (number,))
        connection.execute("select pg_stat_force_next_flush()")
        slow, healthy = (_fingerprint(connection, text) for text in (EVENTS, "select kind from events where id = $1"))
    yield {
        "symptom": "canceling statement due to statement timeout",
        "expected": (slow,),
        "absent": (healthy,),
        "repair": _repair,
    }


def _fingerprint(connection: psycopg.Connection[Any], text: str) -> str:
    [query_id] = connection.execute("select queryid::text from pg_stat_statements where query = %s", (text,)).fetchone() or ("",)
    assert query_id
    return f'slow_statements:statement:"{query_id}"'


def _repair(server: Server, database: str) -> None:
    server.execute("create index on events (session_token)", database)
    server.execute("select pg_stat_statements_reset()", database)
