"""The cells of the matrix: every object with every action that fits its kind, and who was granted it.

The cells are the same for every role, so that a role costs one pass over the grants, and no object of Python's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kit.analyze.access.grantees import Flags, Granted, Grantees, Places, slot
from kit.analyze.access.predefined import GIVEN, MAINTAIN_SINCE
from kit.analyze.access.visible_rows import ROW_ACTIONS
from kit.evidence.model import Frames

ACTIONS = (
    *ROW_ACTIONS, "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "USAGE", "CREATE", "EXECUTE", "CONNECT", "TEMPORARY",
)  # fmt: skip
RELATION_KINDS = ("table", "partitioned table", "view", "materialized view", "foreign table", "sequence")
FUNCTION_KINDS = ("function", "procedure", "aggregate", "window function")
KINDS = (*RELATION_KINDS, "schema", *FUNCTION_KINDS, "type", "database")

OPEN, CLOSED = -1, -2

_TABLE_ACTIONS = frozenset(ACTIONS[:8])
_FITTING = {
    **dict.fromkeys(RELATION_KINDS, _TABLE_ACTIONS),
    "sequence": frozenset({"USAGE", "SELECT", "UPDATE"}),
    "schema": frozenset({"USAGE", "CREATE"}),
    **dict.fromkeys(FUNCTION_KINDS, frozenset({"EXECUTE"})),
    "type": frozenset({"USAGE"}),
    "database": frozenset({"CONNECT", "CREATE", "TEMPORARY"}),
}


@dataclass(frozen=True, slots=True)
class Cells:
    """Parallel arrays, one place a cell: what it is about, below which schema it stands, and who holds it.

    A gate is the place of a schema, or OPEN, or CLOSED.
    `rows` is the place of the cell in what row security says (relation by action), or -1.
    """

    kind: pa.DictionaryArray
    schema: pa.DictionaryArray
    name: pa.DictionaryArray
    action: pa.DictionaryArray
    gate: Places
    rows: Places
    granted: Granted

    def __len__(self) -> int:
        return len(self.gate)


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one evidence frame: key, kind, schema, name, owner, and whether they have no list of their own.

    `grants` are frames of key, grantee and privileges, with whether they are of columns; `is_public` says that
    an object without a list of its own is open to PUBLIC.
    """

    frame: pd.DataFrame
    grants: tuple[tuple[pd.DataFrame, bool], ...]
    is_public: bool = False


def all_objects(frames: Frames) -> list[Objects]:
    """Return what there is to be granted, as far as it was captured; the relations first."""
    columns = ((frames["column_grants"], True),) if "column_grants" in frames else ()
    found = [_by_oid(frames, "relation", ((frames["relation_grants"], False), *columns)), schemas(frames)]
    for word in ("function", "type"):
        if {f"{word}s", f"{word}_grants"} <= frames.keys():
            found.append(_by_oid(frames, word, ((frames[f"{word}_grants"], False),)))
    return [*found, _by_name(frames, "database")]


def schemas(frames: Frames) -> Objects:
    """Return the schemas, in the order of their frame."""
    return _by_name(frames, "schema")


def _by_name(frames: Frames, word: str) -> Objects:
    # The evidence of their grants has the defaults in it.
    frame, key = frames[f"{word}s"], f"{word}_name"
    schema = frame[key] if word == "schema" else None
    return Objects(_described(frame, key, word, schema, frame[key], False), ((_granted(frames[f"{word}_grants"], key), False),))


def _by_oid(frames: Frames, word: str, grants: tuple[tuple[pd.DataFrame, bool], ...]) -> Objects:
    frame, key = frames[f"{word}s"], f"{word}_oid"
    if word == "type":
        # A multirange has no privileges of its own.
        frame = frame[frame["kind"] != "multirange"].assign(kind="type").reset_index(drop=True)
    name = frame[f"{word}_name"]
    if word == "function":
        name = name + "(" + frame["arguments"] + ")"
    described = _described(frame, key, frame["kind"], frame["schema_name"], name, frame["has_default_acl"].astype(bool))
    return Objects(described, tuple((_granted(rows, key), of_columns) for rows, of_columns in grants), word != "relation")


def _described(frame: pd.DataFrame, key: str, kind: Any, schema: Any, name: Any, has_default_acl: Any) -> pd.DataFrame:
    columns = {"key": frame[key], "kind": kind, "schema": schema, "name": name, "owner": frame["owner_name"]}
    return pd.DataFrame({**columns, "has_default_acl": has_default_acl})


def _granted(grants: pd.DataFrame, key: str) -> pd.DataFrame:
    return pd.DataFrame({"key": grants[key], "grantee": grants["grantee_name"], "privileges": grants["privileges"]})


