"""A frame as a table for people. The frame stays raw; only what is shown is formatted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from kit.present import theme
from kit.present.markup import Markup, element, joined
from kit.present.text import counted, number_text, shortened, utc_text, visible

ROW_LIMIT = 50
CELL_LIMIT = 300
LONG_TEXT = 30
_SUFFIXES = {"_bytes": "bytes", "_ms": "ms", "_seconds": "seconds", "_fraction": "fraction"}
_CELL = f"padding:3px 12px 3px 0;vertical-align:top;border-bottom:1px solid {theme.LINE};"


@dataclass(frozen=True, slots=True)
class Table:
    """What a table shows of a frame: units by column, at most `limit` rows, some rows marked."""

    frame: pd.DataFrame
    units: Mapping[str, str | None] = field(default_factory=dict)
    caption: str = ""
    limit: int = ROW_LIMIT
    marked: Collection[int] = ()

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("A table shows at least one row.")

    @property
    def positions(self) -> list[int]:
        """The rows that are shown, by position: the first ones, and marked ones wherever they stand."""
        rows = range(len(self.frame))
        wanted = sorted(position for position in set(self.marked) if position in rows)[: self.limit]
        room = self.limit - len(wanted)
        return sorted([*wanted, *[row for row in rows if row not in set(wanted)][:room]])

    @property
    def hidden_rows(self) -> int:
        """How many rows are not shown."""
        return len(self.frame) - len(self.positions)

    def html(self) -> Markup:
        """Return the table as HTML with inline styles."""
        if self.frame.empty:
            return element("p", f"{self.caption + ': ' if self.caption else ''}no rows.", css="kit-empty")
        parts = [element("caption", self.caption, style="text-align:left;padding:2px 0 6px 0")] if self.caption else []
        body = [self._row(position) for position in self.positions]
        table = element(
            "table",
            *parts,
            self._head(),
            element("tbody", *body),
            style="border-collapse:collapse;font-size:90%",
            css="kit-table",
        )
        return element("div", table, self._more(), style="overflow-x:auto", css="kit-scroll", tabindex="0")

    def text(self) -> str:
        """Return the table as plain text, for terminals and for viewers without HTML."""
        if self.frame.empty:
            return "no rows"
        shown = {
            name: [shortened(self._value(name, p), CELL_LIMIT) for p in self.positions] for name in map(str, self.frame.columns)
        }
        numeric = {name for name in shown if self._numeric(name)}
        lines = _aligned(shown, numeric)
        return "\n".join([*lines, f"… and {counted(self.hidden_rows, 'more row')}"] if self.hidden_rows else lines)

    def _head(self) -> Markup:
        cells = [
            element("th", name, style=_CELL + _aligned_style(self._numeric(name)), scope="col")
            for name in map(str, self.frame.columns)
        ]
        return element("thead", element("tr", *cells))

    def _row(self, position: int) -> Markup:
        weight = "font-weight:bold;" if position in self.marked else ""
        texts = {name: self._value(name, position) for name in map(str, self.frame.columns)}
        cells = [
            element("td", _cell_text(text), style=weight + _CELL + self._cell_style(name) + _width_style(text))
            for name, text in texts.items()
        ]
        return element("tr", *cells, css="kit-marked" if weight else "")

    def _more(self) -> Markup:
        if not self.hidden_rows:
            return Markup("")
        return element("p", f"… and {counted(self.hidden_rows, 'more row')}", style="margin:4px 0", css="kit-more")

    def _cell_style(self, name: str) -> str:
        unbroken = self._numeric(name) or pd.api.types.is_datetime64_any_dtype(self._column(name).dtype)
        return _aligned_style(self._numeric(name)) + (";white-space:nowrap" if unbroken else "")

    def _numeric(self, name: str) -> bool:
        dtype = self._column(name).dtype
        return bool(pd.api.types.is_numeric_dtype(dtype)) and not pd.api.types.is_bool_dtype(dtype)

    def _column(self, name: str) -> pd.Series:
        position = [str(column) for column in self.frame.columns].index(name)
        return self.frame.iloc[:, position]

    def _value(self, name: str, position: int) -> str:
        return value_text(self._column(name).iloc[position], unit_of(name, self.units))


def html_table(
    frame: pd.DataFrame, *, units: Mapping[str, str | None] | None = None, limit: int = ROW_LIMIT, caption: str = ""
) -> Markup:
    """Return the frame as HTML: escaped, numbers to the right and in their units, at most `limit` rows."""
    return Table(frame, units or {}, caption, limit).html()


def text_table(frame: pd.DataFrame, *, units: Mapping[str, str | None] | None = None, limit: int = ROW_LIMIT) -> str:
    """Return the frame as aligned plain text."""
    return Table(frame, units or {}, "", limit).text()


def unit_of(name: str, units: Mapping[str, str | None]) -> str | None:
    """Return the unit of a column: the declared one, else the one its name ends in."""
    ending = next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), None)
    # A name that ends in a unit is the kit's own habit and outranks a declaration in longer words.
    return ending or units.get(name)


def value_text(value: Any, unit: str | None = None) -> str:
    """Return one value for people; nothing known is an en dash."""
    if pd.api.types.is_list_like(value):
        return ", ".join(value_text(item) for item in value)
    if value is None or pd.isna(value):
        return "–"
    if isinstance(value, datetime):
        return utc_text(value)
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if hasattr(value, "__float__") and not isinstance(value, str):
        return number_text(float(value), unit if unit in _KNOWN else None)
    return visible(value)


# Units in more words ("connections; -1 is none") stand in the header of the query, not behind every number.
_KNOWN = frozenset({"bytes", "ms", "milliseconds", "s", "seconds", "fraction", "percent"})


def _cell_text(text: str) -> str | Markup:
    if len(text) <= CELL_LIMIT:
        return text
    summary = element("summary", shortened(text, CELL_LIMIT // 2), style="cursor:pointer")
    return element("details", summary, joined([text]), css="kit-folded")


def _width_style(text: str) -> str:
    """A long text in a crowded table would stand in a column of single words."""
    return ";min-width:260px" if len(text) > LONG_TEXT else ""


def _aligned_style(numeric: bool) -> str:
    return "text-align:right" if numeric else "text-align:left"


def _aligned(columns: Mapping[str, list[str]], numeric: Collection[str]) -> list[str]:
    widths = {name: max(len(name), *map(len, values)) for name, values in columns.items()}
    rows = [[visible(name) for name in columns], *map(list, zip(*columns.values(), strict=True))]
    return [
        "  ".join(_padded(cell, name, widths[name], numeric) for name, cell in zip(columns, row, strict=True)).rstrip()
        for row in rows
    ]


def _padded(cell: str, name: str, width: int, numeric: Collection[str]) -> str:
    return cell.rjust(width) if name in numeric else cell.ljust(width)
