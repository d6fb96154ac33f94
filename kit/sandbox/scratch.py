"""Temporary folders that go when this process goes, however it goes."""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

REMOVE_SECONDS = 10.0

# The watchdog reads a pipe that only this process holds open. A word means that all is in order;
# end of file means that this process died (also by SIGKILL), so it stops the server and tidies up.
_WATCHDOG = """
trap '' INT TERM HUP QUIT
read -r word && exit 0
tries=0
while [ -e "$1" ] && [ "$tries" -lt 200 ]; do
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
  if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then sleep 0.1; else rm -rf "$1"; fi
  tries=$((tries + 1))
done
[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
rm -rf "$1"
"""


@dataclass(slots=True, eq=False)
class Scratch:
    """A temporary folder under watch: `remove` it, or `keep` it after this process."""

    path: Path
    _watchdog: subprocess.Popen[bytes]
    _owner_pid: int = field(default_factory=os.getpid)
    _released: bool = False

    @classmethod
    def create(cls, parent: Path | None = None) -> "Scratch":
        """A new folder (mode 0700) with a short name, in `parent` or else in /tmp."""
        with deferred_signals():
            path = Path(tempfile.mkdtemp(prefix="kit-", dir=parent or temporary_parent()))
            scratch = cls(path, _start_watchdog(path))
            atexit.register(scratch.remove)
        return scratch

    def remove(self) -> None:
        """Remove the folder; doing it again, or in a forked child, does nothing."""
        # A forked child inherits the exit handlers, but the folder is its parent's.
        if self._owner_pid != os.getpid() or self._released:
            return
        if remove_tree(self.path):
            self._dismiss()

    def keep(self) -> None:
        """Leave the folder where it is, also after this process."""
        if not self._released:
            self._dismiss()

    def _dismiss(self) -> None:
        self._released = True
        atexit.unregister(self.remove)
        with contextlib.suppress(BrokenPipeError):
            self._watchdog.communicate(b"done\n")


def temporary_parent() -> Path:
    """/tmp where it can be used: a macOS TMPDIR is too long for the path of a Unix socket."""
    usable = os.access("/tmp", os.W_OK | os.X_OK)
    return Path("/tmp") if usable else Path(tempfile.gettempdir())


def remove_tree(path: Path) -> bool:
    """Whether the folder is gone; tries for a while, since a dying server may still write."""
    end = time.monotonic() + REMOVE_SECONDS
    while path.exists() and time.monotonic() < end:
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            time.sleep(0.05)
    return not path.exists()


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back meanwhile, so that no child is born without being recorded.

    Only the main thread receives signals; elsewhere this does nothing. A signal mask would not do:
    the child would inherit it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[tuple[signal.Signals, FrameType | None]] = []
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(n))]
    old = {n: signal.getsignal(n) for n in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        received.append((signal.Signals(number), frame))

    for number in numbers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    for number, frame in received:
        handler = old[number]
        if callable(handler):
            handler(number, frame)


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Meanwhile SIGTERM raises KeyboardInterrupt; outside the main thread this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _start_watchdog(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "kit-watchdog", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
