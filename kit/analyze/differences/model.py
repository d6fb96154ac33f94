"""The records of a differential diagnosis: sides, differences, what was equal, what could not be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from kit.analyze.findings import LADDER, Layer

Status = Literal["differs", "equal", "not compared"]
Relation = tuple[str, str]
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the sides differ: what each has, and why it can matter.

    `relation` is the schema and name of what it is about, where it is about one, `about` the names of the object, and behind them
    of the role that it is granted to;
    `explains` is False where the case's symptom names another relation.
    """

    layer: Layer
    kind: str
    subject: str
    a: str
    b: str
    why: str
    relation: Relation | None = None
    about: tuple[str, ...] = ()
    explains: bool = True

    def to_record(self) -> dict[str, Any]:
        """Return the difference for programs."""
        return {name: getattr(self, name) for name in ("kind", "subject", "a", "b", "why", "explains")}


@dataclass(slots=True)
class Found:
    """What comparing came to, as it is gathered: by layer what differs, how many are equal, and what could not be compared.

    `left_out` counts, by reason, what differs and cannot matter.
    """

    differences: list[Difference] = field(default_factory=list)
    equal: Counter[tuple[Layer, str]] = field(default_factory=Counter)
    not_compared: list[tuple[Layer, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Found) -> None:
        """Take in what another comparing came to."""
        self.differences += other.differences
        self.equal += other.equal
        self.not_compared += other.not_compared
        self.left_out += other.left_out


@dataclass(frozen=True, slots=True)
class LayerDifferences:
    """One rung: what differs on it, what was equal (what, and how many of it), and what could not be compared and why."""

    layer: Layer
    differences: tuple[Difference, ...]
    equal: tuple[tuple[str, int], ...]
    not_compared: tuple[str, ...]

    @property
    def status(self) -> Status:
        """Return `not compared` also where nothing was in scope; then no reason stands there."""
        if self.differences:
            return "differs"
        return "equal" if self.equal and not self.not_compared else "not compared"

    def to_record(self) -> dict[str, Any]:
        """Return the rung for programs."""
        return {
            "layer": self.layer,
            "status": self.status,
            "differences": [difference.to_record() for difference in self.differences],
            "equal": [{"what": what, "count": count} for what, count in self.equal],
            "not_compared": list(self.not_compared),
        }


@dataclass(frozen=True, slots=True)
class Differences:
    """All rungs in ladder order, and how many differences were left out, by reason."""

    layers: tuple[LayerDifferences, ...]
    left_out: Mapping[str, int]

    @property
    def all(self) -> list[Difference]:
        """Return every difference, the lowest rung first."""
        return [difference for layer in self.layers for difference in layer.differences]

    @property
    def is_complete(self) -> bool:
        """Return whether everything in scope could be compared."""
        return not any(layer.not_compared for layer in self.layers)

    def to_record(self) -> dict[str, Any]:
        """Return the rungs and what was left out for programs."""
        return {"layers": [layer.to_record() for layer in self.layers], "left_out": dict(self.left_out)}


def both(words: Callable[[Thing], str], a: Thing, b: Thing) -> tuple[str, str]:
    """Return the words for either side."""
    return words(a), words(b)


def ordered(found: Found) -> Differences:
    """Return what was found as rungs; on each, what could explain the symptom stands first."""
    return Differences(tuple(_layer(found, layer) for layer in LADDER), dict(sorted(found.left_out.items())))


def _layer(found: Found, layer: Layer) -> LayerDifferences:
    mine = [difference for difference in found.differences if difference.layer == layer]
    equal = tuple((what, count) for (of, what), count in found.equal.items() if of == layer and count)
    reasons: Sequence[str] = [reason for of, reason in found.not_compared if of == layer]
    return LayerDifferences(layer, tuple(sorted(mine, key=lambda d: not d.explains)), equal, tuple(dict.fromkeys(reasons)))
