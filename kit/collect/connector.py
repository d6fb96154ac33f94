"""Google's connector to Cloud SQL: held open for a block, and asked for connections to its host in the meantime.

The login is Google's application default credentials. `CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL`, by which gcloud is told of a
private endpoint of the Cloud SQL Admin API, is heeded here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import re
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from kit.collect.connector_faults import Asked, connection_words, login_words, renewal
from kit.errors import CaptureError, MissingTier

SOCKETS = "/cloudsql"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SQL"
LOGIN_SECONDS = 5.0
CONNECT_SECONDS = 9.0
SOCKET_SECONDS = 4.0
LIBPQ_SECONDS = 5
CLOSE_SECONDS = 3.0
LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
# The order in which an instance's addresses are asked for: most have one alone.
_ADDRESSES = {"public": "PUBLIC", "private": "PRIVATE", "PSC": "PSC"}
# The way is the connector's own affair: it encrypts, and libpq sees a local socket.
_WAY = {"host", "hostaddr", "port", "channel_binding", "gssencmode", "requirepeer", "connect_timeout"}
_SCOPES = ["https://www.googleapis.com/auth/sqlservice.admin"]
_OPEN: dict[str, _Connector] = {}
_LIMITING = threading.Lock()
# Tokens that were used: no output may hold them, also after the connector was closed.
_used_tokens: set[str] = set()


@contextlib.contextmanager
def through_google(instance: str) -> Iterator[str]:
    """Yield the host by which the instance can be asked: its socket folder, a real one where the service runs.

    CaptureError where Google's login cannot be used, MissingTier where the extra [cloudsql] is wanted.
    """
    host = f"{SOCKETS}/{instance}"
    if Path(host).is_dir():
        yield host
        return
    _refuse_missing_tier()
    _refuse_long_folder()
    connector = _Connector(instance, _endpoint())
    try:
        connector.log_in()
        _OPEN[host] = connector
        yield host
    finally:
        _OPEN.pop(host, None)
        connector.close()


def is_open(host: Any) -> bool:
    """Return whether connections to this host go through a connector that is open now."""
    return str(host) in _OPEN


def connect(given: Mapping[str, Any], **options: Any) -> psycopg.Connection[Any] | None:
    """Return a connection through the connector that is open for this host, else None; psycopg.OperationalError if it fails.

    `given` are libpq's keywords, `options` are psycopg's. A user with an address and no password logs in by IAM.
    """
    connector = _OPEN.get(str(given.get("host", "")))
    if connector is None:
        return None
    own = {key: value for key, value in given.items() if not key.startswith("ssl") and key not in _WAY}
    user, name, password = own.pop("user", None), own.pop("dbname", None), own.pop("password", None)
    who = user or os.environ.get("PGUSER")
    iam = _is_iam(who) and not password
    seconds = _seconds(options.pop("connect_timeout", given.get("connect_timeout")))
    login = {"user": who, "db": name, "password": password, "enable_iam_auth": iam, "timeout": seconds}
    return connector.connect(**own, **login, **options)


def used_tokens() -> set[str]:
    """Return the access tokens that connectors of this process have used."""
    return set(_used_tokens)


class _Connector:
    """The library's connector with a thread and an event loop of its own, so that all of it can be ended here."""

    def __init__(self, instance: str, endpoint: str | None) -> None:
        self._instance = instance
        self._endpoint = endpoint
        self._ready: Future[None] = Future()
        self._end: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="cloudsql", daemon=True)
        self._account: str | None = None
        self._addresses = list(_ADDRESSES)

    def log_in(self) -> None:
        """Load the login and begin to run; CaptureError in one sentence where it cannot be used."""
        self._thread.start()
        if not wait([self._ready], LOGIN_SECONDS).done:
            words = f"Google's application default credentials gave no token in {LOGIN_SECONDS:.0f} s."
            raise CaptureError(words, renewal())
        error = self._ready.exception()
        if error is not None:
            # The library's own words may hold a token; `from None` keeps them out of tracebacks.
            raise CaptureError(*login_words(error)) from None

    def connect(self, **login: Any) -> psycopg.Connection[Any]:
        """Return a connection to the first kind of address that the instance has; psycopg.OperationalError if none comes."""
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            address = self._addresses[0]
            try:
                return self._connected(_ADDRESSES[address], login, end - time.monotonic())
            except psycopg.Error as error:
                # The socket in libpq's words is the library's own, and gone.
                error.args = (re.sub(r'on socket "[^"]*"', "through Google's connector", str(error), count=1),)
                raise
            except Exception as error:
                if type(error).__name__ != "CloudSQLIPTypeError" or not self._addresses[1:]:
                    words = connection_words(error, Asked(self._account, address, frozenset(_used_tokens)))
                    raise psycopg.OperationalError(words) from None
            self._addresses = self._addresses[1:]

    def close(self) -> None:
        """End the thread with all that runs in it; what hangs in a library is waited for no longer than CLOSE_SECONDS."""
        self._end.set_result(None)
        if self._thread.ident:
            self._thread.join(CLOSE_SECONDS)

    def _connected(self, address: str, login: Mapping[str, Any], seconds: float) -> psycopg.Connection[Any]:
        asked = self._connector.connect_async(self._instance, "psycopg", ip_type=address, **login)
        with _limited_sockets():
            future = asyncio.run_coroutine_threadsafe(asked, self._loop)
            if not wait([future], seconds).done:
                future.cancel()
                words = f"Cloud SQL connector: no answer of Google's API or of the instance in {CONNECT_SECONDS:.0f} s"
                raise psycopg.OperationalError(words)
        connection: psycopg.Connection[Any] = future.result()
        return connection

    def _run(self) -> None:
        try:
            credentials = _credentials()
        except Exception as error:
            self._ready.set_exception(error)
            return
        _used_tokens.add(str(credentials.token))
        self._account = _account(credentials)
        asyncio.run(self._serve(credentials))

    async def _serve(self, credentials: Any) -> None:
        self._loop = asyncio.get_running_loop()
        # The library leaves tasks behind when it fails; asyncio would print what they ended with.
        self._loop.set_exception_handler(lambda *_: None)
        library = importlib.import_module("google.cloud.sql.connector")
        try:
            self._connector = library.Connector(
                loop=self._loop,
                credentials=credentials,
                # In the background it would go on asking a service that refuses it.
                refresh_strategy="LAZY",
                quota_project=os.environ.get("GOOGLE_CLOUD_QUOTA_PROJECT") or getattr(credentials, "quota_project_id", None),
                universe_domain=credentials.universe_domain,
                sqladmin_api_endpoint=self._endpoint,
                user_agent="incident-kit",
            )
        except Exception as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        try:
            await asyncio.wrap_future(self._end)
        finally:
            await self._connector.close_async()


