"""One table for a person or a program: from a case, a bundle or a live target."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kit.analyze.changes import changes
from kit.case import folders
from kit.case.collecting import collected
from kit.case.notes import dated_notes
from kit.case.tables import CLOUD, evidence_for, queries_for, table, table_names
from kit.collect.services.frame import NAME as SERVICE_PROBES
from kit.errors import UsageError
from kit.evidence import bundle
from kit.evidence.model import Capture, Frames
from kit.target import Target, resolve


def shown(names: Sequence[str], target: str | None, reports: Path | None = None) -> pd.DataFrame:
    """Return the table that the words name: `TABLE` with a target, else `CASE TABLE` or `BUNDLE TABLE`."""
    if len(names) != (1 if target else 2):
        hint = "Write: kit show CASE TABLE, or kit show --target T TABLE."
        raise UsageError(f"Which table? One of: {', '.join(table_names())}.", hint)
    name = names[-1]
    evidence_for(name)
    if target:
        return _made(_live(resolve(target), name), name)
    folder = _bundle_folder(names[0], reports)
    frame = _made(bundle.load(folder), name)
    return _with_notes(frame, folder) if name == "changes" else frame


def _live(target: Target, name: str) -> Capture:
    """Return what the table needs of the target; a table of cloud exports or of services asks no database."""
    if name == SERVICE_PROBES and target.bundle is None:
        return collected(replace(target, databases=(), poolers=(), cloud=None), only=(name,))
    if name not in CLOUD or target.bundle is not None:
        return collected(target, only=("extensions", *queries_for(name)))
    if target.cloud is None:
        hint = "Give it one: the key cloud in kit.toml, or kit capture --cloud FOLDER, then kit show BUNDLE TABLE."
        raise UsageError(f"{name} comes from cloud exports, and {target.name} has no folder of them.", hint)
    return collected(replace(target, databases=()))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the frame as a list of plain records: times as ISO 8601 in UTC, nothing as null."""
    return [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict(orient="records")]


def print_table(frame: pd.DataFrame, limit: int) -> None:
    """Print the frame for a person; a cut is said, and nothing in it can pass as markup or control a terminal.

    A table too wide for the terminal is printed a record at a time: a clipped column helps nobody.
    """
    seen = frame if limit <= 0 else frame.head(limit)
    rows = [[escape(_printable(_plain(value))) for value in row] for row in seen.itertuples(index=False)]
    console = Console(emoji=False)
    wide = _table(frame, rows)
    fits = console.measure(wide).maximum <= console.width
    if fits or not console.is_terminal:
        widest = console.measure(wide, options=console.options.update(width=10_000)).maximum
        Console(emoji=False, width=max(console.width, widest)).print(wide)
    else:
        _print_records(console, [str(column) for column in frame.columns], rows)
    if len(seen) < len(frame):
        console.print(f"… and {len(frame) - len(seen)} more rows (--limit 0 prints all)")


def table_text(frame: pd.DataFrame) -> str:
    """Return the frame as plain text, a record at a time: long reasons do not fit into columns."""
    rows = [[escape(_printable(_plain(value))) for value in row] for row in frame.itertuples(index=False)]
    console = Console(emoji=False, record=True, width=120, file=io.StringIO())
    _print_records(console, list(map(str, frame.columns)), rows)
    return console.export_text()


def _table(frame: pd.DataFrame, rows: list[list[str]]) -> Table:
    printed = Table(header_style="bold", box=SIMPLE)
    for name, dtype in frame.dtypes.items():
        justify: Literal["left", "right"] = "right" if pd.api.types.is_numeric_dtype(dtype) else "left"
        printed.add_column(str(name), justify=justify, no_wrap=True)
    for row in rows:
        printed.add_row(*row)
    return printed


def _print_records(console: Console, names: list[str], rows: list[list[str]]) -> None:
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number}", align="left")
        for name, value in zip(names, row, strict=True):
            console.print(f"[bold]{name}[/bold]  {value}")


def _made(taken: Capture, name: str) -> pd.DataFrame:
    if name != "changes":
        return table(name, taken.sources)
    found = changes({source.name: Frames(source) for source in taken.sources})
    columns = ["at", "effective_at", "kind", "summary", "source", "outcome"]
    return pd.DataFrame([[getattr(change, column) for column in columns] for change in found], columns=columns)


def _with_notes(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the changes with the notes of the case, where the bundle is a capture of one."""
    notes = dated_notes(folder.parent.parent) if folder.parent.name == folders.CAPTURES else []
    added = pd.DataFrame([[getattr(note, str(column)) for column in frame.columns] for note in notes], columns=frame.columns)
    return pd.concat([frame, added], ignore_index=True).sort_values("at", kind="stable") if notes else frame


def _bundle_folder(name: str, reports: Path | None) -> Path:
    if name == folders.RECORDED:
        return folders.captures(folders.RECORDED_FOLDER)[-1]
    if bundle.is_bundle(Path(name)):
        return Path(name)
    case_folder = folders.reports_folder(reports) / name
    captured = folders.captures(case_folder)
    if not captured:
        raise UsageError(f"{name!r} is neither a case nor a bundle.", f"Make it: kit run {name} --target T")
    return captured[-1]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        listed = value.tolist() if hasattr(value, "tolist") else list(value)
        return [_plain(item) for item in listed] if isinstance(listed, list) else _plain(listed)
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _printable(value: Any) -> str:
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)[:200]
