"""The migration ledgers of every database of the instance, each in one line: what it is, and what it recorded last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from kit.analyze.findings import quoted
from kit.evidence.model import Frames
from kit.evidence.records import records


def ledgers_by_database(frames: Frames) -> dict[str, str]:
    """Return the ledgers of each database in words; a database without one is left out."""
    found: dict[str, list[str]] = defaultdict(list)
    current = frames.identity.database if frames.identity else ""
    last = _last_here(frames)
    for row in records(frames["migration_ledgers"]) if "migration_ledgers" in frames else []:
        name, at = last.get((row["schema_name"], row["relation_name"]), (None, None))
        found[current].append(_line(row, name, at, is_known="migrations" in frames))
    for row in records(frames["ledgers_elsewhere"]) if "ledgers_elsewhere" in frames else []:
        found[row["database_name"]].append(_line(row, row["last_migration"], row["last_at"], is_known=False))
    return {database: "; ".join(lines) for database, lines in found.items()}


def _last_here(frames: Frames) -> Mapping[tuple[str, str], tuple[str, Any]]:
    """Return, by ledger, the last migration that it recorded; where no time is kept, the last in its own order."""
    found: dict[tuple[str, str], tuple[str, Any]] = {}
    for key, name, at in _entries(frames):
        before = found.get(key)
        if before is None or before[1] is None or (at is not None and at >= before[1]):
            found[key] = (name, at)
    return found


def _entries(frames: Frames) -> Iterator[tuple[tuple[str, str], str, Any]]:
    for row in records(frames["migrations"]) if "migrations" in frames else []:
        key = (row["schema_name"], row["relation_name"])
        yield key, row["migration_name"], row["finished_at"] or row["started_at"]


def _line(row: Mapping[str, Any], last: str | None, at: Any, *, is_known: bool) -> str:
    what = f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])} ({row['tool']})"
    if last is None:
        return f"{what}, empty" if is_known else what
    when = f" at {at:%Y-%m-%d %H:%M} UTC" if at is not None else ""
    return f"{what}, last {last}{when}"
