"""The connection to a PostgreSQL server: the only file that knows the driver.

SQLAlchemy's engine on psycopg 3, with a creator of our own, because the first statement must already run
in a READ ONLY transaction, and because nothing may stay on a pooled connection: no `options` in the start
packet, no session SET, no prepared statements. All statements go through the extended
protocol (`binary=True`), so that the server refuses a second command in one text.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader

from kit.collect import connector, hosts
from kit.collect.queries import MARKER
from kit.errors import TargetError

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_SECONDS = 8
# How long the first transaction may last: nothing of the server's limits it, since nothing is set yet.
UNSET_SECONDS = 8.0
CANCEL_SECONDS = 2.0
APPLICATION_NAME = MARKER
# Keepalives and tcp_user_timeout end a connection whose server vanished without a word.
NETWORK = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
_LOCK_TIMEOUT = "100ms"
# set_config(…, is_local => true) is SET LOCAL, in one statement that carries the kit's marker.
LOCAL_SETTINGS = {
    "application_name": APPLICATION_NAME,
    "search_path": "",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": _LOCK_TIMEOUT,
    "idle_in_transaction_session_timeout": "10s",
    # Rows hidden by row security become an error, so that they are "not examined" instead of absent.
    "row_security": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class ExtendedCursor(psycopg.Cursor[Any]):
    """A cursor that always speaks the extended protocol and never prepares."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> ExtendedCursor:
        """Execute one statement; a text of several commands is refused by the server."""
        return super().execute(query, params, prepare=False, binary=True)


