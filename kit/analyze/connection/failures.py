"""From the record of a failed connection to layer, cause, evidence and remedy.

The record is the ordinary attempt (`connection`) and, where it was made, the attempt step by step
(`connection_steps`). The step that failed first decides, by its code; the words decide where there is no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from kit.analyze.connection.causes import LAYERS, WAY_CLOSED, Cause, Kind
from kit.analyze.connection.google import THROUGH_GOOGLE
from kit.analyze.connection.refusals import CAUSES, REFUSALS
from kit.analyze.connection.unreachable import UNREACHABLE
from kit.analyze.findings import Layer
from kit.analyze.symptom import parse_symptom
from kit.evidence.model import Frames
from kit.evidence.records import records

Record = Mapping[str, Any]
# In the order of a connection: the string is read, the server is reached, has a slot, lets the role in, has the
# database, and is of the kind that was asked for.
RUNGS: tuple[Kind, ...] = ("unreachable", "slots", "login", "database", "standby")
_STATES: dict[str, Kind] = {"53300": "slots", "3D000": "database", "28P01": "login", "28000": "login"}
# Of several addresses that fail, the ones without a route say least: the others were really tried.
_LESSER = {"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EHOSTUNREACH"}
# Vantages at which a missing socket folder of Cloud SQL says nothing about the service that has it.
_OUTSIDE = ("an ordinary machine", "a container of an unknown service")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one attempt failed: the cause, the words of it, and the step that failed where the steps were tried.

    `elsewhere` says why this failure tells nothing about the service that uses the same string, or is None.
    """

    cause: Cause
    message: str
    step: str | None = None
    code: str | None = None
    address: str | None = None
    seconds: float | None = None
    elsewhere: str | None = None

    @property
    def kind(self) -> Kind:
        """What kept the connection from being made."""
        return self.cause.kind

    @property
    def layer(self) -> Layer:
        """The layer that the cause belongs to."""
        return LAYERS[self.cause.kind]

    @property
    def words(self) -> str:
        """The failure in sentences: meaning, the step, what cannot be told apart, the message."""
        place = f" at {self.address}" if self.address else ""
        number = self.code if self.code and len(self.code) == 5 and self.code.isalnum() and self.code[0].isdigit() else None
        step = f" The step that failed: {self.step}{place}{f' ({self.code})' if number is None and self.code else ''}."
        untold = f" {self.cause.untold}" if self.cause.untold else ""
        stated = f" (SQLSTATE {number})" if number else ""
        return f"{self.cause.meaning}{step if self.step else ''}{untold} The message was: {self.message}{stated}"


def failures(frames: Frames) -> list[Failure | None]:
    """Return, for each row of `connection`, why it failed, or None where it did not."""
    attempts = records(frames["connection"])
    steps = records(frames["connection_steps"]) if "connection_steps" in frames and len(attempts) == 1 else []
    return [_failure(attempt, steps) for attempt in attempts]


def failure_in(steps: pd.DataFrame) -> Failure | None:
    """Return why an attempt that was only made step by step failed, or None where it came to the end."""
    rows = records(steps)
    decisive = _decisive(rows)
    host = decisive["endpoint"].rpartition(":")[0] if decisive else None
    return _failure({"is_connected": True, "message": None, "host": host}, rows)


def _failure(attempt: Record, steps: Sequence[Record]) -> Failure | None:
    decisive = _decisive(steps)
    if decisive is None and attempt["is_connected"]:
        return None
    said = attempt["message"] or "no message"
    if decisive is None and cause_of(said) is WAY_CLOSED:
        return Failure(WAY_CLOSED, said, elsewhere=said)
    if decisive is None and cause_of(said).kind == "standby":
        told = next((step["message"] for step in steps if step["step"] == "query" and step["message"]), None)
        return Failure(cause_of(said), f"{said} ({told})" if told else said)
    if decisive is None:
        return Failure(_transient(cause_of(said)) if steps and steps[-1]["status"] == "ok" else cause_of(said), said)
    words = decisive["message"] or said
    cause = _telling(cause_of(words, decisive["error_code"], decisive["step"]), decisive, attempt)
    message = words if attempt["is_connected"] or words in said else f"{said} ({words})"
    found = Failure(cause, message, decisive["step"], decisive["error_code"], decisive["address"], decisive["seconds"])
    return replace(found, elsewhere=_elsewhere(found, attempt, steps))


