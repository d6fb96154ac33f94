"""What row security leaves of every relation, for one role at a time and all actions on rows at once.

The same rules as in `row_security`, for the matrix: PostgreSQL manual, 5.9 "Row Security Policies", and CREATE VIEW,
"security_invoker"; in the source `check_enable_rls` (rls.c) and `get_row_security_policies` (rowsecurity.c).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kit.analyze.access.role_graph import RoleGraph
from kit.analyze.policies import truth
from kit.evidence.model import Frames

ROW_ACTIONS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# The order of the codes; a fifth value stands for "not known".
ROWS = ("none", "filtered", "all")
NOTHING, FILTERED, EVERYTHING, UNKNOWN = range(4)

Codes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_MAY_PASS, _PASSES, _BARS, _MAY_BAR = 1, 2, 4, 8


def _left_by(bits: int) -> int:
    if not bits & _MAY_PASS or bits & _BARS:
        return NOTHING
    return EVERYTHING if bits & _PASSES and not bits & _MAY_BAR else FILTERED


_LEFT = np.array([_left_by(bits) for bits in range(16)], dtype=np.uint8)
_SHIFTS = np.arange(len(ROW_ACTIONS), dtype=np.int64) * 4


@dataclass(frozen=True, slots=True)
class _Views:
    """Views that read only tables and views before them; what each reads is a run of `used`.

    The tables at `as_owner` are read as the view's owner, and `left_to_owner` is what is left of them: the same for every caller.
    """

    places: Places
    used: Places
    starts: Places
    as_owner: Places
    left_to_owner: Codes

    def left(self, codes: Codes) -> Codes:
        """Return what is left of each view: what is left of all that it reads where that is the same, else a part."""
        read = codes[self.used]
        read[self.as_owner] = self.left_to_owner
        least, most = (np.asarray(reduce(read, self.starts, axis=0)) for reduce in (np.minimum.reduceat, np.maximum.reduceat))
        together: Codes = np.where(least == most, least, np.where(most == UNKNOWN, UNKNOWN, FILTERED)).astype(np.uint8)
        return together


class VisibleRows:
    """What row security leaves of the relations, in the order of the frame `relations`."""

    def __init__(self, frames: Frames, graph: RoleGraph) -> None:
        relations, roles = frames["relations"], frames["roles"]
        self._graph = graph
        self._bypassing = frozenset(roles.loc[roles["bypasses_row_security"].astype(bool), "role_name"]) | graph.superusers
        is_table = relations["kind"].isin(("table", "partitioned table"))
        self._secured = np.flatnonzero((is_table & relations["has_row_security"].astype(bool)).to_numpy(dtype=bool))
        self._owners = _Names.of(relations["owner_name"].iloc[self._secured])
        self._forced = relations["forces_row_security"].to_numpy(dtype=bool)[self._secured]
        self._policies = _Policies(frames, self._secured)
        self._unknown = np.zeros(len(relations), dtype=bool)
        self._mark_unknown(frames)
        self._views = list(self._in_order(frames))

    def codes(self, role: str | None) -> Codes:
        """Return a code (`ROWS`, or UNKNOWN) for every relation and each of `ROW_ACTIONS`; the role None is PUBLIC."""
        codes = self._of_tables(role)
        for views in self._views:
            codes[views.places] = views.left(codes)
        return codes

    def _of_tables(self, role: str | None) -> Codes:
        codes = np.full((len(self._unknown), len(ROW_ACTIONS)), EVERYTHING, dtype=np.uint8)
        if role not in self._bypassing:
            held = self._held(role)
            bound = self._forced | ~self._owners.among(held)
            codes[self._secured[bound]] = self._policies.left(held)[bound]
        codes[self._unknown] = UNKNOWN
        return codes

    def _held(self, role: str | None) -> frozenset[str]:
        if role is None:
            return frozenset()
        # An owner may be no role of the frame: dropped between two queries
        return self._graph.privileges_of(role) if role in self._graph.names else frozenset({role})

    def _in_order(self, frames: Frames) -> Iterator[_Views]:
        """Yield the views that reach a secured table, those that are read first."""
        relations, tables = frames["relations"], cache(self._of_tables)
        owners, is_view = relations["owner_name"].tolist(), (relations["kind"] == "view").tolist()
        as_caller = relations["is_security_invoker"].tolist()
        for reads in _levels(frames, self._secured):
            pairs = [(view, used) for view, read in reads.items() for used in sorted(read)]
            # A view with security_invoker asks for its caller even below one without.
            fixed = [place for place, (view, used) in enumerate(pairs) if not (as_caller[view] or is_view[used])]
            left = [tables(owners[pairs[place][0]])[pairs[place][1]] for place in fixed]
            yield _Views(
                _places(reads),
                _places(used for _, used in pairs),
                _places(np.cumsum([0, *(len(read) for read in reads.values())])[:-1]),
                _places(fixed),
                np.array(left, dtype=np.uint8).reshape(-1, len(ROW_ACTIONS)),
            )

    def _mark_unknown(self, frames: Frames) -> None:
        if "policies" not in frames:
            self._unknown[self._secured] = True
        if "relation_uses" not in frames and len(self._secured):
            self._unknown |= (frames["relations"]["kind"] == "view").to_numpy(dtype=bool)


@dataclass(frozen=True, slots=True)
class _Names:
    """Names, of which many are the same."""

    codes: Places
    distinct: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> _Names:
        """Return the names, each distinct one kept once."""
        codes, distinct = pd.factorize(np.array(list(names), dtype=object))
        return cls(codes, tuple(distinct))

    def among(self, wanted: Container[str]) -> Flags:
        """Return which of them are wanted."""
        return np.array([name in wanted for name in self.distinct], dtype=bool)[self.codes]


class _Policies:
    """The policies of the secured relations, four bits for each action on rows."""

    def __init__(self, frames: Frames, secured: Places) -> None:
        places = {oid: place for place, oid in enumerate(frames["relations"]["relation_oid"].iloc[secured])}
        rows = list(_policy_rows(frames["policies"], places)) if "policies" in frames else []
        rows.sort(key=lambda row: row[0])
        self._count = len(secured)
        self._roles = _Names.of([role for _, role, _ in rows])
        self._bits = np.array([bits for _, _, bits in rows], dtype=np.int64)
        self._places, self._starts = np.unique(np.array([place for place, _, _ in rows], dtype=np.intp), return_index=True)

    def left(self, held: Iterable[str]) -> Codes:
        """Return what they leave to a role that stands for these."""
        bits = np.zeros(self._count, dtype=np.int64)
        if len(self._places):
            applies = self._roles.among({"public", *held})
            bits[self._places] = np.bitwise_or.reduceat(np.where(applies, self._bits, 0), self._starts)
        left: Codes = _LEFT[(bits[:, None] >> _SHIFTS) & 15]
        return left


def _places(places: Iterable[int]) -> Places:
    return np.array(list(places), dtype=np.intp)


def _policy_rows(policies: pd.DataFrame, places: Mapping[str, int]) -> Iterator[tuple[int, str, int]]:
    for row in policies.to_dict("records"):
        if row["relation_oid"] in places:
            bits = sum(_bits(row, action) << int(shift) for action, shift in zip(ROW_ACTIONS, _SHIFTS, strict=True))
            yield from ((places[row["relation_oid"]], role, bits) for role in row["role_names"])


def _bits(policy: Mapping[str, Any], action: str) -> int:
    clause = "check" if action == "INSERT" and policy["has_with_check"] else "using"
    if policy["command"] not in ("ALL", action) or not policy["has_with_check" if clause == "check" else "has_using"]:
        return 0
    expression = policy.get(f"{clause}_expression")
    always = truth(expression) if isinstance(expression, str) else None
    if policy["is_permissive"]:
        return 0 if always is False else _MAY_PASS | (_PASSES if always else 0)
    return 0 if always else _MAY_BAR | (_BARS if always is False else 0)


def _levels(frames: Frames, secured: Places) -> Iterator[dict[int, set[int]]]:
    """Yield what the views read that reach a secured table; those in a circle (by a rule's hand) never come."""
    if "relation_uses" not in frames:
        return
    reads = _reads(frames["relation_uses"], frames["relations"])
    waiting = _reaching(reads, set(secured.tolist()))
    while ready := sorted(view for view in waiting if not reads[view] & waiting):
        yield {view: reads[view] for view in ready}
        waiting -= set(ready)


def _reads(uses: pd.DataFrame, relations: pd.DataFrame) -> dict[int, set[int]]:
    """Return the places of the relations that each view reads; the server's own hide no rows and are left out."""
    places = {oid: place for place, oid in enumerate(relations["relation_oid"])}
    views = set(relations.loc[relations["kind"] == "view", "relation_oid"])
    reads: dict[int, set[int]] = defaultdict(set)
    for view, used in zip(uses["user_oid"], uses["relation_oid"], strict=True):
        # A policy's user is a table, and a materialized view keeps rows of its own.
        if view in views and used in places:
            reads[places[view]].add(places[used])
    return dict(reads)


def _reaching(reads: Mapping[int, set[int]], goals: set[int]) -> set[int]:
    readers: dict[int, set[int]] = defaultdict(set)
    for view, used in reads.items():
        for place in used:
            readers[place].add(view)
    found: set[int] = set()
    waiting = list(goals)
    while waiting:
        new = readers.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found
