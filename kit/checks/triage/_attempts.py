"""Why a connection was not made: the kinds of refusal, by the words of libpq, the server and PgBouncer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.analyze.symptom import parse_symptom
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

Kind = Literal["slots", "database", "login", "unreachable"]
Record = Mapping[str, Any]


# In the order of a connection: the server is reached, has a slot, lets the role in, and has the database.
_RUNGS: tuple[Kind, ...] = ("unreachable", "slots", "login", "database")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What words of an error mean, and what to do."""

    pattern: str
    meaning: str
    remedy: str


# Words that symptoms do not have; the rest is read as a symptom is.
_LOGIN = re.compile(
    r"not permitted to log in|no password supplied|authentication failed|pg_hba\.conf|no such user|login failed"
    r"|permission denied for database|client certificate",
    re.IGNORECASE,
)
_DATABASE = re.compile(r"no such database|not currently accepting connections", re.IGNORECASE)
_SLOTS = re.compile(r"no more connections allowed", re.IGNORECASE)


def kind_of(message: str) -> Kind:
    """Return what kept a connection from being made.

    >>> kind_of('FATAL: database "shop" does not exist'), kind_of("Connection refused")
    ('database', 'unreachable')
    """
    symptom = parse_symptom(message)
    states = symptom.sqlstates if symptom else frozenset()
    if "53300" in states or _SLOTS.search(message):
        return "slots"
    if "3D000" in states or _DATABASE.search(message):
        return "database"
    if states & {"28P01", "28000"} or _LOGIN.search(message):
        return "login"
    return "unreachable"


def judge_attempts(
    frames: Frames, kind: Kind, subject_kind: str, column: str, diagnoses: Sequence[Diagnosis]
) -> Iterable[Judgement]:
    """Yield a critical finding for each attempt that failed in this way; the subject is named by `column`.

    An attempt that ended on a lower rung says nothing about this one.
    """
    for position, attempt in enumerate(records(frames["connection"])):
        ended = None if attempt["is_connected"] else kind_of(attempt["message"] or "")
        if ended == kind:
            yield _finding(attempt, position, subject_kind, column, diagnoses)
        if ended is None or _RUNGS.index(ended) >= _RUNGS.index(kind):
            yield Examined(1)
        else:
            yield NotExamined(subject_name(attempt, column), "the connection ended before this could be seen")


def _finding(attempt: Record, position: int, subject_kind: str, column: str, diagnoses: Sequence[Diagnosis]) -> Finding:
    message = attempt["message"] or "no message"
    diagnosis = diagnose(message, diagnoses)
    return Finding(
        severity="critical",
        subject=Subject(subject_kind, subject_name(attempt, column)),
        message=f"{diagnosis.meaning} The message was: {message}",
        remedy=diagnosis.remedy,
        evidence=rows([position], "connection"),
    )


def diagnose(message: str, diagnoses: Sequence[Diagnosis]) -> Diagnosis:
    """Return the first diagnosis whose words stand in the message; the last one fits any."""
    return next((d for d in diagnoses if re.search(d.pattern, message, re.IGNORECASE)), diagnoses[-1])


def subject_name(attempt: Record, column: str) -> str:
    """Return the name of what was asked for; libpq's own defaults where none was given."""
    if column == "host":
        host = attempt["host"] or "default host"
        return f"{host}:{attempt['port']}" if attempt["port"] else str(host)
    # Without a database's name libpq takes the user's.
    name = attempt[column] or (attempt["user_name"] if column == "database_name" else None)
    return str(name or "default user")
