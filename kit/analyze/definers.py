"""Views that read as their owner: which tables with row security they show in full, whoever asks.

PostgreSQL manual, CREATE VIEW: a view reads as its owner unless it has `security_invoker` (since 15), and one that has it
reads as whoever runs the query even where another view stands above it. So what a view gives away comes
through views that read as their owners, all the way down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.analyze.access.privileges import mask
from kit.analyze.exposure import Exposure
from kit.evidence.model import Frames

Record = Mapping[str, Any]
_SELECT = mask(("SELECT",))


class DefinerViews:
    """The views of a database, and the protected tables that each shows without their policies."""

    def __init__(self, frames: Frames, exposure: Exposure) -> None:
        self._exposure = exposure
        relations, uses = frames["relations"], frames["relation_uses"]
        wanted = uses[uses["user_kind"] == "view"]
        self._places = {oid: place for place, oid in enumerate(relations["relation_oid"])}
        known = relations[relations["relation_oid"].isin({*wanted["user_oid"], *wanted["relation_oid"]})]
        self._relations: dict[str, Record] = {row["relation_oid"]: row for row in known.to_dict("records")}
        self._used: dict[str, list[str]] = {}
        for view, used in zip(wanted["user_oid"], wanted["relation_oid"], strict=True):
            self._used.setdefault(view, []).append(used)
        self._shown: dict[str, frozenset[str]] = {}

    def __iter__(self) -> Iterator[tuple[int, Record, list[Record]]]:
        """Yield every view that shows protected tables: its place in the frame of relations, itself, the tables."""
        for oid in self._used:
            shown = self._tables(oid) if oid in self._relations else ()
            if shown:
                tables = [self._relations[table] for table in shown]
                yield self._places[oid], self._relations[oid], sorted(tables, key=lambda row: self._places[row["relation_oid"]])

    def place(self, table: Record) -> int:
        """Return the table's place in the frame of relations."""
        return self._places[table["relation_oid"]]

    def _tables(self, oid: str) -> frozenset[str]:
        if oid not in self._shown:
            self._shown[oid] = frozenset()  # a view cannot read itself, but hostile evidence might say so
            self._shown[oid] = self._computed(self._relations[oid])
        return self._shown[oid]

    def _computed(self, view: Record) -> frozenset[str]:
        if view["is_security_invoker"]:
            return frozenset()
        found: set[str] = set()
        for oid in self._used.get(view["relation_oid"], ()):
            used = self._relations.get(oid)
            if used is None or not self._may_read(view["owner_name"], oid):
                continue
            if used["kind"] == "view":
                found |= self._tables(oid)
            elif used["has_row_security"] and self._is_exempt(view["owner_name"], used):
                found.add(oid)
        return frozenset(found)

    def _may_read(self, role: str, oid: str) -> bool:
        access = self._exposure.access
        return bool((access.relation_privileges(role) | access.column_privileges(role))[self._places[oid]] & _SELECT)

    def _is_exempt(self, role: str, table: Record) -> bool:
        return self._exposure.is_exempt(role, table["owner_name"], is_forced=bool(table["forces_row_security"]))
