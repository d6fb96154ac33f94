"""Two identities side by side: what each role is, which settings it begins with, what it may do and which rows it sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.analyze.access.role_graph import RoleGraph
from kit.analyze.access.search_path import SearchPaths
from kit.analyze.access.visible_rows import ROWS, UNKNOWN
from kit.analyze.differences.effects import Cell, Cells, common, is_judgeable, named
from kit.analyze.differences.model import Difference, Found
from kit.analyze.differences.settings import is_log_setting
from kit.analyze.differences.topics import MASKED
from kit.analyze.findings import Layer, quoted
from kit.evidence.model import Frames
from kit.evidence.records import records

_ATTRIBUTES: tuple[tuple[str, Layer, str], ...] = (
    ("can_login", "authentication", "LOGIN"),
    ("valid_until", "authentication", "valid until"),
    ("is_superuser", "privileges", "superuser"),
    ("can_create_role", "privileges", "CREATEROLE"),
    ("can_create_database", "privileges", "CREATEDB"),
    ("bypasses_row_security", "row security", "BYPASSRLS"),
    ("connection_limit", "capacity and performance", "connection limit"),
)
_ACTIONS_WHY = "what it may do decides whether the statement is allowed"
_HEARD = {"none": "no row", "filtered": "the rows that policies let through", "all": "every row"}


@dataclass(frozen=True, slots=True)
class Identity:
    """A role in the evidence of one side."""

    frames: Frames
    role: str

    @property
    def row(self) -> Mapping[str, Any] | None:
        """Return the role's attributes; None where there is no such role."""
        rows = records(self.frames["roles"]) if "roles" in self.frames else []
        return next((row for row in rows if row["role_name"] == self.role), None)

    @property
    def database(self) -> str:
        """Return the database that was captured."""
        return self.frames.identity.database if self.frames.identity else ""


def compare_identities(a: Identity, b: Identity) -> Found:
    """Return in what two roles differ: attributes, memberships, settings, and what comes of their grants and of policies."""
    found = Found()
    if a.row is None or b.row is None or not (is_judgeable(a.frames) and is_judgeable(b.frames)):
        unknown = [quoted(side.role) for side in (a, b) if side.row is None]
        reason = f"role {' and '.join(unknown)} is not in the evidence" if unknown else "evidence of roles or grants is missing"
        found.not_compared += [(layer, f"the two identities: {reason}") for layer in ("authentication", "privileges")]
        return found
    _attributes(found, a.row, b.row)
    _told(found, "privileges", "membership", "memberships", _memberships(a), _memberships(b), "a member has what its roles have")
    _settings(found, a, b)
    _effects(found, a, b)
    return found


