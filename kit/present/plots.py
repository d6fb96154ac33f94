"""The few kinds of chart, as plain plotly JSON: deterministic, small, safe against hostile names.

Dictionaries on purpose: plotly's objects would add a default template of 6 kB, a second of import and
base64 arrays that no one can compare; a test runs every figure through plotly's validators instead.
Names never become axis values (plotly would read "2024-01-01" as a date and "<a href=…>" as a link): the
axis counts positions, and the names are its tick texts, escaped and cut.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, takewhile
from typing import Any

from typing_extensions import override

from kit.analyze.document import ChangeEntry
from kit.present import theme
from kit.present.displays import Display
from kit.present.markup import Markup, paragraph
from kit.present.text import bytes_text, milliseconds_text, plain_utc, shortened, utc_text, visible

PLOTLY_MIME = "application/vnd.plotly.v1+json"
BAR_LIMIT = 15
LABEL_LIMIT = 44
Written = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Figure(Display):
    """A plotly figure as JSON, and the one sentence that says what it shows."""

    json: dict[str, Any]
    alt: str

    @override
    def html(self) -> Markup:
        return paragraph(self.alt)

    @override
    def text(self) -> str:
        return visible(self.alt)

    @override
    def bundle(self) -> dict[str, Any]:
        # No text/html: viewers prefer it to the figure, and it would have to carry 4.8 MB of plotly.js.
        return {PLOTLY_MIME: self.json, "text/plain": self.text()}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its length, what the pointer shows beside them, and its colour."""

    label: str
    value: float
    note: str = ""
    colour: str = theme.NEUTRAL


@dataclass(frozen=True, slots=True)
class Series:
    """One part of stacked bars."""

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class CellKind:
    """What a cell can be: its word in the legend, its sign in the cell, its colour."""

    word: str
    sign: str
    colour: str


def bars(title: str, drawn: Sequence[Bar], alt: str, written: Written) -> Figure:
    """Return horizontal bars, the first on top, with the value written at each."""
    trace = {
        **_horizontal([bar.value for bar in drawn]),
        "marker": {"color": [bar.colour for bar in drawn]},
        "text": [f" {written(bar.value)}" for bar in drawn],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": [_hover(bar.label, written(bar.value), bar.note) for bar in drawn],
    }
    layout = _bar_layout(title, [bar.label for bar in drawn], max(bar.value for bar in drawn), written)
    return Figure({"data": [trace], "layout": layout, "config": theme.CONFIG}, alt)


def stacked(title: str, labels: Sequence[str], series: Sequence[Series], alt: str, written: Written) -> Figure:
    """Return horizontal bars of several parts, the parts named in a legend."""
    traces = [
        {
            **_horizontal(part.values),
            "name": safe(part.name),
            "marker": {"color": part.colour},
            "hovertext": [_hover(label, f"{part.name}: {written(v)}") for label, v in zip(labels, part.values, strict=True)],
        }
        for part in series
    ]
    top = max(sum(values) for values in zip(*(part.values for part in series), strict=True))
    layout = _bar_layout(title, labels, top, written, legend=True) | {"barmode": "stack", "showlegend": True}
    return Figure({"data": traces, "layout": layout, "config": theme.CONFIG}, alt)


def cells(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    kinds: Sequence[Sequence[CellKind]],
    hover: Sequence[Sequence[Sequence[str]]],
    legend: Sequence[CellKind],
    alt: str,
) -> Figure:
    """Return a field of cells, each with the sign of its kind in it, and a legend of the kinds in words."""
    codes, signs = [[legend.index(kind) for kind in row] for row in kinds], [[kind.sign for kind in row] for row in kinds]
    told = [[_hover(*lines) for lines in row] for row in hover]
    trace = _field(codes, signs, told, [kind.colour for kind in legend])
    layout = _layout(title, len(rows), 26) | {"yaxis": _named(rows), "xaxis": _named(columns) | _BELOW}
    layout["xaxis"] |= {"tickangle": -40 if len(columns) > 3 else 0}
    layout |= {"showlegend": True, "margin": theme.MARGIN | {"t": 70}, "height": layout["height"] + 120}
    return Figure({"data": [trace, *map(_key, legend)], "layout": layout, "config": theme.CONFIG}, alt)


def timeline(changes: Sequence[ChangeEntry], alt: str, since: datetime | None, until: datetime | None) -> Figure:
    """Return the changes as points on one UTC axis, a row per kind; a line leads to when one took effect."""
    kinds = list(dict.fromkeys(change.kind for change in changes))
    points = {
        **_scatter([plain_utc(c.at) for c in changes], [kinds.index(c.kind) for c in changes], "markers"),
        "marker": {
            "size": 11,
            "color": [_outcome_colour(c) for c in changes],
            "symbol": [_outcome_symbol(c) for c in changes],
        },
        "hoverinfo": "text",
        "hovertext": [_hover(utc_text(c.at), c.kind, c.summary, c.outcome or "") for c in changes],
    }
    layout = _layout("Changes", len(kinds), 34) | {"yaxis": _named(kinds), "xaxis": _utc_axis()}
    layout |= {"shapes": _window(since, until), "margin": theme.MARGIN | {"b": 64}, "height": layout["height"] + 24}
    return Figure({"data": [*_delays(changes, kinds), points], "layout": layout, "config": theme.CONFIG}, alt)


