"""Two services side by side: in what they differ, in the order of the ladder, and in what they agree.

One that works clears what it has in common with one that does not: the same instance, secret and network cannot be the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.cloud.connections import connections
from kit.analyze.cloud.iam import CONNECTING_ROLES, bindings_of_project, holds
from kit.analyze.cloud.scope import in_force, place, rows_of
from kit.analyze.findings import LADDER, Layer
from kit.evidence.model import Frames

NOT_SET = "not set"
_LAYERS: Mapping[str, Layer] = {
    "service account": "authentication",
    "VPC connector": "reachability",
    "VPC egress": "reachability",
    "network interfaces": "reachability",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in which two services may differ: its layer, its words (never a value that may be a secret), its place."""

    layer: Layer
    what: str
    value: str
    where: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing in which two services differ; a side is None where it has no such thing."""

    layer: Layer
    what: str
    left: Item | None
    right: Item | None

    @property
    def words(self) -> str:
        """Return the difference in a few words."""
        left, right = (side.value if side else NOT_SET for side in (self.left, self.right))
        return f"{self.what}: {left} / {right}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of two services, the lowest rung first, and what is the same in both."""

    differences: tuple[Difference, ...]
    equal: tuple[Item, ...]

    def differs_in(self, *layers: Layer) -> list[Difference]:
        """Return the differences on these rungs."""
        return [difference for difference in self.differences if difference.layer in layers]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A service as it is deployed, or one of its revisions, in the exports of one capture."""

    frames: Frames
    service: str
    revision: str | None = None

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of an evidence that speak of it."""
        if self.revision is None:
            return [row for _, row in in_force(self.frames, name) if row["service_name"] == self.service]
        return [row for _, row in rows_of(self.frames, name) if row["revision_name"] == self.revision]

    @property
    def untold(self) -> frozenset[str]:
        """Return the variables whose values cannot be compared, since they may be secrets."""
        return frozenset(f"variable {row['variable_name']}" for row in self.rows("environment") if _told(row) is None)


def compare_services(frames: Frames, left: str, right: str) -> Comparison:
    """Return in what two services of the exports differ and in what they agree; values that may be secrets as fingerprints."""
    return compare_items(items_of(Deployed(frames, left)), items_of(Deployed(frames, right)))


def compare_items(left: Iterable[Item], right: Iterable[Item]) -> Comparison:
    """Return in what two sets of items differ and in what they agree, by the ladder."""
    ours, theirs = ({(item.layer, item.what): item for item in side} for side in (left, right))
    keys = sorted({*ours, *theirs}, key=lambda key: (LADDER.index(key[0]), key[1]))
    found = [Difference(layer, what, ours.get((layer, what)), theirs.get((layer, what))) for layer, what in keys]
    differences = tuple(d for d in found if (d.left and d.left.value) != (d.right and d.right.value))
    equal = tuple(d.left for d in found if d.left and d.right and d.left.value == d.right.value)
    return Comparison(differences, equal)


def sharing(frames: Frames) -> Iterator[tuple[str, str, str]]:
    """Yield (service, service, instance) for each two services that have the same instance attached."""
    attached = _attached(frames)
    names = sorted(attached)
    for position, left in enumerate(names):
        for right in names[position + 1 :]:
            for instance in sorted(attached[left] & attached[right]):
                yield left, right, instance


def _attached(frames: Frames) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for _, row in in_force(frames, "instance_references"):
        if row["place"] != "annotation of the service" and row["service_name"]:
            found.setdefault(row["service_name"], set()).add(row["instance_name"].strip())
    return found


def items_of(of: Deployed) -> Iterator[Item]:
    """Yield the things in which a service or a revision may differ from another."""
    yield from _instances(of)
    yield from _environment(of)
    yield from _settings(of)
    yield from _readiness(of)


def _instances(of: Deployed) -> Iterator[Item]:
    rows = [row for row in of.rows("instance_references") if row["place"] != "annotation of the service"]
    if rows:
        yield Item("configuration", "Cloud SQL instance", ", ".join(repr(row["instance_name"]) for row in rows), place(rows[0]))


def _environment(of: Deployed) -> Iterator[Item]:
    leading = {(found.row["service_name"], found.variable) for found in connections(of.frames)}
    for row in of.rows("environment"):
        if (told := _told(row)) is not None:
            is_leading = (row["service_name"], row["variable_name"]) in leading or row["value_kind"] == "secret"
            yield Item("configuration" if is_leading else "service", f"variable {row['variable_name']}", told, place(row))


def _told(row: Mapping[str, Any]) -> str | None:
    """Return by what two variables may be compared; None where a value may be a secret, and is not compared."""
    if row["value_kind"] == "secret":
        return f"version {row['secret_version']} of secret {row['secret_name']}"
    if row["value_kind"] == "literal":
        fingerprint = row["value_fingerprint"]
        return fingerprint and f"{row['shown_value'] or 'a value'} [{fingerprint}]"
    return str(row["value_kind"])


def _settings(of: Deployed) -> Iterator[Item]:
    for row in of.rows("runtime_settings"):
        layer: Layer = _LAYERS.get(row["setting"], "service")
        yield Item(layer, row["setting"], row["value"] or NOT_SET, place(row))
        if row["setting"] == "service account" and "iam_bindings" in of.frames:
            may = holds(row["value"] or "", CONNECTING_ROLES, bindings_of_project(of.frames))
            yield Item("authentication", "may connect to Cloud SQL", "yes" if may else "no role seen", place(row))


def _readiness(of: Deployed) -> Iterator[Item]:
    frame, column = ("services", "service_name") if of.revision is None else ("revisions", "revision_name")
    for _, row in rows_of(of.frames, frame):
        if row[column] == (of.revision or of.service):
            words = {True: "ready", False: "not ready"}.get(row["is_ready"], "unknown")
            yield Item("service", "condition Ready", words, place(row, "status", "conditions"))
