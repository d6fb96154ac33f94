"""The matrix: what every role may do with every object, how, and what row security leaves it.

The rules are those of `privileges`, `role_graph` and `visible_rows`; the tests hold every cell against the server's own
functions. Eight million verdicts are arrays of numbers, and never objects of Python's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kit.analyze.access.cells import ACTIONS, KINDS, RELATION_KINDS, Cells, Layout, all_objects, schemas
from kit.analyze.access.grantees import Flags, Grantees, Numbers, Standing, Words
from kit.analyze.access.role_graph import RoleGraph
from kit.analyze.access.visible_rows import FILTERED, NOTHING, ROW_ACTIONS, ROWS, UNKNOWN, VisibleRows
from kit.analyze.exposure import PUBLIC, Exposure
from kit.analyze.findings import quoted
from kit.errors import UnknownRole, UsageError
from kit.evidence.model import Frames

# The evidence it needs; functions, types, columns' grants and what views read are used where they are there.
NEEDS = (
    "roles", "role_memberships", "databases", "database_grants", "schemas", "schema_grants", "relations", "relation_grants",
)  # fmt: skip
_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "kind", "schema", "name", "action")),
        ("allowed", pa.bool_()),
        ("after_set_role", pa.bool_()),
        ("rows", _TEXT),
        ("via", _TEXT),
    ]
)
COUNTED = ("allowed", "after_set_role", "filtered", "hidden")


def matrix(
    frames: Frames,
    roles: Iterable[str] | None = None,
    actions: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
) -> pa.Table:
    """Return one row per role, object and action, with columns as in `SCHEMA`; all of them where none are named.

    PUBLIC is the role `public`. `via` says how: superuser, owner, owner through b, grant, grant to b, PUBLIC or a predefined
    role (`on some columns` where it is on columns only); where `after_set_role`, the role to become. `rows` is null
    where the action is not allowed or not one on rows, and where the evidence does not tell.
    """
    return pa.Table.from_batches(Matrix(frames, roles, actions, kinds).batches(), SCHEMA)


def schema_matrix(frames: Frames, roles: Iterable[str] | None = None, actions: Iterable[str] = ROW_ACTIONS) -> pd.DataFrame:
    """Return one row per role, schema and action: of how many relations, how many are allowed, filtered and hidden.

    `filtered` and `hidden` are among the allowed: row security leaves a part of their rows, or none.
    """
    found = Matrix(frames, roles, actions, RELATION_KINDS)
    schema, action = found.cells.schema, found.cells.action
    width = len(action.dictionary)
    groups = schema.indices.to_numpy() * width + action.indices.to_numpy()
    total = np.bincount(groups)
    some = np.flatnonzero(total)
    nothing = np.zeros((len(COUNTED), 0), dtype=np.int64)
    counts = np.concatenate([nothing, *(_counted(found, role, groups)[:, some] for role in found.roles)], axis=1)
    groups_of_a_role = {
        "schema": schema.dictionary.take(pa.array(some // width)).to_pylist(),
        "action": action.dictionary.take(pa.array(some % width)).to_pylist(),
        "relations": total[some].tolist(),
    }
    columns = {name: values * len(found.roles) for name, values in groups_of_a_role.items()}
    role = {"role": np.repeat(np.array(found.roles, dtype=object), len(some))}
    return pd.DataFrame({**role, **columns, **dict(zip(COUNTED, counts, strict=True))})


def reach(frames: Frames, roles: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the rows of the matrix that are allowed; those of the exposed roles where none are named.

    That everybody may use the server's own schemas is left out.
    """
    frame = matrix(frames, Exposure(frames).roles if roles is None else roles).to_pandas()
    frame = frame[frame["allowed"] & ~((frame["kind"] == "schema") & frame["name"].isin(("pg_catalog", "information_schema")))]
    return frame.drop(columns=["allowed", "after_set_role"]).astype("string").reset_index(drop=True)


@dataclass(frozen=True, slots=True)
class Row:
    """The matrix for one role: what is allowed, at once and after SET ROLE, and how, as places in the words."""

    allowed: Flags
    after: Flags
    via: Numbers


