"""Whether a grant that only one side has changes what anybody may do: the same effect by another grant cannot matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kit.analyze.access.cells import FUNCTION_KINDS, RELATION_KINDS
from kit.analyze.access.matrix import NEEDS, Matrix
from kit.analyze.differences.books import Book
from kit.analyze.differences.model import Difference, Found
from kit.analyze.differences.topics import HERE
from kit.analyze.findings import quoted
from kit.evidence.model import Frames
from kit.evidence.records import records

Cell = tuple[str, str | None, str, str]
Places = npt.NDArray[np.intp]
# The kinds of difference that the matrix decides; a grant on a column is finer than its cells.
_GRANTS = {
    "grant on a database": "database",
    "grant on a schema": "schema",
    "grant": "relation",
    "grant on a function": "function",
    "grant on a type": "type",
}
SAME_EFFECT = "granted in another way, to the same effect"
WITH_OWNER = "what goes with another owner, which is told"


def without_consequences(found: Found, a: Book, b: Book) -> None:
    """Take out what comes of another owner: the owner's own entry in the access list, the owner of a table's sequences."""
    changed = {key: {a.owners[key], b.owners[key]} for key in a.owners.keys() & b.owners.keys() if a.owners[key] != b.owners[key]}
    fed: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for sequence, columns in (*a.sequence_owners.items(), *b.sequence_owners.items()):
        fed.setdefault(sequence[1:], set()).update(column[:-1] for column in columns)

    def follows(difference: Difference) -> bool:
        if difference.kind == "owner":
            return any(("relation", *names[1:]) in changed for names in fed.get(difference.about, ()))
        kind, names = _GRANTS.get(difference.kind, ""), difference.about[:-1]
        return bool(kind) and difference.about[-1] in changed.get((kind, *names), ())

    _take_out(found, {id(difference) for difference in found.differences if follows(difference)}, WITH_OWNER)


def without_same_effect(found: Found, a: Frames, b: Frames) -> None:
    """Take out the differing grants by which neither the grantee nor a member of it may do anything else."""
    grants = [d for d in found.differences if d.kind in _GRANTS and "grantable" not in f"{d.a} {d.b}"]
    if not grants or not (is_judgeable(a) and is_judgeable(b)):
        return
    changed, members = _changed(Cells.of(a), Cells.of(b)), _members(a, b)

    def has_effect(difference: Difference) -> bool:
        *names, grantee = difference.about
        roles = changed.get((_GRANTS[difference.kind], *names), set())
        return not roles.isdisjoint(members.get(grantee, set()) | {grantee})

    _take_out(found, {id(difference) for difference in grants if not has_effect(difference)}, SAME_EFFECT)


def is_judgeable(frames: Frames) -> bool:
    """Return whether the evidence is whole enough to say what may be done: all of it is there, and no role is unknown."""
    if any(need not in frames or frames.is_truncated(need) for need in NEEDS) or not frames["databases"]["is_current"].any():
        return False
    members = frames["role_memberships"]
    named = {
        *members["role_name"],
        *members["member_name"],
        *frames["databases"]["owner_name"],
        *frames["relations"]["owner_name"],
    }
    return named <= {*frames["roles"]["role_name"]}


def _take_out(found: Found, places: set[int], reason: str) -> None:
    found.differences = [difference for difference in found.differences if id(difference) not in places]
    found.left_out += Counter({reason: len(places)})


def _members(a: Frames, b: Frames) -> dict[str, set[str]]:
    """Return, by role, whoever is a member of it on either side, at once or through others."""
    edges = {(row["role_name"], row["member_name"]) for frames in (a, b) for row in records(frames["role_memberships"])}
    found: dict[str, set[str]] = {}
    for role, member in edges:
        found.setdefault(role, set()).add(member)
    grown = True
    while grown:
        sizes = {role: len(members) for role, members in found.items()}
        for members in found.values():
            members |= {far for member in tuple(members) for far in found.get(member, ())}
        grown = sizes != {role: len(members) for role, members in found.items()}
    return found


@dataclass(frozen=True, slots=True)
class Cells:
    """A matrix with the name of its database, and its cells: kind, schema, name and action."""

    matrix: Matrix
    database: str | None
    cells: Sequence[Cell]

    @classmethod
    def of(cls, frames: Frames, roles: Iterable[str] | None = None) -> Cells:
        """Return the matrix of one side; UnknownRole where it has no such role."""
        matrix = Matrix(frames, roles)
        columns = (matrix.cells.kind, matrix.cells.schema, matrix.cells.name, matrix.cells.action)
        cells = list(zip(*(pa.array(column).to_pylist() for column in columns), strict=True))
        return cls(matrix, frames.identity.database if frames.identity else None, cells)

    def neutral(self) -> Iterator[tuple[Cell, int]]:
        """Yield the cells with their places, the captured database under no name; other databases are left out."""
        for place, (kind, schema, name, action) in enumerate(self.cells):
            if kind != "database" or name == self.database:
                yield (group_of(kind), schema, "" if kind == "database" else name, action), place


def common(a: Cells, b: Cells) -> tuple[list[Cell], Places, Places]:
    """Return the cells that both sides have, and where each stands in either."""
    places = dict(b.neutral())
    found = [(cell, at, places[cell]) for cell, at in a.neutral() if cell in places]
    in_a, in_b = (np.array([row[at] for row in found], dtype=np.intp) for at in (1, 2))
    return [cell for cell, _, _ in found], in_a, in_b


def group_of(kind: str) -> str:
    """Return the kind of object as far as grants tell it: relation, function, schema, type or database."""
    return "relation" if kind in RELATION_KINDS else "function" if kind in FUNCTION_KINDS else kind


def _changed(a: Cells, b: Cells) -> dict[tuple[str, ...], set[str]]:
    """Return, by object, the roles that may do something else with it on the other side."""
    cells, in_a, in_b = common(a, b)
    found: dict[tuple[str, ...], set[str]] = {}
    for role in set(a.matrix.roles) & set(b.matrix.roles):
        one, other = a.matrix.row(role), b.matrix.row(role)
        changed = (one.allowed[in_a] != other.allowed[in_b]) | (one.after[in_a] != other.after[in_b])
        for at in map(int, np.flatnonzero(changed)):
            found.setdefault(_names(cells[at]), set()).add(role)
    return found


def _names(cell: Cell) -> tuple[str, ...]:
    """Return the kind and the names of a cell's object, as a difference has them."""
    group, schema, name, _ = cell
    if group == "database":
        return group, HERE
    if group == "schema":
        return group, name
    bare, _, arguments = name.partition("(") if group == "function" else (name, "", "")
    return (group, str(schema), bare, arguments.removesuffix(")")) if group == "function" else (group, str(schema), bare)


def named(cell: Cell) -> str:
    """Return the object of a cell as a difference names it."""
    group, schema, name, _ = cell
    if group in ("database", "schema"):
        return quoted(name) if name else ""
    bare, _, arguments = name.partition("(") if group == "function" else (name, "", "")
    return f"{quoted(str(schema))}.{quoted(bare)}{f'({arguments}' if arguments else ''}"
