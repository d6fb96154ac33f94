"""The rows of an answer: its pages put together, and each value as its column declares it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kit.collect.forms.reading import Answer
from kit.errors import EvidenceMismatch
from kit.evidence.columns import Column

_TIME = re.compile(r"-?\d{4,6}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d(:\d\d){0,2})?( BC)?\Z|-?infinity\Z", re.ASCII)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


@dataclass(frozen=True, slots=True)
class Whole:
    """All the rows of one evidence, when it was asked, in UTC, how long the server took, and when for each page."""

    rows: list[Any]
    at: datetime
    until: datetime
    seconds: float
    spans: tuple[tuple[datetime, datetime], ...]


def whole(parts: Sequence[Answer]) -> Whole:
    """Return the pages of one answer as one; EvidenceMismatch names the pages that are missing.

    Of a page that was asked for twice the later answer counts.
    """
    pages: dict[int, Answer] = {}
    for part in sorted(parts, key=lambda part: moment(part.about.get("at"))):
        pages[_number(part, "page")] = part
    counts = {_number(part, "pages") for part in pages.values()}
    missing = sorted(set(range(1, max(counts) + 1)) - pages.keys()) if max(counts) <= 10_000 else [0]
    if missing:
        raise EvidenceMismatch(f"page {', '.join(map(str, missing[:20]))} of {max(counts)} is missing")
    if len(counts) > 1 or len(pages) > max(counts):
        raise EvidenceMismatch("its pages were asked at times that do not go together")
    times = [(moment(part.about.get("at")), moment(part.about.get("until"))) for part in pages.values()]
    rows = [row for number in sorted(pages) for row in pages[number].rows or []]
    seconds = sum(max(0.0, (until - at).total_seconds()) for at, until in times)
    return Whole(rows, min(at for at, _ in times), max(until for _, until in times), seconds, tuple(times))


def covered_seconds(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Return the seconds in which at least one of the spans runs: answers of one statement share theirs."""
    seconds, end = 0.0, None
    for at, until in sorted(spans):
        begin = at if end is None else max(at, end)
        seconds += max(0.0, (until - begin).total_seconds())
        end = until if end is None else max(end, until)
    return seconds


def typed(columns: Sequence[Column], rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows as a driver would have given them; EvidenceMismatch where a value is none of its column's."""
    readers = [(_READERS[column.dtype], column.name) for column in columns]
    return [_row(readers, row) for row in rows]


def moment(text: Any) -> datetime:
    """Return a time of an answer's header in UTC; EvidenceMismatch if it is none."""
    try:
        found = _time(text)
    except (TypeError, ValueError):
        found = None
    if found is None:
        raise EvidenceMismatch("its header holds no time")
    return found


def _number(part: Answer, key: str) -> int:
    number = part.about.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise EvidenceMismatch(f"its header holds no {key}")
    return number


def _row(readers: Sequence[tuple[Callable[[Any], Any], str]], row: Any) -> tuple[Any, ...]:
    if len(row) != len(readers):
        raise EvidenceMismatch(f"a row of {len(row)} values came back where {len(readers)} are declared")
    return tuple(None if value is None else _read(read, name, value) for (read, name), value in zip(readers, row, strict=True))


def _read(read: Callable[[Any], Any], name: str, value: Any) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        raise EvidenceMismatch(f"a value of {name!r} is not what the column declares") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: Any) -> list[str | None]:
    if not isinstance(value, list):
        raise TypeError
    return [None if item is None else _text(item) for item in value]


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or abs(value) >= 1 << 63:
        raise ValueError
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and value not in _NOT_FINITE) or isinstance(value, list | dict):
        raise ValueError
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _time(value: Any) -> datetime | None:
    """Return the time; None for one that Python cannot hold (infinity, BC, after 9999), as a capture has it."""
    if not _TIME.match(_text(value)):
        raise ValueError
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "Int64": _whole_number,
    "Float64": _float,
    "boolean": _boolean,
    "datetime64[us, UTC]": _time,
    "list[string]": _texts,
}
