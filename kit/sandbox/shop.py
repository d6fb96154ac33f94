"""The staged demo incident: a small web service's database on a real server, with known faults.

The leading fault is incident A (tables that nobody can see); beside it stand a failed migration, a bloated table, a
statement without its index, a blocked session and a revision that never started. All else is healthy, and a test
says so. The data is the same in every run, apart from the times, which hang on `now`, and the planted secrets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets as randomness
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.numeric import Int8

from kit.errors import SandboxError
from kit.sandbox.server import Server

DATABASE = "shop"
PATIENCE_SECONDS = 10.0
WINDOW = timedelta(hours=4)
# A prime, so that the calls of a statement are spread over all its numbers.
_STRIDE = 7919
_STAGED = files("kit.sandbox") / "staged"
_QUIET = "set pg_stat_statements.track = none"
# Staging is not the shop's life: it must not count as its scans and its statements.
_SILENT = f"{_QUIET}; set track_counts = off"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Faults:
    """The names of what is broken in the staged incident."""

    role: str = "shop_api"
    schema: str = "auth"
    tables: tuple[str, ...] = ("siwe_nonces", "blacklisted_tokens")
    owner: str = "migrator"
    wrong_creator: str = "shop_owner"
    ledger: str = "auth._prisma_migrations"
    migration: str = "20260313154500_grant_auth_to_service"
    bloated_table: str = "shop.carts"
    slow_statement: str = "select event_id, kind, created_at from shop.events where session_token = $1"
    slow_table: str = "shop.events"
    slow_column: str = "session_token"
    blocking_application: str = "shop-admin"
    blocked_application: str = "shop-api"
    blocked_table: str = "shop.orders"
    failed_revision: str = "shop-api-00013"
    serving_revision: str = "shop-api-00014"


EXPECTED_FAULTS = Faults()
HEALTHY_TABLES = ("shop.customers", "shop.products", "shop.orders", "shop.order_lines", "shop.payments")
SYMPTOM = 'relation "siwe_nonces" does not exist'


class Secrets(NamedTuple):
    """What is planted for the gate to find, each in one place the kit reads from."""

    api_password: str
    kit_password: str
    deployer_password: str
    migrator_password: str
    mapping_password: str
    jwt_secret: str
    session_token: str
    payments_key: str


@dataclass(frozen=True, slots=True)
class Shop:
    """The staged incident; `left_out` names the extensions that the server's binaries lack."""

    database: str
    kit_dsn: str
    api_dsn: str
    secrets: Secrets
    symptom: str
    since: datetime
    until: datetime
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldSessions:
    """The process numbers of the session that waits and of the one it waits for."""

    blocking_pid: int
    blocked_pid: int


@dataclass(frozen=True, slots=True)
class _Load:
    statement: str
    calls: int
    highest: int
    fails: bool


def stage(server: Server, now: datetime) -> Shop:
    """Make the database `shop` with its roles, data, faults and statistics; takes some seconds.

    Raises SandboxError when the server does not show the statistics in time, psycopg.errors.DuplicateDatabase or
    DuplicateObject when there is a shop on it already.
    """
    secrets = make_secrets()
    server.create_database(DATABASE)
    left_out = _build(server, {**secrets._asdict(), "now": now.isoformat()})
    _run_workload(server)
    _wait_for(partial(_is_true, server, "workload_is_counted"), "The statistics of the workload did not appear")
    with server.connect(DATABASE) as connection:
        _run(connection, _QUIET, _script("vacuum"))
    _wait_for(partial(_is_true, server, "vacuum_is_counted"), "The statistics of VACUUM did not appear")
    return Shop(
        database=DATABASE,
        kit_dsn=server.dsn(DATABASE, "incident_kit", secrets.kit_password),
        api_dsn=server.dsn(DATABASE, "shop_api", secrets.api_password),
        secrets=secrets,
        symptom=SYMPTOM,
        since=now - WINDOW,
        until=now,
        left_out=left_out,
    )


def make_secrets() -> Secrets:
    """Return new secrets, each recognisable and none like another."""
    return Secrets(*(f"{field.partition('_')[0]}-{randomness.token_hex(12)}" for field in Secrets._fields))


