"""Columns that a statement names and the relation does not have (42703)."""

from __future__ import annotations

import difflib

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import Gate, Question
from kit.analyze.access.holding import WHOLE_ROW
from kit.analyze.findings import quoted

SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def missing_columns(catalog: Catalog, question: Question, relation: Relation) -> tuple[Gate, tuple[str, ...]] | None:
    """Return the failed gate and near names, or None where all are there or the columns were not captured."""
    known = catalog.columns.get(relation.oid)
    if not known:
        return None
    wanted = {*(question.columns or ()), *(question.read_columns or ())} - {WHOLE_ROW, *SYSTEM_COLUMNS}
    missing = sorted(wanted - set(known))
    if not missing:
        return None
    near = tuple(dict.fromkeys(name for column in missing for name in _near(column, known)))
    like = f"; near it: {', '.join(quoted(name) for name in near)}" if near else ""
    names = ", ".join(quoted(column) for column in missing)
    because = f"{relation.qualified} has no column {names}{like}"
    return Gate("name resolution", "failed", because), tuple(quoted(name) for name in near)


def _near(column: str, known: list[str]) -> list[str]:
    by_letters = {name.lower(): name for name in known}
    return [by_letters[match] for match in difflib.get_close_matches(column.lower(), by_letters, n=3, cutoff=0.7)]
