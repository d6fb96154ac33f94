"""The record of an attempt: one row per step, each with its own time and, where it failed, a code and words."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeVar

from kit.collect import masking
from kit.collect.secrecy import Secrecy
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, provenance

Status = Literal["ok", "failed", "not reached", "skipped"]
Step = Literal[
    "vantage",
    "options",
    "socket folder",
    "socket file",
    "socket connection",
    "name resolution",
    "tcp",
    "greeting",
    "tls",
    "authentication method",
    "authentication",
    "database",
    "query",
]
_SESSION: tuple[Step, ...] = ("authentication method", "authentication", "database", "query")
SOCKET_STEPS: tuple[Step, ...] = ("socket folder", "socket file", "socket connection", *_SESSION)
TCP_STEPS: tuple[Step, ...] = ("name resolution", "tcp", "greeting", "tls", *_SESSION)
STEPS: tuple[Step, ...] = ("vantage", "options", *SOCKET_STEPS[:3], *TCP_STEPS)

COLUMNS = (
    Column("endpoint", "string", data_class="identifier"),
    Column("step", "string"),
    Column("status", "string"),
    Column("seconds", "Float64", "s"),
    Column("error_code", "string"),
    Column("message", "string"),
    Column("address", "string", data_class="identifier"),
)
_Found = TypeVar("_Found")


class StepFailed(Exception):
    """A step that failed: an errno's name, an SQLSTATE or a code of the kit's own, and words for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Stop(Exception):
    """The endpoint's later steps cannot be reached."""


class Budget:
    """The seconds that are left of a whole attempt."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, never below a moment: a time-out of zero would mean no waiting or no end."""
        return max(0.05, self._end - time.monotonic())

    def share(self, most: float, parts: int = 1) -> float:
        """Return the seconds that one of `parts` may take, `most` at most."""
        return max(0.05, min(most, self.left / max(1, parts)))


@dataclass(frozen=True, slots=True)
class Row:
    """One step of one endpoint."""

    endpoint: str
    step: Step
    status: Status
    seconds: float = 0.0
    error_code: str | None = None
    message: str | None = None
    address: str | None = None


class Recorder:
    """Collects the rows of an attempt; `endpoint` and `address` are those of the step at hand."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.rows: list[Row] = []
        self.endpoint = ""
        self.address: str | None = None

    def run(self, step: Step, ask: Callable[[], tuple[_Found, str | None]]) -> _Found:
        """Return what the step found, after recording it with its words; Stop, recorded too, where it failed."""
        clock = time.perf_counter()
        try:
            found, words = ask()
        except (StepFailed, OSError, ValueError) as error:
            failed = as_failure(error)
            self.add(step, "failed", time.perf_counter() - clock, failed.code, failed.words)
            raise Stop from None
        self.add(step, "ok", time.perf_counter() - clock, None, words)
        return found

    def add(self, step: Step, status: Status, seconds: float = 0.0, code: str | None = None, words: str | None = None) -> None:
        """Record a step as it came out."""
        self.rows.append(Row(self.endpoint, step, status, round(seconds, 4), code, words, self.address))

    def finish(self, steps: Iterable[Step]) -> None:
        """Record those of the steps that this endpoint did not come to."""
        seen = {row.step for row in self.rows if row.endpoint == self.endpoint}
        self.address = None
        for step in steps:
            if step not in seen:
                self.add(step, "not reached")


def as_failure(error: Exception) -> StepFailed:
    """Return what an error of the system means: its errno's name, or TIMEOUT."""
    if isinstance(error, StepFailed):
        return error
    if isinstance(error, TimeoutError) and not error.errno:
        return StepFailed("TIMEOUT", "no answer in time")
    if isinstance(error, OSError) and error.errno:
        code = "TIMEOUT" if error.errno == errno.ETIMEDOUT else errno.errorcode.get(error.errno, "OSERROR")
        return StepFailed(code, os.strerror(error.errno))
    return StepFailed("INVALID", f"{type(error).__name__}: the value cannot be used")


def evidence(rows: Sequence[Row], at: datetime, seconds: float, secrecy: Secrecy) -> Evidence:
    """Return the rows as evidence, their words masked and in one line."""
    masked = [replace(row, message=masking.message(secrecy.text(row.message)) if row.message else None) for row in rows]
    names = [column.name for column in COLUMNS]
    frame = build_frame(COLUMNS, [tuple(getattr(row, name) for name in names) for row in masked])
    text = "\n".join(f"{row.endpoint}: {row.step}" for row in masked)
    return Evidence(frame, COLUMNS, provenance("Connection, step by step", "one row per step", text, at, seconds, len(rows)))
