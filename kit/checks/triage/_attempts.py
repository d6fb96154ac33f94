"""What the checks of a connection have in common: each judges the attempts that failed for its kind of cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.connection.causes import WAY_CLOSED, Kind
from kit.analyze.connection.failures import RUNGS, Failure, failures, kind_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

__all__ = ["judge_attempts", "kind_of", "subject_name"]

Record = Mapping[str, Any]


def judge_attempts(frames: Frames, kind: Kind, subject_kind: str, column: str) -> Iterable[Judgement]:
    """Yield a critical finding for each attempt that failed in this way; the subject is named by `column`.

    An attempt that ended on a lower rung says nothing about this one.
    """
    for position, (attempt, failure) in enumerate(zip(records(frames["connection"]), failures(frames), strict=True)):
        name = subject_name(attempt, column)
        if failure is not None and failure.elsewhere and (failure.kind == kind or failure.cause is WAY_CLOSED):
            yield NotExamined(name, failure.elsewhere)
            continue
        if failure is not None and failure.kind == kind:
            yield _finding(failure, position, Subject(subject_kind, name))
        if failure is None or _is_seen(kind, failure):
            yield Examined(1)
        else:
            yield NotExamined(name, "the connection ended before this could be seen")


def _is_seen(kind: Kind, failure: Failure) -> bool:
    if kind == "settings":
        # Which settings the server would refuse, only the server says.
        return failure.kind != "unreachable"
    if failure.kind == "settings":
        # libpq refuses before anybody is asked, a pooler before all else, a server when all else is well.
        return failure.cause.name == "setting refused" or (kind == "unreachable" and failure.code != "OPTION")
    return RUNGS.index(failure.kind) >= RUNGS.index(kind)


def _finding(failure: Failure, position: int, subject: Subject) -> Finding:
    return Finding(
        severity="critical",
        subject=subject,
        message=failure.words,
        remedy=failure.cause.remedy,
        evidence=rows([position], "connection"),
    )


def subject_name(attempt: Record, column: str) -> str:
    """Return the name of what was asked for; libpq's own defaults where none was given."""
    if column == "host":
        host = attempt["host"] or "default host"
        return f"{host}:{attempt['port']}" if attempt["port"] else str(host)
    # Without a database's name libpq takes the user's.
    name = attempt[column] or (attempt["user_name"] if column == "database_name" else None)
    return str(name or "default user")