class Layout:
    """Which cell stands where: the actions that were asked for, on the objects of the kinds that were."""

    def __init__(self, found: Sequence[Objects], actions: Collection[str], kinds: Collection[str], version: int) -> None:
        self.found = found
        self.table = pd.concat([item.frame for item in found], ignore_index=True)
        self.actions = [name for name in ACTIONS if name in actions and (name != "MAINTAIN" or version >= MAINTAIN_SINCE)]
        fitting = {kind: [kind in kinds and name in _FITTING[kind] for name in self.actions] for kind in KINDS}
        fits = np.array([fitting[kind] for kind in self.table["kind"]], dtype=bool).reshape(len(self.table), len(self.actions))
        self.objects, self.positions = np.nonzero(fits)
        self.numbers = np.full(fits.shape, -1, dtype=np.intp)
        self.numbers[fits] = np.arange(len(self.objects))

    def cells(self, grantees: Grantees, schema_names: pd.Series) -> Cells:
        """Return the cells, each below one of these schemas or of none."""
        return Cells(
            **{name: self._labels(name) for name in ("kind", "schema", "name")},
            action=pa.DictionaryArray.from_arrays(pa.array(self.positions, pa.int32()), pa.array(self.actions, pa.string())),
            gate=self._gates(schema_names),
            rows=self._rows(),
            granted=self._grants(grantees),
        )

    def _labels(self, column: str) -> pa.DictionaryArray:
        return (
            pa.array(self.table[column].astype(object), pa.string(), from_pandas=True)
            .dictionary_encode()
            .take(pa.array(self.objects))
        )

    def _gates(self, schema_names: pd.Series) -> Places:
        below = self.table["schema"].where(self.table["kind"] != "schema", None).astype(object)
        found = pd.Index(schema_names.astype(object)).get_indexer(pd.Index(below))
        # Other sessions' temporary schemas are in no evidence; nobody is let in.
        found[(found < 0) & below.notna().to_numpy(dtype=bool)] = CLOSED
        return np.asarray(found, dtype=np.intp)[self.objects]

    def _rows(self) -> Places:
        places = np.array([ROW_ACTIONS.index(name) if name in ROW_ACTIONS else -1 for name in self.actions], dtype=np.intp)
        column = places[self.positions]
        has_rows = self.table["kind"].isin(RELATION_KINDS[:-1]).to_numpy(dtype=bool)[self.objects] & (column >= 0)
        return np.where(has_rows, self.objects * len(ROW_ACTIONS) + column, -1)

    def _given(self, rule: Mapping[str, Collection[str]]) -> Flags:
        kinds, found = self.table["kind"], np.zeros(len(self.objects), dtype=bool)
        for word, privileges in rule.items():
            of_kind = kinds.isin(RELATION_KINDS if word == "relation" else (word,)).to_numpy(dtype=bool)
            found |= of_kind[self.objects] & np.isin(
                self.positions, [self.actions.index(p) for p in privileges if p in self.actions]
            )
        return found

    def _grants(self, grantees: Grantees) -> Granted:
        pairs = [pair for first, item in self._parts() for pair in self._entries(first, item, grantees)]
        cells, slots = (np.concatenate(side) for side in zip(*pairs, strict=True))
        order = np.argsort(cells, kind="stable")
        granted, starts = np.unique(cells[order], return_index=True)
        given = {role: np.flatnonzero(self._given(GIVEN[role])) for role in GIVEN}
        return Granted(len(self.objects), granted, starts, slots[order], given)

    def _parts(self) -> Iterator[tuple[int, Objects]]:
        first = 0
        for item in self.found:
            yield first, item
            first += len(item.frame)

    def _entries(self, first: int, item: Objects, grantees: Grantees) -> Iterator[tuple[Places, Places]]:
        """Yield cells with the slots of those who have the privilege: by grants, and by having no list."""
        owners = grantees.places(item.frame["owner"])
        keys = pd.Index(item.frame["key"].astype(object))
        for grants, of_columns in item.grants:
            rows, positions = _flattened(grants["privileges"], self.actions)
            places = keys.get_indexer(pd.Index(grants["key"].astype(object)))[rows]
            numbers = np.where((places >= 0) & (positions >= 0), self.numbers[first + places, positions], -1)
            holders = grantees.places(grants["grantee"])[rows]
            slots = slot(holders, is_owner=(owners[places] == holders) & (not of_columns), is_column=of_columns)
            yield numbers[numbers >= 0], slots[numbers >= 0]
        default = np.flatnonzero(item.frame["has_default_acl"].to_numpy(dtype=bool))
        numbers = self.numbers[first + default]
        everybody = [slot(np.full(len(default), grantees.public))] if item.is_public else []
        for slots in (slot(owners[default], is_owner=True), *everybody):
            yield numbers[numbers >= 0], np.broadcast_to(slots[:, None], numbers.shape)[numbers >= 0]


def _flattened(privileges: pd.Series, actions: Sequence[str]) -> tuple[Places, Places]:
    """Return, for every single privilege, the row that grants it and its place among the actions, or -1."""
    lists = pa.array(privileges, pa.list_(pa.string()))
    positions = pc.fill_null(pc.index_in(pc.list_flatten(lists), value_set=pa.array(actions, pa.string())), -1)
    return pc.list_parent_indices(lists).to_numpy().astype(np.intp), positions.to_numpy().astype(np.intp)
