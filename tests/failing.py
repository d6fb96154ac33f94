"""Real places at which a connection fails, and what the kit makes of them."""

from __future__ import annotations

import contextlib
import http.server
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from kit.analyze.connection.failures import Failure, failures
from kit.analyze.findings import Result
from kit.checks import judge
from kit.collect.attempt import attempt
from kit.collect.connection import open_database
from kit.collect.rows import connection_evidence, refused_evidence
from kit.errors import SandboxError
from kit.evidence.model import Capture, Cost, Evidence, Frames, Source
from kit.sandbox.account import choose_account
from kit.sandbox.scratch import Scratch
from kit.sandbox.server import Server

CHECKS = {
    "unreachable": "unreachable_servers",
    "login": "refused_logins",
    "database": "missing_databases",
    "slots": "exhausted_connection_slots",
    "standby": "unsuitable_servers",
    "settings": "refused_settings",
}
PGBOUNCER = Path("/usr/sbin/pgbouncer")
SECRET = "Ψcorrect-horse-Ω"


@dataclass(frozen=True)
class Observed:
    """An ordinary attempt, the attempt step by step after it, and what the checks say."""

    connection: Evidence
    steps: Evidence
    failure: Failure | None
    results: dict[str, Result]

    @property
    def named(self) -> tuple[str, str]:
        assert self.failure is not None
        return self.failure.layer, self.failure.cause.name

    @property
    def fired(self) -> list[str]:
        return [check for check, result in self.results.items() if result.findings]

    def row(self, step: str) -> dict[str, object]:
        frame = self.steps.frame
        return dict(frame[frame["step"] == step].iloc[-1])


def observed(conninfo: str, failure: Exception | None = None) -> Observed:
    at, clock = datetime.now(UTC), time.perf_counter()
    error = failure
    try:
        with open_database(conninfo, 20):
            pass
    except (psycopg.OperationalError, UnicodeError) as refused:
        error = refused
    seconds = time.perf_counter() - clock
    if error is None:
        return judged(connection_evidence(conninfo, at, seconds, None), attempt(conninfo), at)
    both = refused_evidence(conninfo, at, seconds, error)
    return judged(both["connection"], both["connection_steps"], at)


def judged(connection: Evidence, steps: Evidence, at: datetime) -> Observed:
    source = Source("database", "postgres", "here", None, {"connection": connection, "connection_steps": steps})
    capture = Capture("failing", at, at, "0", (source,), Cost())
    results = {result.check: result for result in judge(capture) if result.check in CHECKS.values()}
    assert not [result for result in results.values() if result.status == "failed"]
    return Observed(connection, steps, failures(Frames(source))[0], results)


def loopback() -> str:
    """An address of the loopback's own, so that PostgreSQL's usual port is free there."""
    return f"127.{random.randrange(1, 250)}.{random.randrange(1, 250)}.{random.randrange(1, 250)}"


@contextlib.contextmanager
def listener(speak: Callable[[socket.socket], object] | None, backlog: int = 8) -> Iterator[int]:
    """A listener on the loopback; `speak` is called with each connection, None never takes one. Yields the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as endpoint:
        if speak is not None:
            threading.Thread(target=_serve, args=(endpoint, speak), daemon=True).start()
        yield endpoint.getsockname()[1]
        with contextlib.suppress(OSError):
            endpoint.shutdown(socket.SHUT_RDWR)


def _serve(endpoint: socket.socket, speak: Callable[[socket.socket], object]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = endpoint.accept()
            with connection, contextlib.suppress(OSError):
                speak(connection)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A listener whose queue is full: the system drops whoever else knocks, as a firewall would."""
    with contextlib.ExitStack() as held, socket.create_server(("127.0.0.1", 0), backlog=0) as endpoint:
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(endpoint.getsockname())
        yield endpoint.getsockname()[1]


@contextlib.contextmanager
def web_server(certificate: Path | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def pooler(databases: str, settings: str = "auth_type = any", users: str = "") -> Iterator[str]:
    """A PgBouncer on a Unix socket of its own; yields host and port as libpq's keywords."""
    folder, account = Scratch.create(), choose_account()
    account.own(folder.path)
    path = folder.path
    (path / "users").write_text(users)
    (path / "ini").write_text(
        f"[databases]\n{databases}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {path}\n"
        f"logfile = {path}/log\nauth_file = {path}/users\n{settings}\n"
    )
    process = subprocess.Popen(
        [PGBOUNCER, path / "ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.user_id,
        group=account.group_id,
        extra_groups=account.extra_groups,
    )
    try:
        until(lambda: answers(path / ".s.PGSQL.6432"))
        yield f"host={path} port=6432"
    finally:
        process.terminate()
        process.wait(10)
        folder.remove()


@contextlib.contextmanager
def stuck(server: Server, signal_file: str, settings: Sequence[str]) -> Iterator[None]:
    """The server started again with these settings and this signal file, in a state in which it takes no sessions."""
    cluster = server._cluster
    cluster.halt("fast")
    with (server.data_folder / "postgresql.conf").open("a") as file:
        file.write("\n".join(["", *settings, ""]))
    (server.data_folder / signal_file).touch()
    starting = threading.Thread(target=_launch, args=(server,), daemon=True)
    starting.start()
    until(lambda: answers(server.socket_folder / ".s.PGSQL.5432"))
    try:
        yield
    finally:
        cluster.halt("immediate")
        starting.join(10)


def _launch(server: Server) -> None:
    # It never becomes ready, and is ended while it is waited for.
    with contextlib.suppress(SandboxError, AttributeError):
        server._cluster.launch()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as endpoint:
        return endpoint.connect_ex(str(path)) == 0


def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may enter every folder; so ask as nobody, whoever runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class Certificates:
    """An authority, and certificates that it (or nobody) signed; `openssl` makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("req", "-x509", *self._key("ca"), "-out", "ca.crt", "-subj", "/CN=Kit Test CA", "-days", "2")
        self._run("req", "-x509", *self._key("other-ca"), "-out", "other-ca.crt", "-subj", "/CN=Another CA", "-days", "2")

    @property
    def root(self) -> Path:
        return self.folder / "ca.crt"

    def signed(self, name: str, host: str, *, days: int = 2) -> Path:
        """A certificate and its key in one file, for this host name."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        self._run("req", *self._key(name), "-out", f"{name}.csr", "-subj", f"/CN={host}")
        by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days), "-extfile", f"{name}.ext")
        self._run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *by)
        return self._together(name)

    def self_signed(self, name: str, host: str) -> Path:
        arguments = ("-out", f"{name}.crt", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2")
        self._run("req", "-x509", *self._key(name), *arguments)
        return self._together(name)

    def _together(self, name: str) -> Path:
        whole = self.folder / f"{name}.pem"
        whole.write_text((self.folder / f"{name}.crt").read_text() + (self.folder / f"{name}.key").read_text())
        return whole

    def _key(self, name: str) -> tuple[str, ...]:
        return "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=30)
