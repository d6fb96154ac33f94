"""The data folder and the postmaster of one server."""

import contextlib
import os
import platform
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.errors import SandboxError
from kit.sandbox import account as accounts
from kit.sandbox.account import Account
from kit.sandbox.binaries import Binaries, modules
from kit.sandbox.scratch import deferred_signals

StopMode = Literal["fast", "immediate"]

PORT = 5432
INITDB_SECONDS = 120.0
START_SECONDS = 30.0
FAST_STOP_SECONDS = 20.0
IMMEDIATE_STOP_SECONDS = 5.0
LOG_LINES_SHOWN = 8
# No durability: the data is thrown away, and a test should not wait for a disk.
BASE_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
# sockaddr_un.sun_path holds this many bytes besides its closing zero.
SOCKET_PATH_BYTES = 103 if platform.system() == "Darwin" else 107


@dataclass(slots=True, eq=False)
class Cluster:
    """What stands in `folder`: data, socket and log; and the process that serves it."""

    binaries: Binaries
    account: Account
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def data_folder(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        """The folder with the Unix socket."""
        return self.folder / "socket"

    @property
    def log_file(self) -> Path:
        """What the server printed, or initdb when it failed."""
        return self.folder / "server.log"

    def initialize(self, encoding: str) -> None:
        """Make the folders: the superuser is `postgres`, the locale C.

        Raises SandboxError when the socket's path cannot be used or initdb fails.
        """
        self._refuse_unusable_path()
        self.socket_folder.mkdir(mode=0o700)
        for folder in (self.folder, self.socket_folder):
            self.account.own(folder)
        arguments = ["-D", str(self.data_folder), "-U", "postgres", "--auth=trust", "-E", encoding]
        answer = self._run(["initdb", *arguments, "--locale=C", "--no-sync"])
        if answer.returncode != 0:
            self.log_file.write_text(answer.stdout + answer.stderr)
            raise self._failure("initdb could not make a data folder")

    def configure(self, settings: Mapping[str, str], preload: Sequence[str], hba: Sequence[str]) -> None:
        """Write both configuration files; modules that the binaries lack are left out."""
        available = modules(self.binaries)
        # The value is a list, whose elements may be quoted like identifiers.
        socket_folder = str(self.socket_folder).replace('"', '""')
        own = {
            "unix_socket_directories": f'"{socket_folder}"',
            "shared_preload_libraries": ",".join(name for name in preload if name in available),
        }
        lines = [f"{k} = {_quoted(v)}" for k, v in {**BASE_SETTINGS, **own, **settings}.items()]
        with (self.data_folder / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *lines, ""]))
        (self.data_folder / "pg_hba.conf").write_text("\n".join([*hba, ""]))

    def launch(self) -> None:
        """Start and wait until it answers; raises SandboxError with the end of its log."""
        with deferred_signals(), self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries.bin_folder / "postgres"), "-D", self.data_folder],
                cwd=self.folder,
                env=accounts.environment(self.binaries, self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.account.user_id,
                group=self.account.group_id,
                extra_groups=self.account.extra_groups,
                # The terminal's Ctrl-C must reach only Python, which then stops the server.
                start_new_session=True,
            )
        self._wait_until_ready(self.process)

    def halt(self, mode: StopMode) -> None:
        """End the postmaster, if need be the hard way; does nothing when there is none."""
        process, numbers = self.process, [signal.SIGQUIT, signal.SIGKILL]
        if process is None:
            return
        for number in [signal.SIGINT, *numbers] if mode == "fast" else numbers:
            process.send_signal(number)
            patience = FAST_STOP_SECONDS if number == signal.SIGINT else IMMEDIATE_STOP_SECONDS
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                self.process = None
                return

    def _refuse_unusable_path(self) -> None:
        if "," in str(self.folder):  # libpq takes it for the end of a host's name
            raise SandboxError("The folder's path has a comma.", "Name a folder without one.")
        longest = len(os.fsencode(self.socket_folder / f".s.PGSQL.{PORT}"))
        if longest > SOCKET_PATH_BYTES:
            raise SandboxError(
                f"The socket's path would have {longest} bytes; {SOCKET_PATH_BYTES} are possible.",
                "Name a folder with a shorter path, such as /tmp.",
            )

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return accounts.run(self.account, self.binaries, command, self.folder, INITDB_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxError(
                f"The {command[0]} in {self.binaries.bin_folder} could not be run: {error}.",
                "Check that these binaries are for this computer.",
            ) from error

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._is_ready(process):
            if process.poll() is not None:
                raise self._failure("PostgreSQL did not start")
            if time.monotonic() > end:
                raise self._failure(f"PostgreSQL was not ready after {START_SECONDS:.0f} s")
            time.sleep(0.01)

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether the postmaster's own file says so, as for pg_ctl: that needs no password."""
        try:
            lines = (self.data_folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        state = "".join(lines[7:8]).strip()
        return lines[:1] == [str(process.pid)] and state in ("ready", "standby")

    def _failure(self, sentence: str) -> SandboxError:
        lines = self.log_file.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return SandboxError(f"{sentence}.", "\n".join(["The end of its log says:", *lines]))


def _quoted(value: str) -> str:
    """A value for postgresql.conf, where a backslash escapes too."""
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{escaped}'"