def _telling(cause: Cause, decisive: Record, attempt: Record) -> Cause:
    """The ordinary attempt waits longer than a step: where the step only ran out of time, its words may say more."""
    said = cause_of(attempt["message"] or "")
    is_vague = attempt["is_connected"] or said.name in ("unknown", "connect timeout", "closed at once")
    return cause if decisive["error_code"] != "TIMEOUT" or is_vague else said


def _transient(cause: Cause) -> Cause:
    if cause.kind not in ("unreachable", "slots"):
        return cause
    told = "At once afterwards every step succeeded from the same place: the failure comes and goes."
    return replace(cause, untold=f"{told} {cause.untold}".strip())


def _decisive(steps: Sequence[Record]) -> Record | None:
    """Return the step that failed at the endpoint that came furthest; None where one endpoint came to the end."""
    places = list(dict.fromkeys(step["endpoint"] for step in steps))
    found = [_failed([step for step in steps if step["endpoint"] == place]) for place in places]
    if any(step is None for place, step in zip(places, found, strict=True) if place):
        return None
    failed = [(position, step) for position, step in enumerate(found) if step is not None]
    if not failed:
        return None
    order = {name: position for position, name in enumerate(dict.fromkeys(step["step"] for step in steps))}
    return max(failed, key=lambda item: (order[item[1]["step"]], -item[0]))[1]


def _failed(steps: Sequence[Record]) -> Record | None:
    passed = {step["step"] for step in steps if step["status"] == "ok"}
    failed = [step for step in steps if step["status"] == "failed" and step["step"] not in passed]
    return min(failed, key=lambda step: step["error_code"] in _LESSER, default=None)


def _elsewhere(failure: Failure, attempt: Record, steps: Sequence[Record]) -> str | None:
    """A /cloudsql folder is mounted into the service alone: that another machine has none is no fault of anybody's."""
    vantage = next((step["message"] or "" for step in steps if step["step"] == "vantage"), "")
    is_mount = (attempt["host"] or "").startswith("/cloudsql/") and "/cloudsql is not there" in failure.message
    if not is_mount or not vantage.startswith(_OUTSIDE) or has_stray(attempt["host"]):
        return None
    return (
        f"asked from {vantage}, which has no /cloudsql: only the service's own runtime has, so this says nothing about "
        'the service; name the instance in kit.toml (cloudsql = "PROJECT:REGION:INSTANCE"), use a tunnel, or ask inside it'
    )


def has_stray(host: str | None) -> bool:
    """Return whether a blank or control character stands in the host: it names nothing then, wherever one asks."""
    return any(letter.isspace() or not letter.isprintable() for letter in host or "")


def cause_of(message: str, code: str | None = None, step: str | None = None) -> Cause:
    """Return the cause that a step's code and words stand for; by the words alone where there is no code.

    >>> cause_of('FATAL: database "shop" does not exist').name, cause_of("Connection refused").name
    ('no such database', 'refused')
    """
    words = _neutral(message)
    before = _before_a_server(words)
    if before is not None:
        return before
    known = [cause for cause in CAUSES if code in cause.codes and (not cause.steps or step in cause.steps)]
    if known:
        return next((cause for cause in known if re.search(cause.pattern, words, re.IGNORECASE)), known[-1])
    kind = kind_of(message)
    return next(c for c in _of_kind(kind) if re.search(c.pattern, words, re.IGNORECASE))


def kind_of(message: str) -> Kind:
    """Return what kept a connection from being made, by the words alone.

    >>> kind_of('FATAL: database "shop" does not exist'), kind_of("Connection refused")
    ('database', 'unreachable')
    """
    words = _neutral(message)
    before = _before_a_server(words)
    if before is not None:
        return before.kind
    symptom = parse_symptom(words)
    states = symptom.sqlstates if symptom else frozenset()
    by_state = next((kind for state, kind in _STATES.items() if state in states), None)
    by_words = next((c.kind for c in REFUSALS if c.pattern and not c.steps and re.search(c.pattern, words, re.IGNORECASE)), None)
    return by_words or by_state or "unreachable"


def _before_a_server(words: str) -> Cause | None:
    """Return the cause in words of the kit's own, which stand at the beginning: no server was asked then."""
    return next((cause for cause in (WAY_CLOSED, *THROUGH_GOOGLE) if re.search(cause.pattern, words)), None)


def _of_kind(kind: Kind) -> Iterable[Cause]:
    # The last one of each kind fits any words.
    causes = [cause for cause in CAUSES if cause.kind == kind]
    return [*causes, replace(UNREACHABLE[-1], kind=kind)]


def _neutral(message: str) -> str:
    """A name in quotes may be anybody's, and say anything."""
    return re.sub(r'"[^"]*"', '"…"', message)
