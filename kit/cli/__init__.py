"""The command line: thin, the same words as the functions. Answers for programs go to standard output."""

from __future__ import annotations

import signal

# Each module adds its commands to the application; their order here is that of the help.
from kit.cli import cases, diff, gathering, installation, questions
from kit.cli.base import app

__all__ = ["app", "cases", "diff", "gathering", "installation", "main", "questions"]


def main() -> None:
    """Run the command line; the exit status is the contract's (0, 1, 2, 3, 130)."""
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal ends a run as Ctrl-C does; `nohup` keeps it
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _as_interrupt)
    app(windows_expand_args=False)


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
