"""A real PgBouncer before a real server, and real clients that wait in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from kit.analyze.findings import Finding, Result
from kit.checks import judge
from kit.collect.capture import capture
from kit.collect.pooler_frames import NAMES
from kit.evidence.model import Capture
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from kit.target.poolers import PoolerSource
from tests import failing
from tests.failing import PGBOUNCER, until

__all__ = ["PGBOUNCER", "Bouncer", "bounced", "until"]
USERS = "".join(f'"{name}" "secret-of-{name}"\n' for name in ("app", "stats", "boss"))
FRAMES = frozenset({"sessions", "blocking", "settings", *NAMES})
# What makes a wait one to report within a test's patience.
THRESHOLDS = {"saturated_pools.warning_seconds": 0.2, "saturated_pools.critical_seconds": 3600.0}


@dataclass
class Bouncer:
    """A pooler before one database, its console, and the clients that a test has connected."""

    place: str
    server: Server
    database: str
    clients: contextlib.ExitStack

    @property
    def console(self) -> str:
        return f"{self.place} user=stats dbname=pgbouncer"

    def admin(self, command: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(f"{self.place} user=boss dbname=pgbouncer", autocommit=True) as console:
            cursor = console.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        conninfo = f"{self.place} user=app dbname=shop application_name=web"
        return self.clients.enter_context(contextlib.closing(psycopg.connect(conninfo, prepare_threshold=None, **options)))

    def run(self, count: int, statement: str, times: int = 1) -> None:
        """Run the statement in as many threads, each with a connection of its own, and do not wait for them."""
        for _ in range(count):
            threading.Thread(target=self._run, args=(statement, times), daemon=True).start()

    def _run(self, statement: str, times: int) -> None:
        with contextlib.suppress(psycopg.Error):
            client = self.connect(autocommit=True)
            for _ in range(times):
                client.execute(statement.encode())

    def holds(self, taken: int, waiting: int) -> Callable[[], bool]:
        """Return a condition: so many server connections are taken, and so many clients have waited for a while."""

        def reached() -> bool:
            rows = [row for row in self.admin("show pools") if row[0] == "shop"]
            return [(row[6] + row[7] + row[8], row[3]) for row in rows] == [(taken, waiting)]

        return reached

    def captured(self, *databases: DatabaseSource) -> Capture:
        asked = databases or (DatabaseSource("database", self.server.dsn(self.database)),)
        target = Target("shop", asked, poolers=(PoolerSource("database.pooler", self.console),))
        return capture(target, only=FRAMES)

    def result(self, taken: Capture | None = None, **thresholds: float) -> Result:
        given = THRESHOLDS | {f"saturated_pools.{name}": value for name, value in thresholds.items()}
        return next(r for r in judge(taken or self.captured(), given) if r.check == "saturated_pools")

    def finding(self, **thresholds: float) -> Finding:
        """Return the one finding there is, once it is there."""
        found: list[Finding] = []

        def is_there() -> bool:
            found[:] = self.result(None, **thresholds).findings
            return bool(found)

        until(is_there)
        [finding] = found
        return finding


@contextlib.contextmanager
def bounced(server: Server, database: str, *settings: str, entry: str = "") -> Iterator[Bouncer]:
    """A pooler in transaction mode with two connections before the database, changed by `settings` and the entry's own."""
    server.execute("create role pooled login")
    server.execute("grant all on schema public to pooled", database)
    lines = ["auth_type = trust", "stats_users = stats", "admin_users = boss", "server_round_robin = 0"]
    lines += ["pool_mode = transaction", "default_pool_size = 2", *settings]
    where = entry or f"host={server.socket_folder} port={server.port}"
    try:
        with (
            contextlib.ExitStack() as clients,
            failing.pooler(f"shop = dbname={database} user=pooled {where}", "\n".join(lines), USERS) as place,
        ):
            # Those who still wait or sleep end when the pooler does, and not in their own time.
            yield Bouncer(place, server, database, clients)
    finally:
        server.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'pooled'")
        server.execute("drop owned by pooled; drop role pooled", database)