class _LenientText(psycopg.adapt.Loader):
    """Text of any encoding: an SQL_ASCII database gives bytes that no encoding explains."""

    format = psycopg.pq.Format.TEXT

    def __init__(self, oid: int, context: psycopg.abc.AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        encoding = self.connection.info.encoding if self.connection else "ascii"
        self._encoding = "utf-8" if encoding == "ascii" else encoding

    def load(self, data: Any) -> str:
        """Return the text, with a mark for every byte that the encoding does not explain."""
        return bytes(data).decode(self._encoding, "replace")


class _LenientTextBinary(_LenientText):
    format = psycopg.pq.Format.BINARY


class _FiniteTimestamp(TimestamptzLoader):
    """Times that Python cannot hold (infinity, BC, after 9999) become NULL."""

    def load(self, data: Any) -> Any:
        with contextlib.suppress(psycopg.DataError):
            return super().load(data)
        return None


class _FiniteTimestampBinary(TimestamptzBinaryLoader):
    def load(self, data: Any) -> Any:
        with contextlib.suppress(psycopg.DataError):
            return super().load(data)
        return None


class Database:
    """One open connection; counts what it costs the server."""

    def __init__(self, connection: sa.Connection, deadline: Deadline) -> None:
        self._connection = connection
        self.deadline = deadline
        self.statements = 0
        self.server_seconds = 0.0

    @contextlib.contextmanager
    def transaction(self, *, settings: bool = True) -> Iterator[None]:
        """One short READ ONLY transaction, with the kit's settings for its length (or as the server gave it)."""
        self.statements += 2
        with self._connection.begin(), contextlib.nullcontext() if settings else self._cancelled_in_time():
            if settings:
                self._limit_locks()
                self.execute(_settings_statement())
            yield

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """A savepoint, so that one failing query does not take the transaction down."""
        self.statements += 2
        with self._connection.begin_nested():
            yield

    def _limit_locks(self) -> None:
        # SET looks nothing up in a catalog; set_config does, and would wait for as long as somebody locks that one.
        self.statements += 1
        text = f"set /* {MARKER} limits */ local lock_timeout = '{_LOCK_TIMEOUT}'"
        self._connection.exec_driver_sql(text, execution_options={"no_parameters": True})

    @contextlib.contextmanager
    def _cancelled_in_time(self) -> Iterator[None]:
        """Cancel from the client what a transaction without settings has not finished in time."""
        driver: Any = self._connection.connection.dbapi_connection
        timer = threading.Timer(UNSET_SECONDS, _cancel, [driver])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement, sent untouched."""
        started = time.perf_counter()
        try:
            result = self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
            # The driver's own tuples: SQLAlchemy's rows would cost a big catalog half a second, and are not needed.
            rows = list(result.cursor.fetchall())
        finally:
            self.statements += 1
            self.server_seconds += time.perf_counter() - started
        return rows

    @property
    def driver(self) -> psycopg.Connection[Any] | None:
        """The driver's own connection; None once it is lost."""
        if self._connection.invalidated:
            return None
        driver: Any = self._connection.connection.dbapi_connection
        return cast("psycopg.Connection[Any]", driver)

    @property
    def is_lost(self) -> bool:
        """Return whether the server or the network ended the connection."""
        return self.driver is None or self.driver.closed


class Deadline:
    """A limit in seconds for the whole of a connection's life, kept on the client's side.

    A lock on a shared catalog, or a server that is stopped, hangs a statement before any setting of the
    server's applies; when the time is up the socket is shut down, which ends any wait.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        # Without it, a file closed here and opened elsewhere in the same moment would be shut down in its place.
        self._lock = threading.Lock()
        self._file: int | None = None

    def watch(self, connection: psycopg.Connection[Any]) -> None:
        """Begin to count for this connection."""
        self._file = os.dup(connection.pgconn.socket)
        self._timer.start()

    def close(self) -> None:
        """Stop counting."""
        self._timer.cancel()
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _end(self) -> None:
        with self._lock:
            self.passed = self._file is not None
            if self._file is not None:
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._file)) as endpoint:
                    endpoint.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def open_database(conninfo: str, deadline_seconds: float) -> Iterator[Database]:
    """Connect for the length of the block; psycopg.OperationalError where the server does not let us in."""
    deadline = Deadline(deadline_seconds)
    driver = _connect(conninfo)
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: driver,
        poolclass=sa.pool.StaticPool,
        # SQLAlchemy would begin with five statements of its own, under the user's search_path: an unqualified
        # current_schema() there could be anyone's function. The kit needs nothing that they find out.
        _initialize=False,
    )
    try:
        deadline.watch(driver)
        connection = engine.connect()
        try:
            yield Database(connection, deadline)
        finally:
            # What was collected is kept, however the connection ends.
            with contextlib.suppress(psycopg.Error, sa.exc.SQLAlchemyError):
                connection.close()
    finally:
        deadline.close()
        with contextlib.suppress(psycopg.Error):
            driver.close()


def parameters(conninfo: str) -> dict[str, Any]:
    """Return the parts of a connection string by libpq's keywords; TargetError if libpq cannot read it."""
    try:
        return conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # libpq's own words may repeat a password that was not percent-encoded.
        raise TargetError(
            "The connection string cannot be read.",
            "Check its form; in a URL, percent-encode @ / # ? : and % in user and password.",
        ) from None


def known_secrets(conninfo: str) -> set[str]:
    """Return the passwords this connection may use: its own, the environment's, and those libpq has found by itself."""
    given = parameters(conninfo)
    found = {given.get("password"), given.get("sslpassword"), os.environ.get("PGPASSWORD")}
    return {str(secret) for secret in found if secret} | _used_passwords | connector.used_tokens()


# libpq reads ~/.pgpass and service files by itself; only a connection, also one that was refused, tells what it found.
_used_passwords: set[str] = set()


def remember_password(connection: Any) -> None:
    """Keep the password that a connection has used, for what may not be shown; None is no connection."""
    if connection is not None and connection.password:
        _used_passwords.add(connection.password.decode("utf-8", "replace"))


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    given = parameters(conninfo)
    defaults = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, **NETWORK}
    options: dict[str, Any] = {key: value for key, value in defaults.items() if key not in given}
    try:
        connection = _opened(conninfo, given, {"prepare_threshold": None, "cursor_factory": ExtendedCursor, **options})
    except psycopg.OperationalError as error:
        remember_password(error.pgconn)
        raise
    remember_password(connection.pgconn)
    connection.read_only = True
    for name in ("text", "varchar", "name", "bpchar"):
        connection.adapters.register_loader(name, _LenientText)
        connection.adapters.register_loader(name, _LenientTextBinary)
    connection.adapters.register_loader("timestamptz", _FiniteTimestamp)
    connection.adapters.register_loader("timestamptz", _FiniteTimestampBinary)
    return connection


def _opened(conninfo: str, given: dict[str, Any], options: dict[str, Any]) -> psycopg.Connection[Any]:
    return connector.connect(given, **options) or hosts.connected(conninfo, given, **options)


def _cancel(driver: psycopg.Connection[Any]) -> None:
    try:
        driver.cancel_safe(timeout=CANCEL_SECONDS)
    except psycopg.Error:
        # Google's connector takes one connection and no cancel after it: what cannot be cancelled is ended.
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(driver.pgconn.socket)) as endpoint:
            endpoint.shutdown(socket.SHUT_RDWR)


def _settings_statement() -> str:
    calls = ", ".join(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in LOCAL_SETTINGS.items())
    return f"select /* {MARKER} limits */ {calls}"
