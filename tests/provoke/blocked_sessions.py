"""Two sessions in a row behind one that forgot to commit."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg

from kit.sandbox.server import Server

PATIENCE_SECONDS = 20.0


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        'create schema "Shop"; create table "Shop"."Orders" (id bigint); insert into "Shop"."Orders" values (1)', database
    )
    sessions = [server.connect(database, autocommit=False) for _ in range(3)]
    pids = [session.info.backend_pid for session in sessions]
    sessions[0].execute('update "Shop"."Orders" set id = 2')
    waiting = [
        threading.Thread(target=_run, args=(sessions[1], 'lock table "Shop"."Orders" in access exclusive mode')),
        threading.Thread(target=_run, args=(sessions[2], 'select * from "Shop"."Orders"')),
    ]
    try:
        for number, thread in enumerate(waiting, 1):
            thread.start()
            _wait_for_waiters(server, database, number)
        yield {
            "thresholds": {"warning_seconds": 0, "critical_seconds": 0},
            "symptom": "canceling statement due to statement timeout",
            "expected": tuple(f'blocked_sessions:session:"{pid}"' for pid in pids[1:]),
        }
    finally:
        server.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where pid = any(array{pids})")
        for thread in waiting:
            thread.join(PATIENCE_SECONDS)
        for session in sessions:
            session.close()


def _run(session: psycopg.Connection[Any], statement: str) -> None:
    with contextlib.suppress(psycopg.Error):
        session.execute(statement.encode())
        session.rollback()


def _wait_for_waiters(server: Server, database: str, number: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        [(count,)] = server.execute(
            f"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = '{database}'"
        )
        if count == number:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{number} sessions should wait")
