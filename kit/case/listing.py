"""The checks as a list, for people and programs; the README's table is made of it."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kit.checks import Check, registry


def records() -> list[dict[str, Any]]:
    """Return every check as a plain record."""
    return [
        {
            "check": check.id,
            "area": check.area,
            "layer": check.layer,
            "title": check.title,
            "severities": list(check.severities),
            "source": check.source,
            "needs": list(check.needs),
            "explains": sorted(check.explains),
            "thresholds": {t.name: {"default": t.default, "unit": t.unit, "reason": t.reason} for t in check.thresholds},
            "sections": dict(check.sections),
        }
        for check in registry().values()
    ]


def markdown_table() -> str:
    """Return the checks as the README's Markdown table."""
    rows = [f"| `{c.id}` | {c.area} | {c.layer} | {', '.join(c.severities)} | {c.title} |" for c in registry().values()]
    return "\n".join(["| check | area | layer | severities | what it finds |", "| --- | --- | --- | --- | --- |", *rows])


def print_checks() -> None:
    """Print the checks as a table, thresholds included."""
    printed = Table(header_style="bold", box=SIMPLE)
    for name in ("check", "area", "layer", "severities", "thresholds"):
        printed.add_column(name, no_wrap=True)
    for check in registry().values():
        printed.add_row(check.id, check.area, check.layer, ", ".join(check.severities), _thresholds(check))
    Console(width=max(Console().width, 160)).print(printed)


def _thresholds(check: Check) -> str:
    return "\n".join(f"{t.name} = {t.default:g} {t.unit}" for t in check.thresholds)
