"""The records of judgement: layers, findings, results. They know nothing of where they are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")

Layer = Literal[
    "configuration",
    "reachability",
    "authentication",
    "database identity",
    "schema",
    "privileges",
    "row security",
    "data integrity",
    "capacity and performance",
    "change",
    "service",
]
LADDER: tuple[Layer, ...] = (
    "configuration",
    "reachability",
    "authentication",
    "database identity",
    "schema",
    "privileges",
    "row security",
    "data integrity",
    "capacity and performance",
    "change",
    "service",
)
ResultStatus = Literal["findings", "clean", "skipped", "failed"]


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What a finding is about. `kind` is one word: table, schema, role, statement, session, revision, …"""

    kind: str
    name: str
    schema: str | None = None
    database: str | None = None

    @property
    def qualified(self) -> str:
        """Return the name as SQL would write it, quoted where needed: `app."Odd Name"`."""
        parts = [self.schema, self.name] if self.schema is not None else [self.name]
        return ".".join(quoted(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one subject. Checks leave `check`, `layer` and `fingerprint` to the registry.

    `remedy` is text, never executed by the kit; `evidence` names the frame and the rows (by position)
    that show the defect; `relations` are the relation names the defect hides or breaks, by which a
    symptom that names a relation is matched (empty: any).
    """

    severity: Severity
    subject: Subject
    message: str
    remedy: str
    evidence: tuple[str, tuple[int, ...]]
    value: float | None = None
    threshold: float | None = None
    unit: str | None = None
    relations: frozenset[str] = frozenset()
    check: str = ""
    layer: Layer = "configuration"
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class NotExamined:
    """A subject that a check could not judge, and why."""

    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """How many subjects a check has judged; several of them add up. `saw` says in a few words what was seen of them."""

    count: int
    saw: str | None = None


Judgement = Finding | NotExamined | Examined


@dataclass(frozen=True, slots=True)
class Result:
    """What a check came to on one source. `in_scope` is False where the target names no such source.

    `is_witness`: it tells that something failed and not why, as a log or an unanswered request does. `saw` is what it
    saw where it found nothing.
    """

    check: str
    area: str
    layer: Layer
    source: str
    status: ResultStatus
    reason: str | None = None
    examined: int = 0
    findings: tuple[Finding, ...] = ()
    not_examined: tuple[NotExamined, ...] = ()
    seconds: float = 0.0
    thresholds: dict[str, float] = field(default_factory=dict)
    in_scope: bool = True
    can_be_critical: bool = False
    explains: frozenset[str] = frozenset()
    explains_absence: bool = False
    is_witness: bool = False
    saw: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Return whether the check ran and left nothing unseen."""
        return self.status in ("findings", "clean") and not self.not_examined


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier, quoted only where it must be.

    >>> quoted("orders"), quoted("Odd name"), quoted('a"b')
    ('orders', '"Odd name"', '"a""b"')
    """
    plain = name.isascii() and name.isidentifier() and name == name.lower() and name not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


# The reserved words of PostgreSQL 18, appendix C; quoting one too many would do no harm.
_RESERVED = frozenset(
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate"
    " collation column concurrently constraint create cross current_catalog current_date current_role"
    " current_schema current_time current_timestamp current_user default deferrable desc distinct do else end"
    " except false fetch for foreign freeze from full grant group having ilike in initially inner intersect"
    " into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null"
    " offset on only or order outer overlaps placing primary references returning right select session_user"
    " similar some symmetric system_user table tablesample then to trailing true union unique user using"
    " variadic verbose when where window with".split()
)
