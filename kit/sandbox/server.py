"""One launcher of PostgreSQL servers: temporary, on a private Unix socket, for any binaries."""

import atexit
import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from kit.errors import SandboxError
from kit.sandbox import account as accounts
from kit.sandbox import binaries as sources
from kit.sandbox.binaries import Binaries
from kit.sandbox.cluster import PORT, Cluster, StopMode
from kit.sandbox.scratch import Scratch, terminate_as_interrupt

__all__ = ["KeptCommands", "Server", "StopMode", "running", "start", "terminate_as_interrupt"]

DEFAULT_PRELOAD = ("pg_stat_statements",)
DEFAULT_HBA = ("local all all trust", "local replication all trust")


@dataclass(frozen=True, slots=True)
class KeptCommands:
    """What to type to reach, and later to stop and remove, a server that outlives the kit."""

    connect: str
    stop: str


@dataclass(slots=True, eq=False)
class Server:
    """A PostgreSQL server of the kit's own; `stop` ends it and removes all of it."""

    binaries: Binaries
    _cluster: Cluster
    _scratch: Scratch
    _copy: Scratch | None
    _kept: bool = False

    @property
    def folder(self) -> Path:
        """The temporary folder of the whole server."""
        return self._cluster.folder

    @property
    def data_folder(self) -> Path:
        """The data directory."""
        return self._cluster.data_folder

    @property
    def socket_folder(self) -> Path:
        """The folder to give as host."""
        return self._cluster.socket_folder

    @property
    def log_file(self) -> Path:
        """What the server printed."""
        return self._cluster.log_file

    @property
    def port(self) -> int:
        """The port: every server has the same, since each has its own socket folder."""
        return PORT

    @property
    def pid(self) -> int:
        """The process number of the postmaster; raises SandboxError when the server is stopped."""
        if self._cluster.process is None:
            raise SandboxError("The server is stopped.", "Start another one.")
        return self._cluster.process.pid

    @property
    def version(self) -> int:
        """The major version."""
        return int((self.data_folder / "PG_VERSION").read_text())

    @property
    def modules(self) -> frozenset[str]:
        """The loadable modules its binaries have, such as pg_stat_statements."""
        return sources.modules(self._cluster.binaries)

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """The URL for psycopg and libpq."""
        secret = "" if password is None else ":" + quote(password, safe="")
        names = f"{quote(user, safe='')}{secret}@/{quote(database, safe='')}"
        return f"postgresql://{names}?host={quote(str(self.socket_folder), safe='/')}&port={PORT}"

    def connect(
        self,
        database: str = "postgres",
        user: str = "postgres",
        autocommit: bool = True,
        password: str | None = None,
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """An open connection; raises psycopg.OperationalError when the server refuses it."""
        return psycopg.connect(self.dsn(database, user, password), autocommit=autocommit)

    def execute(self, statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of the last of one or several statements (none: an empty list)."""
        with self.connect(database) as connection:
            cursor = connection.execute(statements.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> None:
        """Create an empty database; raises psycopg.errors.DuplicateDatabase when it is there."""
        with self.connect() as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def stop(self, mode: StopMode = "fast") -> None:
        """End the server and remove its folder; again, or after `keep`, does nothing."""
        if self._kept:
            return
        try:
            self._cluster.halt(mode)
        except BaseException:
            # A second Ctrl-C: the user will not wait for a clean end, yet nothing may be left.
            self._cluster.halt("immediate")
            raise
        finally:
            self._scratch.remove()
        atexit.unregister(self.stop)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start on the same data; raises SandboxError when it does not come back."""
        self._cluster.halt(mode)
        self._cluster.launch()

    def keep(self) -> KeptCommands:
        """Leave the server running after this process; returns how to reach and to stop it."""
        commands = self._kept_commands()
        self._kept = True
        atexit.unregister(self.stop)
        for scratch in self._scratches():
            scratch.keep()
        return commands

    def _scratches(self) -> list[Scratch]:
        return [self._scratch, *([self._copy] if self._copy else [])]

    def _kept_commands(self) -> KeptCommands:
        psql = self.binaries.bin_folder / "psql"
        program = str(psql) if psql.exists() else "psql"
        # Not pg_ctl, which refuses to run as root.
        stop = (
            f"kill -INT {self.pid}; "
            f"while [ -e {shlex.quote(str(self.data_folder / 'postmaster.pid'))} ]; "
            "do sleep 0.1; done; "
            f"rm -rf {shlex.join(str(scratch.path) for scratch in self._scratches())}"
        )
        return KeptCommands(shlex.join([program, self.dsn()]), stop)


def start(
    binaries: Binaries | None = None,
    settings: Mapping[str, str] | None = None,
    preload: Sequence[str] = DEFAULT_PRELOAD,
    encoding: str = "UTF8",
    folder: Path | None = None,
    hba: Sequence[str] = DEFAULT_HBA,
) -> Server:
    """A server that answers; its own temporary folder is made in `folder`, or else in /tmp.

    Modules of `preload` that the binaries lack are left out. Raises SandboxError when the server
    does not start, MissingTier when there are no binaries at all.
    """
    if os.name != "posix":
        raise SandboxError("The sandbox does not run on Windows.", "Use Linux, macOS or WSL.")
    server = _prepare(binaries or sources.default(), folder)
    try:
        server._cluster.initialize(encoding)
        server._cluster.configure(settings or {}, preload, hba)
        server._cluster.launch()
    except BaseException:
        server.stop("immediate")
        raise
    return server


@contextlib.contextmanager
def running(
    binaries: Binaries | None = None,
    settings: Mapping[str, str] | None = None,
    preload: Sequence[str] = DEFAULT_PRELOAD,
    encoding: str = "UTF8",
    folder: Path | None = None,
    hba: Sequence[str] = DEFAULT_HBA,
) -> Iterator[Server]:
    """As `start`; the server is stopped and removed at the end, unless it was kept."""
    server = start(binaries, settings, preload, encoding, folder, hba)
    try:
        yield server
    finally:
        server.stop()


def _prepare(binaries: Binaries, parent: Path | None) -> Server:
    account = accounts.choose_account()
    installed = accounts.install(binaries, account)
    scratch = _make_scratch(parent)
    cluster = Cluster(installed.binaries, account, scratch.path)
    server = Server(binaries, cluster, scratch, installed.copy)
    atexit.register(server.stop)
    return server


def _make_scratch(parent: Path | None) -> Scratch:
    try:
        return Scratch.create(parent.absolute() if parent else None)
    except OSError as error:
        raise SandboxError(
            f"No temporary folder could be made in {parent or 'the usual place'}: {error}.",
            "Name a folder that exists and can be written.",
        ) from error
