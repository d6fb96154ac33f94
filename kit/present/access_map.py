"""Who can reach what, by role and schema: small enough to read at 200 roles and 10,000 tables.

Roles that can do the same share a row, schemas that look the same a column: a map of names, not of repetitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kit.analyze.exposure import DEFAULT_ROLES, PUBLIC
from kit.present.access_words import one_line
from kit.present.displays import Sentence
from kit.present.plots import CellKind, Figure, cells
from kit.present.text import counted

ROW_LIMIT, COLUMN_LIMIT = 30, 8
NAME_LIMIT = 24

# No red: that a role reaches nothing is how most cells should be.
KINDS = {
    "all": CellKind("all", "●", "#2e6b3f"),
    "some": CellKind("some", "◐", "#3f5f8f"),
    "filtered": CellKind("filtered by row security", "▽", "#8a5300"),
    "none": CellKind("none", "–", "#6f767e"),
}
_DEEDS = {"SELECT": "read", "INSERT": "insert into", "UPDATE": "update", "DELETE": "delete from"}
_NONE: Mapping[str, Any] = {"relations": 0, "allowed": 0, "after_set_role": 0, "filtered": 0, "hidden": 0}


@dataclass(frozen=True, slots=True)
class Group:
    """Names that look the same in every cell, and what they look like."""

    names: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def label(self) -> str:
        """The first name, with how many more there are."""
        first = "PUBLIC, everybody" if self.names[0] == PUBLIC else one_line(self.names[0], NAME_LIMIT)
        return f"{first} + {len(self.names) - 1}" if len(self.names) > 1 else first


def access_by_schema(frame: pd.DataFrame, *, action: str = "SELECT", focus: Collection[str] = ()) -> Figure | Sentence:
    """Draw roles against schemas for one action; the frame is that of `schema_matrix`.

    Roles of `focus` stand first. What does not fit is counted in the figure's words.
    """
    chosen = frame[frame["action"] == action]
    if chosen.empty:
        return Sentence(f"No role and schema were compared for {action}.")
    found = {(str(row["role"]), str(row["schema"])): row for row in chosen.to_dict("records")}
    roles, schemas = _names(chosen["role"], focus), _names(chosen["schema"])
    columns = _ranked(_grouped(schemas, lambda schema: [_word(found.get((role, schema), _NONE)) for role in roles]))
    shown = [group.names[0] for group in columns[:COLUMN_LIMIT]]
    rows = _ranked(_grouped(roles, lambda role: [_word(found.get((role, schema), _NONE)) for schema in shown]), focus)
    drawn = rows[:ROW_LIMIT]
    hover = [[_told(row, column, found) for column in columns[:COLUMN_LIMIT]] for row in drawn]
    words = [[KINDS[word] for word in row.words] for row in drawn]
    labels = [row.label for row in drawn], [column.label for column in columns[:COLUMN_LIMIT]]
    alt = _alternative(found, roles, schemas) + _left_out(rows, ROW_LIMIT, "role") + _left_out(columns, COLUMN_LIMIT, "schema")
    return cells(f"Who can {_DEEDS.get(action, action)} what", *labels, words, hover, tuple(KINDS.values()), alt)


def _names(column: pd.Series, focus: Collection[str] = ()) -> list[str]:
    return sorted({str(name) for name in column}, key=lambda name: (_weight(name, focus), name))


def _weight(name: str, focus: Collection[str]) -> int:
    """Return how far from the reader's mind a name is: asked for, reachable by everybody, usual, the server's own."""
    if name in focus:
        return 0
    return 1 if name in DEFAULT_ROLES else 3 if name.startswith("pg_") else 2


def _word(row: Mapping[str, Any]) -> str:
    if not row["allowed"]:
        return "none"
    if row["allowed"] < row["relations"]:
        return "some"
    return "filtered" if row["filtered"] + row["hidden"] else "all"


def _grouped(names: Iterable[str], words_of: Any) -> list[Group]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(words_of(name)), []).append(name)
    return [Group(tuple(members), words) for words, members in groups.items()]


def _ranked(groups: Iterable[Group], focus: Collection[str] = ()) -> list[Group]:
    """Return the groups by what they tell: by weight, then the mixed ones, then all alike, nothing at all last."""
    return sorted(
        groups, key=lambda g: (_weight(g.names[0], focus), -len(set(g.words)), set(g.words) == {"none"}, -len(g.names), g.names)
    )


def _told(row: Group, column: Group, found: Mapping[tuple[str, str], Mapping[Any, Any]]) -> list[str]:
    cell = found.get((row.names[0], column.names[0]), _NONE)
    lines = [row.label, column.label, f"{cell['allowed']} of {counted(int(cell['relations']), 'relation')}"]
    more = {"after_set_role": "more after SET ROLE", "filtered": "filtered by row security", "hidden": "hidden by row security"}
    return [*lines, *(f"{cell[key]} {words}" for key, words in more.items() if cell[key])]


def _alternative(found: Mapping[tuple[str, str], Mapping[Any, Any]], roles: Sequence[str], schemas: Sequence[str]) -> str:
    words = [_word(row) for row in found.values()]
    counts = ", ".join(f"{KINDS[word].sign} {KINDS[word].word} {words.count(word)}" for word in KINDS if word in words)
    alike = " Names that look the same share a line (+ n)." if len(roles) > 1 else ""
    return f"{counted(len(roles), 'role')} and {counted(len(schemas), 'schema')}; pairs: {counts}.{alike}"


def _left_out(groups: Sequence[Group], limit: int, noun: str) -> str:
    left = sum(len(group.names) for group in groups[limit:])
    return f" And {counted(left, f'more {noun}')}." if left else ""
