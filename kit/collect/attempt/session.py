"""The upper steps: how the server wants to be convinced, whether it is, the database, and one small query.

The kit's own start packet carries no password. Where the server wants one, libpq does the rest; and a password that was
refused once is not sent again, because some services (Supabase) shut out an address after two wrong ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kit.collect.attempt import wire
from kit.collect.attempt.options import Endpoint, Options
from kit.collect.attempt.records import Budget, Recorder, StepFailed, Stop
from kit.collect.hosts import REFUSED_LOGIN, connected
from kit.collect.queries import MARKER

QUERY_SECONDS = 2.5
# Said at the start of a session, these show whether the server is a standby.
_SHOWN_SETTINGS = ("server_version", "in_hot_standby", "default_transaction_read_only")
_METHODS = {
    2: "Kerberos 5",
    3: "a password, sent as it is",
    5: "a password (md5)",
    7: "GSSAPI",
    9: "SSPI",
    10: "a password (SCRAM)",
}
QUERY = f"select /* {MARKER} attempt */ pg_catalog.pg_is_in_recovery()"
_TIMED_OUT = re.compile(r"timeout expired|timed out", re.IGNORECASE)
_WITHOUT_PASSWORD = "none: the server let the role in without a password"
_NOT_AGAIN = "not tried again: a refused password is not sent twice"


def begun(connection: socket.socket, options: Options, until: float) -> tuple[bool, str]:
    """Return whether the server wants more than the role's name, and which method; StepFailed with the server's code."""
    wire.start(connection, _parameters(options))
    while True:
        message = wire.receive(connection, until)
        if message.kind == b"E":
            raise _refused(message)
        if message.kind == b"R":
            if len(message.body) < 4:
                raise wire.strange(message.kind + message.body)
            number = struct.unpack("!I", message.body[:4])[0]
            return number != 0, _WITHOUT_PASSWORD if number == 0 else _method(number, message.body[4:])


def _refused(message: wire.Message) -> StepFailed:
    return wire.refusal(message.body)


def _parameters(options: Options) -> dict[str, str]:
    given = {"user": options.get("user", ""), "database": options.get("dbname", ""), "options": options.get("options", "")}
    name = options.get("application_name") or options.get("fallback_application_name") or MARKER
    return {key: value for key, value in {**given, "application_name": name}.items() if value}


def _method(number: int, rest: bytes) -> str:
    offered = [part.decode("ascii", "replace") for part in rest.split(b"\0") if part] if number == 10 else []
    words = _METHODS.get(number, f"method {number}")
    return f"{words}: {', '.join(offered)}" if offered else words


def opened(connection: socket.socket, until: float) -> tuple[None, str | None]:
    """Return what the server tells of itself once the session is ready; StepFailed where it refuses the database."""
    told = {}
    while True:
        message = wire.receive(connection, until)
        if message.kind == b"E":
            raise _refused(message)
        if message.kind == b"S":
            name, value, *_ = [*message.body.decode("utf-8", "replace").split("\0"), "", ""]
            told[name] = value
        if message.kind == b"Z":
            return None, "; ".join(f"{name} {told[name]}" for name in _SHOWN_SETTINGS if name in told) or None


def asked(connection: socket.socket, until: float) -> tuple[None, str | None]:
    """Ask whether the server is a standby: a pooler lets a client in even where no server is left for it."""
    wire.ask(connection, QUERY)
    words = None
    while True:
        message = wire.receive(connection, until)
        if message.kind == b"E":
            raise _refused(message)
        if message.kind == b"D":
            words = _recovery(message.body[-1:] == b"t")
        if message.kind == b"Z":
            return None, words


def _recovery(is_standby: bool) -> str:
    return "the server is in recovery: a standby, read-only" if is_standby else "the server is not in recovery"


def refused_login(steps: Recorder) -> Exception | None:
    """Return the words with which this endpoint refused the login, so that its password is sent to no further one."""
    found = [row for row in steps.rows if row.endpoint == steps.endpoint and row.step == "authentication"]
    return psycopg.OperationalError(found[-1].message or "") if found and found[-1].status == "failed" else None


def ignored_password_file(options: Options) -> str:
    """Return words for a password file that libpq passes over because others may read it, else nothing."""
    path = Path(options.get("passfile") or os.environ.get("PGPASSFILE") or "~/.pgpass").expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    return (
        f"; libpq passes over the password file {path}: others may read it (mode {mode:04o}, wanted 0600)" if mode & 0o077 else ""
    )


def through_libpq(
    steps: Recorder, conninfo: str, options: Options, endpoint: Endpoint, address: str | None, failure: Exception | None
) -> None:
    """Record authentication, database and query as libpq came to them: `failure` is that of the ordinary attempt."""
    unread = "" if options.get("password") else ignored_password_file(options)
    if failure is not None:
        _as_refused(steps, f"{failure}{unread}")
        raise Stop
    clock = time.perf_counter()
    try:
        connection = _connected(conninfo, endpoint, address, steps.budget)
    except psycopg.OperationalError as error:
        _as_refused(steps, f"{error}{unread}", time.perf_counter() - clock)
        raise Stop from None
    with contextlib.closing(connection):
        steps.add("authentication", "ok", time.perf_counter() - clock)
        steps.add("database", "ok", 0.0, None, f"server_version {connection.info.parameter_status('server_version')}")
        steps.run("query", _asking(connection, steps.budget.share(QUERY_SECONDS)))


def _as_refused(steps: Recorder, words: str, seconds: float = 0.0) -> None:
    """A message of libpq has no SQLSTATE: by its words, which may be in any language, it belongs to one step or the other."""
    if REFUSED_LOGIN.search(words):
        steps.add("authentication", "failed", seconds, None, words)
    elif _TIMED_OUT.search(words):
        # The server had asked for the login, so what it waits for is behind it.
        steps.add("authentication", "failed", seconds, "TIMEOUT", words)
    else:
        steps.add("authentication", "skipped", 0.0, None, _NOT_AGAIN)
        steps.add("database", "failed", seconds, None, words)


def _connected(conninfo: str, endpoint: Endpoint, address: str | None, budget: Budget) -> psycopg.Connection[Any]:
    place: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port, "connect_timeout": max(2, round(budget.left))}
    if address is not None:
        place["hostaddr"] = address
    there = make_conninfo(conninfo, **place)
    return connected(there, conninfo_to_dict(there), autocommit=True)


def _asking(connection: psycopg.Connection[Any], seconds: float) -> Callable[[], tuple[None, str | None]]:
    def ask() -> tuple[None, str | None]:
        wire_connection, end = connection.pgconn, time.monotonic() + seconds
        wire_connection.send_query(QUERY.encode())
        while wire_connection.is_busy():
            if not select.select([wire_connection.socket], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError
            try:
                wire_connection.consume_input()
            except psycopg.OperationalError as error:
                raise StepFailed("CLOSED", str(error)) from None
        result = wire_connection.get_result()
        if result is None or result.ntuples < 1:
            raise _failed(result)
        return None, _recovery(result.get_value(0, 0) == b"t")

    return ask


def _failed(result: Any) -> StepFailed:
    if result is None:
        return StepFailed("CLOSED", "the session ended before the answer")
    words = (result.error_message or b"").decode("utf-8", "replace").strip()
    code = (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode("ascii", "replace")
    return StepFailed(code or "08P01", words)
