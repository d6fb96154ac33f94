"""Probes that were made elsewhere: the records that `kit show --target T service_probes --json` printed there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.collect.services.addresses import shown_url
from kit.collect.services.body import masked_field, masked_words
from kit.collect.services.frame import COLUMNS, STEPS, Row, plain
from kit.errors import KitError, TargetError
from kit.evidence.columns import Column, build_frame

MOST_BYTES = 4 * 1024 * 1024
MOST_ROWS = 1_000
_HINT = "Make it by `kit show --target T service_probes --json > probes.json`, where the services can be seen."
_KNOWN = {column.name: column for column in COLUMNS}


def recorded_rows(path: Path) -> tuple[list[Row], bytes]:
    """Return the rows of the file, all their texts plain and in one line, and its own bytes; TargetError where it is none."""
    if path.exists() and not path.is_file():
        # A pipe would be waited for without an end.
        raise TargetError(f"The recorded probes {path} are no file.", _HINT)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        rows = json.loads(content) if len(content) <= MOST_BYTES else None
    except OSError as error:
        raise TargetError(f"The recorded probes {path} cannot be read: {error.strerror}.", _HINT) from None
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not rows or len(rows) > MOST_ROWS or not all(isinstance(row, dict) for row in rows):
        raise TargetError(f"{path.name} is no list of recorded probes.", _HINT)
    found = [_row(row, path) for row in rows]
    if len({row["service_name"] for row in found}) < len(found):
        raise TargetError(f"{path.name} holds a service twice.", _HINT)
    return found, content


def moment(rows: Iterable[Row]) -> datetime | None:
    """Return when the oldest of the rows was taken, or None where one does not say."""
    times = [row.get("at") for row in rows]
    return min(times) if times and all(isinstance(at, datetime) for at in times) else None  # type: ignore[type-var]


def _row(record: dict[str, Any], path: Path) -> Row:
    name = record.get("service_name")
    unknown = sorted(record.keys() - _KNOWN.keys() - {"source"})
    if unknown or not isinstance(name, str) or not name or record.get("died_at") not in (None, *STEPS):
        raise TargetError(f"{path.name} holds a row that is no recorded probe.", _HINT)
    try:
        row = {key: _value(_KNOWN[key], value) for key, value in record.items() if key in _KNOWN and value is not None}
        build_frame(COLUMNS, [tuple(row.get(column) for column in _KNOWN)])
    except (KitError, TypeError, ValueError, OverflowError):
        raise TargetError(f"{path.name} holds a row that is no recorded probe.", _HINT) from None
    if "body_fields" in row:
        row["body_fields"] = [masked_field(*field.partition(": ")[::2]) for field in row["body_fields"]]
    return row | {key: shown_url(row[key]) for key in ("url", "location") if key in row}


def _value(column: Column, value: Any) -> Any:
    if column.dtype == "string":
        return masked_words(plain(str(value), 400))
    if column.dtype == "list[string]":
        return [masked_words(plain(str(item), 200)) for item in list(value)[:100]]
    if column.dtype == "datetime64[us, UTC]":
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return value