class Matrix:
    """The matrix of one database, made role by role: `kit access --matrix` writes it without holding it all."""

    def __init__(
        self,
        frames: Frames,
        roles: Iterable[str] | None = None,
        actions: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
    ) -> None:
        databases = frames["databases"]
        owner = str(databases.loc[databases["is_current"].astype(bool), "owner_name"].iloc[0])
        version = frames.identity.server_version if frames.identity else 0
        names = [str(name) for name in frames["roles"]["role_name"]]
        self.roles = _chosen("role", roles, (PUBLIC, *names))
        self._graph = RoleGraph(frames["roles"], frames["role_memberships"], owner, version)
        self._grantees = Grantees(names)
        self._words = Words(names, frames["role_memberships"]["role_name"])
        wanted = _chosen("action", actions, ACTIONS), _chosen("kind", kinds, KINDS)
        self.cells = self._cells(frames, Layout(all_objects(frames), *wanted, version))
        self._gates = self._cells(frames, Layout([schemas(frames)], ("USAGE",), ("schema",), version))
        self._visible = VisibleRows(frames, self._graph)
        self._has_rows = np.flatnonzero(self.cells.rows >= 0)
        self._allowed_to = cache(lambda role: self._held(role)[0])

    def __len__(self) -> int:
        return len(self.roles) * len(self.cells)

    def row(self, role: str) -> Row:
        """Return what the role may do, cell by cell."""
        allowed, via = self._held(role)
        after = np.zeros(len(self.cells), dtype=np.bool_)
        for other in self._reachable(role):
            new = self._allowed_to(other) & ~(allowed | after)
            via[new] = self._words.became[self._grantees.place(other)]
            after |= new
        return Row(allowed, after, via)

    def rows(self, role: str) -> npt.NDArray[np.uint8]:
        """Return what row security leaves the role in each cell, as a place in ROWS; else UNKNOWN."""
        codes = np.full(len(self.cells), UNKNOWN, dtype=np.uint8)
        left = self._visible.codes(None if role == PUBLIC else role).ravel()
        codes[self._has_rows] = left[self.cells.rows[self._has_rows]]
        return codes

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of each role as a batch; what does not differ between roles is shared."""
        cells, names, left = self.cells, pa.array(self.roles, pa.string()), pa.array(ROWS, pa.string())
        words = pa.array(self._words.all, pa.string())
        for place, role in enumerate(self.roles):
            row, codes = self.row(role), self.rows(role)
            columns = [
                _encoded(np.full(len(cells), place), names), cells.kind, cells.schema, cells.name, cells.action,
                pa.array(row.allowed), pa.array(row.after),
                _encoded(codes, left, ~row.allowed | (codes == UNKNOWN)), _encoded(row.via, words, ~(row.allowed | row.after)),
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def _cells(self, frames: Frames, layout: Layout) -> Cells:
        return layout.cells(self._grantees, frames["schemas"]["schema_name"])

    def _held(self, role: str) -> tuple[Flags, Numbers]:
        """Return what the role is allowed without SET ROLE, and how."""
        if role in self._graph.superusers:
            return np.ones(len(self.cells), dtype=np.bool_), np.full(len(self.cells), self._words.superuser, dtype=np.int32)
        members = () if role == PUBLIC else self._graph.nearest(role)
        standing = Standing(self._grantees, self._words, members)
        # The last two places are those of CLOSED and OPEN.
        usage = np.append(standing.keys(self._gates.granted) != standing.none, [False, True])
        keys = standing.keys(self.cells.granted)
        return (keys != standing.none) & usage[self.cells.gate], standing.words[keys]

    def _reachable(self, role: str) -> list[str]:
        """Return the roles worth a SET ROLE, the nearest first: of what it inherits, only a superuser can do more."""
        if role == PUBLIC or role in self._graph.superusers:
            return []
        inherited = self._graph.privileges_of(role) - self._graph.superusers
        return [other for other in self._graph.nearest(role, by_set_role=True) if other not in inherited]


def _counted(matrix: Matrix, role: str, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return, for each group of cells, how many are as in COUNTED."""
    row, codes = matrix.row(role), matrix.rows(role)
    flags = (row.allowed, row.after, row.allowed & (codes == FILTERED), row.allowed & (codes == NOTHING))
    width = int(groups.max(initial=-1)) + 1
    return np.stack([np.bincount(groups[flag], minlength=width) for flag in flags])


def _encoded(codes: npt.NDArray[np.integer], words: pa.Array, is_null: Flags | None = None) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=is_null), words)


def _chosen(word: str, wanted: Iterable[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return those wanted, all where none are named; UsageError with the nearest name for one that is not known."""
    chosen = tuple(known if wanted is None else dict.fromkeys(wanted))
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {quoted(near[0])}?" if near else f"Known: {', '.join(known[:20])}."
            error = UnknownRole if word == "role" else UsageError
            raise error(f"There is no {word} {name!r}.", hint)
    return chosen
