"""Rows that row security hides from a service.

What it shows: for a symptom of zero rows that names a table, the roles that may read it and of which its policies let no
row through: the one that the symptom names, else every service and every exposed role.

Why it matters: row security raises no error on reading. A table without a policy for the role looks empty, and the search
goes to the data, the query and the cache.

What to do: write a policy that says which rows the role may see. The remedy shows all of them; put the condition that is
meant in its place.

Known limits: where policies let a part of the rows through, which part depends on the session (its claims or settings),
and is told as not examined: try it with `kit access --claims`. Rows that a query's own condition leaves out are not seen.

References: PostgreSQL manual, 5.9 "Row Security Policies".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.analyze.access.catalog import WANTED, Catalog
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, Question
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.error.text import ErrorReading, read_error
from kit.analyze.exposure import PUBLIC, Exposure
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import ServiceRoles
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER: Layer = "row security"
NEEDS = ("symptom", "default_privileges", *ACCESS_NEEDS, *(name for name in WANTED if name != "sessions"))
SEVERITIES: tuple[Severity, ...] = ("critical",)
EXPLAINS = ("02000",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per role and table that the symptom speaks of, where row security leaves nothing."""
    for position, symptom in enumerate(records(frames["symptom"])):
        reading = read_error(symptom["text"])
        if reading.trouble == "no rows":
            yield from _judged(frames, position, reading)


def _judged(frames: Frames, position: int, reading: ErrorReading) -> Iterator[Judgement]:
    catalog = Catalog(frames)
    places = [item for item in catalog.relations.values() if item.name == reading.relation]
    places = [item for item in places if reading.schema in (None, item.schema)]
    if not places:
        yield NotExamined("the symptom", "it names no table of this database whose rows could be missing")
    for place in places:
        asked = [Question(role, "SELECT", place.qualified) for role in _roles(frames, catalog, reading)]
        answers = [answer for answer in (explained(catalog, question) for question in asked) if answer.allowed is not False]
        yield Examined(len(answers))
        yield from (_judgement(answer, position, place.name) for answer in answers if answer.rows != "all")


def _roles(frames: Frames, catalog: Catalog, reading: ErrorReading) -> list[str]:
    named = reading.session.role or reading.role
    if named in catalog.access.graph.names:
        return [str(named)]
    exposed = (role for role in Exposure(frames).roles if role != PUBLIC)
    return list(dict.fromkeys([*ServiceRoles(frames, catalog.access), *exposed]))


def _judgement(answer: Explanation, position: int, relation: str) -> Judgement:
    role, gate = answer.question.role, answer.first_failed
    if answer.rows != "none" or gate is None:
        return NotExamined(role, f"which rows of {answer.object_name} it sees depends on its session: try kit access --claims")
    return Finding(
        severity="critical",
        subject=Subject("role", role, relation),
        message=f"role {quoted(role)} may read {answer.object_name} and sees no row of it, without an error: {gate.because}",
        remedy=gate.remedy.statement if gate.remedy else "Change the restrictive policy: it lets nothing through.",
        evidence=("symptom", (position,)),
        relations=frozenset({relation}),
    )