def safe(text: object) -> str:
    """Return text that plotly shows as it is: its own small markup and its entities are escaped."""
    return html.escape(visible(text), quote=False)


def _horizontal(values: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(values))),
        "x": [float(v) for v in values],
        "hoverinfo": "text",
    }


def _scatter(x: list[Any], y: list[Any], mode: str) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "x": x, "y": y, "showlegend": False}


_BELOW = {"side": "bottom", "autorange": True, "gridcolor": "rgba(0,0,0,0)"}


def _field(codes: list[list[int]], texts: list[list[str]], hover: list[list[str]], colours: Sequence[str]) -> dict[str, Any]:
    scale = {"zmin": 0, "zmax": len(colours) - 1, "colorscale": _steps(colours), "showscale": False, "xgap": 2, "ygap": 2}
    words = {"text": texts, "texttemplate": "%{text}", "textfont": {"color": "#ffffff"}}
    return {"type": "heatmap", "z": codes, **scale, **words, "hoverinfo": "text", "hovertext": hover}


def _key(kind: CellKind) -> dict[str, Any]:
    """Return an entry of the legend: a trace without a point."""
    marker = {"symbol": "square", "size": 12, "color": kind.colour}
    return _scatter([None], [None], "markers") | {"name": safe(f"{kind.sign} {kind.word}"), "marker": marker, "showlegend": True}


def _delays(changes: Sequence[ChangeEntry], kinds: Sequence[str]) -> list[dict[str, Any]]:
    late = [c for c in changes if c.effective_at and c.effective_at != c.at]
    if not late:
        return []
    x = [moment for c in late for moment in (plain_utc(c.at), plain_utc(c.effective_at or c.at), None)]
    y = [place for c in late for place in (kinds.index(c.kind), kinds.index(c.kind), None)]
    return [_scatter(x, y, "lines") | {"line": {"color": theme.INK, "width": 3}, "hoverinfo": "skip"}]


def _utc_axis() -> dict[str, Any]:
    return {"type": "date", "title": {"text": "UTC", "font": {"size": 12}, "standoff": 6}}


def _window(since: datetime | None, until: datetime | None) -> list[dict[str, Any]]:
    if since is None or until is None:
        return []
    area = {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": plain_utc(since),
        "x1": plain_utc(until),
        "y0": 0,
        "y1": 1,
    }
    return [area | {"fillcolor": "rgba(128,128,128,0.12)", "line": {"width": 0}, "layer": "below"}]


def _outcome_colour(change: ChangeEntry) -> str:
    return theme.SEVERITY_COLOURS["critical"] if _is_failed(change) else theme.NEUTRAL


def _outcome_symbol(change: ChangeEntry) -> str:
    return "x" if _is_failed(change) else "circle"


def _is_failed(change: ChangeEntry) -> bool:
    return any(word in (change.outcome or "").lower() for word in ("fail", "error", "denied", "rolled back", "not ready"))


def _bar_layout(title: str, labels: Sequence[str], top: float, written: Written, *, legend: bool = False) -> dict[str, Any]:
    ticks = _ticks(top, written)
    reach = [0, max(top * 1.2, ticks[-1])]
    axis = {"tickvals": ticks, "ticktext": [written(tick) for tick in ticks], "range": reach}
    layout = _layout(title, len(labels), 26) | {"yaxis": _named(labels), "xaxis": axis, "bargap": 0.3}
    # The legend has a line of its own between title and bars.
    return layout | ({"margin": theme.MARGIN | {"t": 70}, "height": layout["height"] + 34} if legend else {})


def _layout(title: str, rows: int, row_height: int) -> dict[str, Any]:
    return {"template": theme.TEMPLATE, "title": {"text": safe(title)}, "height": 96 + row_height * max(rows, 1)}


def _named(labels: Sequence[str]) -> dict[str, Any]:
    texts = [safe(shortened(label, LABEL_LIMIT)) for label in labels]
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": texts,
        "autorange": "reversed",
        "type": "linear",
        "ticklabelstandoff": 6,
    }


def _ticks(top: float, written: Written) -> list[float]:
    if top <= 0:
        return [0.0, 1.0]
    step = next(step for step in _tick_steps(written, float(top).is_integer()) if top / step <= 5)
    return [step * index for index in range(math.ceil(top / step) + 1)]


def _tick_steps(written: Written, whole: bool) -> Iterator[float]:
    """Yield ever larger steps that people count in: powers of two, clock times, or 1-2-5."""
    if written is bytes_text:
        yield from (2.0**power for power in count())
    if written is milliseconds_text:
        yield from (step for step in _decimal_steps(-3) if step <= 500)
        yield from (1000.0 * step for step in _CLOCK)
        yield from (86_400_000.0 * step for step in _decimal_steps(0))
    yield from _decimal_steps(0 if whole else -6)


def _decimal_steps(power: int) -> Iterator[float]:
    for exponent in takewhile(lambda exponent: exponent < 300, count(power)):
        yield from (factor * 10.0**exponent for factor in (1, 2, 5))


# One second to half a day, in seconds.
_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)


def _steps(colours: Sequence[str]) -> list[list[Any]]:
    width = 1 / len(colours)
    return [[round(width * (i + side), 6), colour] for i, colour in enumerate(colours) for side in (0, 1)]


def _hover(*lines: str) -> str:
    return "<br>".join(safe(shortened(line, 120)) for line in lines if line)