def _attributes(found: Found, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    for column, layer, words in _ATTRIBUTES:
        if a[column] == b[column]:
            found.equal[layer, "attributes of the two roles"] += 1
        else:
            sides = words_of(words, a[column]), words_of(words, b[column])
            found.differences.append(Difference(layer, "attribute", words, *sides, "the server treats the two roles otherwise"))


def words_of(words: str, value: Any) -> str:
    """Return an attribute's value in words."""
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return "none" if value in (None, -1) else f"{words} {value}"


def _told(found: Found, layer: Layer, kind: str, plural: str, a: frozenset[str], b: frozenset[str], why: str) -> None:
    for name in sorted(a ^ b):
        sides = ("yes", "no") if name in a else ("no", "yes")
        found.differences.append(Difference(layer, kind, quoted(name), *sides, why))
    found.equal[layer, plural] += len(a & b)


def _memberships(side: Identity) -> frozenset[str]:
    databases = records(side.frames["databases"])
    owner = next((str(row["owner_name"]) for row in databases if row["is_current"]), "")
    version = side.frames.identity.server_version if side.frames.identity else 0
    graph = RoleGraph(side.frames["roles"], side.frames["role_memberships"], owner, version)
    return graph.privileges_of(side.role) - {side.role} if side.role not in graph.superusers else frozenset()


def _settings(found: Found, a: Identity, b: Identity) -> None:
    if "role_settings" not in a.frames or "role_settings" not in b.frames:
        found.not_compared.append(("configuration", "settings of the two roles"))
        return
    _one(found, "privileges", "effective search_path", _path(a), _path(b), "names without a schema are looked for along it")
    ours, theirs = (dict(_own_settings(side)) for side in (a, b))
    for name in sorted(ours.keys() | theirs.keys()):
        sides = ours.get(name, "not set"), theirs.get(name, "not set")
        if sides == (MASKED, MASKED):
            found.not_compared.append(("configuration", "settings of roles whose values are masked"))
        elif not is_log_setting(name) and name != "search_path":
            _one(found, "configuration", name, *sides, "a session begins with it, and nothing in the application shows it")


def _one(found: Found, layer: Layer, name: str, a: str, b: str, why: str) -> None:
    if a == b:
        found.equal[layer, "settings of the two roles"] += 1
    else:
        found.differences.append(Difference(layer, "setting of the role", name, a, b, why))


def _path(side: Identity) -> str:
    path = SearchPaths(side.frames, side.database).of(side.role)
    return ", ".join(map(quoted, path.names)) if path.names is not None else path.text


def _own_settings(side: Identity) -> Iterator[tuple[str, str]]:
    """Yield the settings with which a session of the role begins; the last of a name wins."""
    ranks = ((None, None), (None, side.database), (side.role, None), (side.role, side.database))
    rows = records(side.frames["role_settings"])
    for rank in ranks:
        for row in rows:
            if (row["role_name"], row["database_name"]) == rank:
                yield row["setting_name"], row["setting_value"] or ""


def _effects(found: Found, a: Identity, b: Identity) -> None:
    """Compare cell by cell what may be done in effect: equal effects through different grants are equal."""
    ours, theirs = Cells.of(a.frames, [a.role]), Cells.of(b.frames, [b.role])
    cells, in_a, in_b = common(ours, theirs)
    one, other = ours.matrix.row(a.role), theirs.matrix.row(b.role)
    sides = [_may(one.allowed[in_a], one.after[in_a]), _may(other.allowed[in_b], other.after[in_b])]
    found.differences += _privileges(cells, *sides)
    found.equal["privileges", "effective privileges (object and action)"] += int((sides[0] == sides[1]).sum())
    rows = [ours.matrix.rows(a.role)[in_a], theirs.matrix.rows(b.role)[in_b]]
    both = (sides[0] > 0) & (sides[1] > 0) & (rows[0] != UNKNOWN) & (rows[1] != UNKNOWN)
    found.differences += _rows(cells, rows[0], rows[1], np.flatnonzero(both & (rows[0] != rows[1])))
    found.equal["row security", "what row security leaves (relation and action)"] += int((both & (rows[0] == rows[1])).sum())


def _may(allowed: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return 2 where it may at once, 1 where it may after SET ROLE, 0 where not."""
    return np.where(allowed, 2, np.where(after, 1, 0)).astype(np.uint8)


def _privileges(cells: Sequence[Cell], a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> Iterator[Difference]:
    by_object: dict[Cell, list[int]] = {}
    for at in map(int, np.flatnonzero(a != b)):
        group, schema, name, _ = cells[at]
        by_object.setdefault((group, schema, name, ""), []).append(at)
    for cell, places in by_object.items():
        relation = (str(cell[1]), cell[2]) if cell[0] == "relation" else None
        sides = _actions(cells, a, places), _actions(cells, b, places)
        yield Difference(
            "privileges", f"privileges on a {cell[0]}", named(cell) or "this database", *sides, _ACTIONS_WHY, relation
        )


def _actions(cells: Sequence[Cell], side: npt.NDArray[np.uint8], places: Sequence[int]) -> str:
    told = [cells[at][3] + (" after SET ROLE" if side[at] == 1 else "") for at in places if side[at]]
    return ", ".join(told) or "nothing of it"


def _rows(
    cells: Sequence[Cell], a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], places: npt.NDArray[np.intp]
) -> Iterator[Difference]:
    for at in map(int, places):
        sides = _HEARD[ROWS[int(a[at])]], _HEARD[ROWS[int(b[at])]]
        relation = (str(cells[at][1]), cells[at][2])
        subject = f"{cells[at][3]} on {named(cells[at])}"
        yield Difference("row security", "visible rows", subject, *sides, "rows vanish without an error", relation)
