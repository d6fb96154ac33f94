"""A report that keeps its snapshot while others write, and a slot that nobody reads."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

TRANSACTIONS = 50


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    report = server.connect(database, autocommit=False)
    try:
        report.execute("set transaction isolation level repeatable read")
        report.execute("select count(*) from pg_class")
        with server.connect(database) as writer:
            writer.execute("create table written (id bigint)")
            for _ in range(TRANSACTIONS):
                writer.execute("insert into written values (1)")
        yield {
            "thresholds": {"age": TRANSACTIONS / 2},
            "expected": (f'held_back_vacuums:session:"{report.info.backend_pid}"',),
        }
    finally:
        report.close()
