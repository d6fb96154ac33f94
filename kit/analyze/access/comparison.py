"""Why one works and the other does not: the same question for two roles, two targets or two captures.

Both are explained gate by gate. Where both pass, the gate is cleared; where it stops one of them, the facts behind that gate
that differ are told, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.compared_facts import OF_OBJECTS, Fact, Side, facts, lacking
from kit.analyze.access.explanation import Explanation, Gate, GateName, Question
from kit.analyze.findings import quoted
from kit.evidence.model import Frames

__all__ = ["Comparison", "Difference", "Fact", "compare"]
_ROWS = {"all": "every row", "filtered": "only the rows that policies let through", "none": "no row", None: "no row"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A gate that stops one side, or both in different ways, and the facts behind it that differ."""

    a: Gate
    b: Gate
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The smallest set of differences that explains two answers, in the order of the gates.

    `names` are what the two sides are called; `equal` the gates that both pass, which are cleared; `shared` those that stop
    both alike. `hint` says in words what kind of place the one that is behind is, or is empty.
    """

    names: tuple[str, str]
    a: Explanation
    b: Explanation
    differences: tuple[Difference, ...]
    equal: tuple[GateName, ...]
    shared: tuple[Gate, ...]
    hint: str = ""

    @property
    def summary(self) -> str:
        """Return the answer in one sentence."""
        told = "; ".join(part for part in (self._told(), self.hint) if part)
        # The name of a target stands as it is written.
        is_name = told.startswith(self.names) and not told.startswith(("role ", "the "))
        return f"{told}." if is_name else f"{told[0].upper()}{told[1:]}."

    def to_record(self) -> dict[str, Any]:
        """Return the comparison as a document for programs."""
        return {
            "summary": self.summary,
            "a": {"name": self.names[0], **self.a.to_record()},
            "b": {"name": self.names[1], **self.b.to_record()},
            "differences": [_record(difference) for difference in self.differences],
            "equal": list(self.equal),
            "shared": [{"gate": gate.name, "status": gate.status, "because": gate.because} for gate in self.shared],
        }

    def _told(self) -> str:
        works = _works(self.a), _works(self.b)
        what = self._what()
        if works == (True, True):
            return f"both may {what}{self._both_work()}"
        if None in works:
            return "; ".join(_judged(name, side, what) for name, side in zip(self.names, (self.a, self.b), strict=True))
        if works == (False, False):
            return f"neither {self.names[0]} nor {self.names[1]} may {what}: {self._neither_works()}"
        able, other = (0, 1) if works[0] else (1, 0)
        because = _stopping((self.a, self.b)[other])
        return f"{self.names[able]} may {what}, {self.names[other]} may not: {because}"

    def _what(self) -> str:
        question = self.a.question
        found = {name for name in (self.a.object_name, self.b.object_name) if name}
        name = found.pop() if len(found) == 1 else question.name
        return f"{question.action} {name}" if question.kind == "relation" else f"{question.action} on {question.kind} {name}"

    def _both_work(self) -> str:
        if self.a.object_name != self.b.object_name:
            return f", but not the same: {self.names[0]} means {self.a.object_name}, {self.names[1]} {self.b.object_name}"
        if self.a.rows == self.b.rows:
            return ": no gate tells them apart"
        return f": {self.names[0]} gets {_ROWS[self.a.rows]}, {self.names[1]} {_ROWS[self.b.rows]}"

    def _neither_works(self) -> str:
        if not self.differences:
            return f"both stop at {self.shared[0].name}, because {self.shared[0].because}"
        return "; ".join(f"{name}: {_stopping(side)}" for name, side in zip(self.names, (self.a, self.b), strict=True))


def compare(
    frames_a: Frames, question_a: Question, frames_b: Frames, question_b: Question, names: tuple[str, str] | None = None
) -> Comparison:
    """Return what explains why one works and the other does not; UnknownRole where a side has no such role.

    `names` are what to call the sides, such as two targets; without them role and database tell them apart.
    """
    a = Side(Catalog(frames_a), question_a)
    b = Side(a.catalog if frames_b is frames_a else Catalog(frames_b), question_b)
    pairs = list(zip(a.explanation.gates, b.explanation.gates, strict=True))
    differing = [pair for pair in pairs if _differ(*pair) or _differs_in_effect(a.explanation, b.explanation, pair[0].name)]
    differences = tuple(_differences(a, b, differing))
    return Comparison(
        names or _names(a, b),
        a.explanation,
        b.explanation,
        differences,
        tuple(one.name for one, other in pairs if one.status == other.status == "passed" and (one, other) not in differing),
        tuple(one for one, other in pairs if one.status == other.status and one.status in ("failed", "unknown")),
        _hint(names or _places(a, b), a, b, differences),
    )


def _works(explanation: Explanation) -> bool | None:
    """Return whether it does what is wanted: a query that shows nothing does not, though no error comes."""
    return False if explanation.allowed and explanation.rows == "none" else explanation.allowed


def _differ(a: Gate, b: Gate) -> bool:
    return a.status != b.status and not {a.status, b.status} <= {"passed", "not applicable"}


def _differs_in_effect(a: Explanation, b: Explanation, gate: GateName) -> bool:
    """Return whether both pass the gate, but come to another object, or to other rows."""
    if gate == "name resolution":
        return None not in (a.object_name, b.object_name) and a.object_name != b.object_name
    return gate == "row security" and _works(a) == _works(b) is True and a.rows != b.rows


def _differences(a: Side, b: Side, gates: Sequence[tuple[Gate, Gate]]) -> Iterator[Difference]:
    """Yield the gates with their facts, each fact once: where it first matters."""
    told: set[str] = set()
    for one, other in gates:
        found = [fact for fact in facts(a, b, one.name) if fact.name not in told]
        told |= {fact.name for fact in found}
        yield Difference(one, other, tuple(found))


def _stopping(explanation: Explanation) -> str:
    gate = explanation.first_failed
    return "it works" if gate is None else f"it stops at {gate.name}, because {gate.because}"


def _judged(name: str, explanation: Explanation, what: str) -> str:
    works = _works(explanation)
    if works is not None:
        return f"{name} may {what}" if works else f"{name} may not {what}: {_stopping(explanation)}"
    unknown = next(gate for gate in explanation.gates if gate.status == "unknown")
    return f"whether {name} may {what} is not known: {unknown.name} could not be judged, because {unknown.because}"


def _names(a: Side, b: Side) -> tuple[str, str]:
    """Return what tells the sides apart: role, database or, with neither, their order."""
    one, other = (f"role {quoted(side.question.role)}" for side in (a, b))
    places = _places(a, b)
    if places[0].startswith("database "):
        return f"{one} in {places[0]}", f"{other} in {places[1]}"
    return (one, other) if one != other else places


def _places(a: Side, b: Side) -> tuple[str, str]:
    one, other = (f"database {quoted(side.catalog.access.database)}" for side in (a, b))
    return (one, other) if one != other else ("the first", "the second")


def _hint(names: tuple[str, str], a: Side, b: Side, differences: Sequence[Difference]) -> str:
    """Return that the one that does not work is a standby or a copy that is behind, where the evidence shows it."""
    works = _works(a.explanation), _works(b.explanation)
    if works not in ((True, False), (False, True)) or differences[0].a.name not in OF_OBJECTS:
        return ""
    behind, ahead, name = (b, a, names[1]) if works[0] else (a, b, names[0])
    is_standby = [side.identity is not None and side.identity.in_recovery for side in (behind, ahead)]
    missing = lacking(behind, ahead)
    words = ["is a standby in recovery"] if is_standby == [True, False] else []
    if missing:
        words.append(
            f"lacks the migration {missing[0]}" if len(missing) == 1 else f"lacks {len(missing)} migrations from {missing[0]} on"
        )
    return f"{name} {' and '.join(words)}" if words else ""


def _record(difference: Difference) -> dict[str, Any]:
    return {
        "gate": difference.a.name,
        "a": {"status": difference.a.status, "because": difference.a.because},
        "b": {"status": difference.b.status, "because": difference.b.because},
        "facts": [{"fact": fact.name, "a": fact.a, "b": fact.b} for fact in difference.facts],
    }
