"""Trying a connection string from here, step by step, and saying what kept it from working."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.connection.failures import Failure, failure_in
from kit.errors import TargetError
from kit.evidence.records import records

CONNECTED, FAILED, UNKNOWN = 0, 1, 3
_STEP_KEYS = ("endpoint", "step", "status", "seconds", "error_code", "message", "address")


@dataclass(frozen=True, slots=True)
class TriedConnection:
    """What came of it: for programs, for people, and the exit status (0 connected, 1 failed, 3 nothing can be said from here)."""

    record: Mapping[str, Any]
    words: str
    status: int


def tried_connection(text: str) -> TriedConnection:
    """Return what a connection by this string came to; one that libpq cannot read is not tried, and failed.

    The steps name host, user and database, never the password.
    """
    from kit.collect.attempt import attempt
    from kit.target import libpq_form

    try:
        frame = attempt(libpq_form(text)).frame
    except TargetError as error:
        return _untried(error)
    failure = failure_in(frame)
    shown = [{key: step[key] for key in _STEP_KEYS} for step in records(frame)]
    status = CONNECTED if failure is None else UNKNOWN if failure.elsewhere else FAILED
    record = {"status": {CONNECTED: "connected", FAILED: "failed", UNKNOWN: "unknown"}[status], **_cause(failure), "steps": shown}
    return TriedConnection(record, "\n".join(["Tried from here:", *map(_line, shown), *_verdict(failure)]), status)


def _untried(error: TargetError) -> TriedConnection:
    record: dict[str, Any] = {"status": "not tried", **_cause(None), "message": error.message, "remedy": error.hint, "steps": []}
    return TriedConnection(record, f"Not tried from here: {error.message} {error.hint or ''}".rstrip(), FAILED)


def _cause(failure: Failure | None) -> dict[str, str | None]:
    if failure is None:
        return dict.fromkeys(("layer", "cause", "message", "remedy"))
    message = failure.elsewhere or failure.words
    return {"layer": failure.layer, "cause": failure.cause.name, "message": message, "remedy": failure.cause.remedy}


def _line(step: Mapping[str, Any]) -> str:
    words = " ".join(part for part in (step["address"], step["error_code"], step["message"]) if part)
    return f"  {step['status']:<11} {step['step']:<21} {step['seconds']:6.3f} s  {words}".rstrip()


def _verdict(failure: Failure | None) -> list[str]:
    if failure is None:
        return ["", "The connection was made."]
    if failure.elsewhere:
        return ["", f"Nothing can be said of the service: {failure.elsewhere}."]
    return ["", f"CRITICAL {failure.cause.name} ({failure.layer})", f"  {failure.words}", f"  Remedy: {failure.cause.remedy}"]