def write_cloud_exports(folder: Path, now: datetime, secrets: Secrets) -> None:
    """Write into `folder` what gcloud would print of the shop's project, with times that lead up to `now`."""
    folder.mkdir(parents=True, exist_ok=True)
    for staged in (_STAGED / "cloud").iterdir():
        template = staged.read_text(encoding="utf-8")
        timed = re.sub(r"\{\{-([\ddhms]+)\}\}", lambda found: _ago(now, found[1]), template)
        text = timed.replace("{{payments_key}}", secrets.payments_key)
        json.loads(text)
        (folder / staged.name).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def held_sessions(server: Server, shop: Shop) -> Iterator[HeldSessions]:
    """Hold a row lock in an idle transaction and let the service wait for it, until the end of the context.

    The waiting statement is cancelled at the end, so that its wait does not enter pg_stat_statements.
    """
    faults = EXPECTED_FAULTS
    with (
        contextlib.closing(_session(server, "deployer", faults.blocking_application)) as blocking,
        contextlib.closing(_session(server, faults.role, faults.blocked_application)) as blocked,
    ):
        blocking.execute(_script("held", shop.secrets._asdict()))
        blocked.pgconn.send_query_params(b"update orders set status = $1 where order_id = $2", [b"paid", b"1"])
        held = HeldSessions(blocking.info.backend_pid, blocked.info.backend_pid)
        try:
            waits = partial(_is_true, server, "somebody_waits", pid=str(held.blocked_pid))
            _wait_for(waits, "The staged session did not come to wait")
            yield held
        finally:
            _cancel(blocked)
            with contextlib.suppress(psycopg.OperationalError):
                blocking.rollback()


def _build(server: Server, values: Mapping[str, str]) -> tuple[str, ...]:
    with server.connect(DATABASE) as connection:
        _run(connection, _SILENT)
        left_out = _create_extensions(connection)
        reader = "reader-13" if server.version < 14 else "reader"
        foreign = () if "postgres_fdw" in left_out else ("foreign_server",)
        for name in ("roles", "tables", "keys", "auth", "ledger", reader, *foreign):
            _run(connection, _script(name, values))
    with server.connect(DATABASE) as connection:
        _run(connection, _script("passwords", values), _QUIET, _script("analyze"), _script("bloat"))
    return left_out


def _create_extensions(connection: Connection) -> tuple[str, ...]:
    preloaded = connection.execute("show shared_preload_libraries").fetchone() or ("",)
    available = {name for (name,) in connection.execute("select name from pg_catalog.pg_available_extensions")}
    if "pg_stat_statements" not in str(preloaded[0]):
        available.discard("pg_stat_statements")
    wanted = ("pg_stat_statements", "pgstattuple", "postgres_fdw")
    connection.execute("create schema extensions")
    for name in wanted:
        if name in available:
            connection.execute(sql.SQL("create extension {} schema extensions").format(sql.Identifier(name)))
    return tuple(name for name in wanted if name not in available)


def _run_workload(server: Server) -> None:
    with _session(server, EXPECTED_FAULTS.role, EXPECTED_FAULTS.blocked_application, autocommit=True) as connection:
        for load in _workload():
            for call in range(load.calls):
                _call(connection, load, 1 + call * _STRIDE % load.highest)


def _call(connection: Connection, load: _Load, number: int) -> None:
    # Int8: psycopg would choose a type by the number's size, and each type is a statement of its own.
    token = hashlib.md5(f"session {number}".encode(), usedforsecurity=False).hexdigest()
    expected = contextlib.suppress(psycopg.errors.UndefinedTable) if load.fails else contextlib.nullcontext()
    with expected:
        connection.execute(load.statement.encode(), {"number": Int8(number), "token": token})


def _workload() -> Iterator[_Load]:
    blocks = re.split(r"^-- (\d+) (failing )?calls up to (\d+)\n", _text("workload"), flags=re.MULTILINE)
    for calls, failing, highest, statement in zip(*(blocks[part::4] for part in (1, 2, 3, 4)), strict=True):
        yield _Load(statement.strip(), int(calls), int(highest), bool(failing))


def _is_true(server: Server, name: str, **values: str) -> bool:
    return server.execute(_script(name, values), DATABASE) == [(True,)]


def _wait_for(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SandboxError(f"{failure} within {PATIENCE_SECONDS:.0f} s.", "Try again on a less busy machine.")
        time.sleep(0.02)


def _session(server: Server, user: str, application: str, autocommit: bool = False) -> Connection:
    return psycopg.connect(server.dsn(DATABASE, user), autocommit=autocommit, application_name=application)


def _cancel(connection: Connection) -> None:
    # Cancelled before it is closed: a backend that waits for a lock does not notice that its client has gone.
    with contextlib.suppress(psycopg.OperationalError):
        connection.cancel_safe(timeout=PATIENCE_SECONDS)
        while connection.pgconn.get_result() is not None:
            pass


def _run(connection: Connection, *scripts: str) -> None:
    for script in scripts:
        connection.execute(script.encode())


def _script(name: str, values: Mapping[str, str] | None = None) -> str:
    """Return a staged file with psql's :'variable' put in as a literal, as psql would."""
    return re.sub(r":'(\w+)'", lambda found: sql.Literal((values or {})[found[1]]).as_string(None), _text(name))


def _text(name: str) -> str:
    return (_STAGED / f"{name}.sql").read_text(encoding="utf-8")


def _ago(now: datetime, age: str) -> str:
    """Return the time `age`, such as 2d23h59m40s, before `now`, as Google prints times."""
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    parts = {units[unit]: int(number) for number, unit in re.findall(r"(\d+)([dhms])", age)}
    return (now - timedelta(**parts)).astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