@contextlib.contextmanager
def _limited_sockets() -> Iterator[None]:
    # The library opens its socket, and shakes hands on it, without any limit, in the thread of its event loop: a firewall
    # that drops packets would hold that thread for two minutes. The default is all that it heeds.
    with _LIMITING:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SOCKET_SECONDS)
        try:
            yield
        finally:
            socket.setdefaulttimeout(before)


def _credentials() -> Any:
    """Return application default credentials with a token that is fresh: the library would fetch one without a limit."""
    auth = importlib.import_module("google.auth")
    requests = importlib.import_module("google.auth.transport.requests")
    with warnings.catch_warnings():
        # What a person's login lacks is said where it matters, by the API.
        warnings.simplefilter("ignore")
        credentials, _ = auth.default(scopes=_SCOPES)
    credentials.refresh(functools.partial(requests.Request(), timeout=SOCKET_SECONDS))
    return credentials


def _account(credentials: Any) -> str | None:
    names = (getattr(credentials, key, None) for key in ("service_account_email", "account"))
    return next((name for name in names if isinstance(name, str) and "@" in name), None)


def _seconds(given: Any) -> int:
    """Return libpq's limit for its part: never longer than for the whole, also where 0 stands for "no limit"."""
    text = str(given or "")
    return min(int(text) or LIBPQ_SECONDS, LIBPQ_SECONDS) if text.isdecimal() and len(text) < 9 else LIBPQ_SECONDS


def _is_iam(user: Any) -> bool:
    """Return whether the database user is one of IAM: a person's address, or a service account's without its end."""
    return bool(re.search(r"@[^@]+\.[^@]+\Z", str(user or "")))


def _endpoint() -> str | None:
    """Return the API's address where the environment names one; CaptureError where a token would go there in the clear."""
    given = os.environ.get(ENDPOINT_VARIABLE)
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return given.rstrip("/")
    raise CaptureError(f"{ENDPOINT_VARIABLE} names no https address.", "Unset it, or name the private endpoint with https://.")


def _refuse_missing_tier() -> None:
    try:
        importlib.import_module("google.cloud.sql.connector")
    except ModuleNotFoundError:
        words = "A target with `cloudsql` needs the extra [cloudsql], which is not installed."
        raise MissingTier(words, "pip install 'incident-kit[cloudsql]'") from None
    # Its messages repeat the answers of the API, and nobody can say what these hold.
    logging.getLogger("google.cloud.sql.connector").setLevel(logging.CRITICAL)
    # Without a handler Python prints a library's warnings.
    logging.getLogger("google.auth").addHandler(_SILENT)


def _refuse_long_folder() -> None:
    # The library makes a socket in a folder of its own there, and where the system refuses the path it leaves both behind.
    folder = tempfile.gettempdir()
    if len(os.fsencode(f"{folder}/tmp12345678/.s.PGSQL.5432")) > LONGEST_SOCKET_PATH:
        words = f"The folder for temporary files has too long a path for a socket in it: {folder}."
        raise CaptureError(words, "Set TMPDIR to a shorter one, such as /tmp.")


_SILENT = logging.NullHandler()
