"""Two sides compared over all their evidence: captures, identities, services or revisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kit.analyze.cloud.comparison import Deployed
from kit.analyze.differences import deployed
from kit.analyze.differences.books import Book
from kit.analyze.differences.catalog import TOPICS
from kit.analyze.differences.effects import without_consequences, without_same_effect
from kit.analyze.differences.identities import Identity, compare_identities
from kit.analyze.differences.model import Difference, Differences, Found, ordered
from kit.analyze.differences.places import compare_places
from kit.analyze.differences.rows import compare_topic, left_out_counts, one_sided
from kit.analyze.findings import LADDER
from kit.analyze.symptom import Symptom
from kit.evidence.model import Frames, Source
from kit.evidence.records import records

SourcePair = tuple[Source | None, Source | None]


def compare_sources(pairs: Sequence[SourcePair], symptom: Symptom | None = None, *, same_target: bool = False) -> Differences:
    """Return in what the sources of two sides differ, each pair by the ladder.

    A source that only one side has is not compared. `same_target` says that both are captures of one place, so that
    another address or a restart can matter.
    """
    found, several = Found(), sum(a is not None and b is not None and a.kind == "postgres" for a, b in pairs) > 1
    for a, b in pairs:
        if a is None or b is None:
            name = (a or b).name  # type: ignore[union-attr]
            found.not_compared.append((LADDER[0], f"source {name}, which only {'A' if a else 'B'} has"))
            continue
        one = _compare(Frames(a), Frames(b), symptom, same_target=same_target)
        if several and a.kind == "postgres":
            _name_source(one, a.name if a.name == b.name else f"{a.name}/{b.name}")
        found.add(one)
    return ordered(found)


def compare_roles(a: Frames, role_a: str, b: Frames, role_b: str, symptom: Symptom | None = None) -> Differences:
    """Return in what two roles differ."""
    found = compare_identities(Identity(a, role_a), Identity(b, role_b))
    return ordered(_for_symptom(found, a, b, symptom))


def compare_services(a: Deployed, b: Deployed) -> Differences:
    """Return in what two services or two revisions differ."""
    return ordered(deployed.compare_deployed(a, b))


def _compare(a: Frames, b: Frames, symptom: Symptom | None, *, same_target: bool) -> Found:
    found = Found()
    only = all(len(records(frames["sql_instances"])) == 1 if "sql_instances" in frames else False for frames in (a, b))
    books = Book(a, only_instance=only), Book(b, only_instance=only)
    topics = [topic for topic in TOPICS if any(topic.frame in (*frames, *frames.gaps) for frames in (a, b))]
    lacking = one_sided(topics, *books)
    wanted = symptom.relation if symptom else None
    for topic in topics:
        found.add(compare_topic(topic, *books, lacking, wanted))
    without_consequences(found, *books)
    without_same_effect(found, a, b)
    found.left_out += left_out_counts(topics, *books)
    if a.identity or b.identity or "connection" in a:
        found.add(compare_places(a, b, same_target=same_target))
    if a.identity and b.identity and a.identity.user != b.identity.user:
        found.add(compare_identities(Identity(a, a.identity.user), Identity(b, b.identity.user)))
    if any("services" in frames or "revisions" in frames for frames in (a, b)):
        found.add(deployed.compare_all(a, b))
    return _for_symptom(found, a, b, symptom)


def _name_source(found: Found, name: str) -> None:
    found.differences = [replace(difference, subject=f"{name}: {difference.subject}") for difference in found.differences]
    found.not_compared = [(layer, f"{name}: {reason}") for layer, reason in found.not_compared]


def _for_symptom(found: Found, a: Frames, b: Frames, symptom: Symptom | None) -> Found:
    """Mark what is about another relation than the one that the symptom names, or than those it reads."""
    if symptom is not None and symptom.relation is not None:
        able = _read_by(symptom.relation, (a, b))
        found.differences = [replace(d, explains=_can_explain(d, able)) for d in found.differences]
    return found


def _can_explain(difference: Difference, able: frozenset[str]) -> bool:
    return difference.relation is None or difference.relation[1] in able


def _read_by(relation: str, sides: Iterable[Frames]) -> frozenset[str]:
    """Return the relation with those that it reads, where it is a view."""
    uses = [row for frames in sides if "relation_uses" in frames for row in records(frames["relation_uses"])]
    able, new = {relation}, {relation}
    while new:
        new = {row["relation_name"] for row in uses if row["user_name"] in new} - able
        able |= new
    return frozenset(able)
