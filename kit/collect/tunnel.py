"""A tunnel for the length of a block: started, waited for, and ended with all that it started, however the block ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from kit.collect.attempt.network import open_address, open_socket, resolved
from kit.collect.attempt.options import Endpoint
from kit.collect.attempt.records import StepFailed
from kit.collect.commands import end_group, failed, start
from kit.errors import CaptureError

OPEN_SECONDS = 20.0
END_SECONDS = 3.0
_PATIENCE = 0.05
# It waits on a pipe that only this process holds open. A word means that the tunnel has been ended; end of file means
# that this process died, also by SIGKILL, and that nobody else will end it. (dash's kill knows no `--`.)
_WATCHDOG = """
trap '' INT TERM HUP QUIT
read -r word && exit 0
kill -TERM "-$1" 2>/dev/null && sleep 1
kill -KILL "-$1" 2>/dev/null
"""


@contextlib.contextmanager
def opened_tunnel(command: Sequence[str], folder: Path, end: Endpoint, seconds: float = OPEN_SECONDS) -> Iterator[None]:
    """Hold a tunnel open whose local end is `end`; CaptureError where it does not come up or its end is taken already."""
    if _answers(end):
        words = f"Something listens on {end.shown} already, so what is asked there might not be behind the tunnel."
        raise CaptureError(words, "End it, or leave `tunnel` out of kit.toml.")
    with tempfile.TemporaryFile() as said:
        process = start(command, folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        try:
            with _watched(process):
                _wait(process, command, end, said, seconds)
                yield
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], command: Sequence[str], end: Endpoint, said: IO[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not _answers(end):
        if _has_ended(process):
            raise failed(command, _words(said), "ended before its port was open (it must stay in the foreground)", set())
        if time.monotonic() > until:
            words = f"The tunnel did not open {end.shown} within {seconds:.0f} s."
            raise CaptureError(words, "Its local end must be the host and port of the connection string.")
        time.sleep(_PATIENCE)


def _answers(end: Endpoint) -> bool:
    with contextlib.suppress(OSError, StepFailed):
        connection = open_socket(end, 1.0) if end.is_socket else open_address(resolved(end, 2.0)[0][0], 1.0)
        connection.close()
        return True
    return False


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read(8192).decode("utf-8", "replace")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    # Not reaped: its number stays that of the group until all of the group has been ended.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    end_group(process, signal.SIGTERM)
    until = time.monotonic() + END_SECONDS
    try:
        while not _has_ended(process) and time.monotonic() < until:
            time.sleep(_PATIENCE)
    finally:
        end_group(process, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _watched(process: subprocess.Popen[bytes]) -> Iterator[None]:
    watchdog = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        _end(process)
        with contextlib.suppress(OSError):
            watchdog.communicate(b"ended\n")
