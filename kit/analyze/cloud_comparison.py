"""Two services side by side: in what they differ, in the order of the ladder, and in what they agree.

One that works clears what it has in common with one that does not: the same instance, secret and network cannot be the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.cloud_connections import connections
from kit.analyze.cloud_iam import bindings_of_project, holds
from kit.analyze.cloud_scope import in_force, place, rows_of
from kit.analyze.findings import LADDER, Layer
from kit.evidence.model import Frames

NOT_SET = "not set"
_LAYERS: Mapping[str, Layer] = {
    "service account": "authentication",
    "VPC connector": "reachability",
    "VPC egress": "reachability",
    "network interfaces": "reachability",
}
_CONNECTING = ("roles/cloudsql.client", "roles/cloudsql.editor", "roles/cloudsql.admin", "roles/editor", "roles/owner")


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


def compare_services(frames: Frames, left: str, right: str) -> Comparison:
    """Return in what two services of the exports differ and in what they agree; values that may be secrets as fingerprints."""
    ours, theirs = ({(i.layer, i.what): i for i in _items(frames, name)} for name in (left, right))
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


def _items(frames: Frames, service: str) -> Iterator[Item]:
    yield from _instances(frames, service)
    yield from _environment(frames, service)
    yield from _settings(frames, service)
    yield from _readiness(frames, service)


def _own(frames: Frames, name: str, service: str) -> list[dict[str, Any]]:
    return [row for _, row in in_force(frames, name) if row["service_name"] == service]


def _instances(frames: Frames, service: str) -> Iterator[Item]:
    rows = [row for row in _own(frames, "instance_references", service) if row["place"] != "annotation of the service"]
    if rows:
        yield Item("configuration", "Cloud SQL instance", ", ".join(repr(row["instance_name"]) for row in rows), place(rows[0]))


def _environment(frames: Frames, service: str) -> Iterator[Item]:
    leading = {found.position for found in connections(frames)}
    for position, row in in_force(frames, "environment"):
        if row["service_name"] == service and (told := _told(row)) is not None:
            layer: Layer = "configuration" if position in leading or row["value_kind"] == "secret" else "service"
            yield Item(layer, f"variable {row['variable_name']}", told, place(row))


def _told(row: Mapping[str, Any]) -> str | None:
    """Return by what two variables may be compared; None where a value may be a secret, and is not compared."""
    if row["value_kind"] == "secret":
        return f"version {row['secret_version']} of secret {row['secret_name']}"
    if row["value_kind"] == "literal":
        fingerprint = row["value_fingerprint"]
        return fingerprint and f"{row['shown_value'] or 'a value'} [{fingerprint}]"
    return str(row["value_kind"])


def _settings(frames: Frames, service: str) -> Iterator[Item]:
    for row in _own(frames, "runtime_settings", service):
        layer: Layer = _LAYERS.get(row["setting"], "service")
        yield Item(layer, row["setting"], row["value"] or NOT_SET, place(row))
        if row["setting"] == "service account" and "iam_bindings" in frames:
            may = any(holds(row["value"] or "", {role}, bindings_of_project(frames)) for role in _CONNECTING)
            yield Item("authentication", "may connect to Cloud SQL", "yes" if may else "no role seen", place(row))


def _readiness(frames: Frames, service: str) -> Iterator[Item]:
    for _, row in rows_of(frames, "services"):
        if row["service_name"] == service:
            words = {True: "ready", False: "not ready"}.get(row["is_ready"], "unknown")
            yield Item("service", "condition Ready", words, place(row, "status", "conditions"))
