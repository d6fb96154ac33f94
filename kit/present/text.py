"""Text for people: hostile characters made visible, numbers with their units, times marked UTC."""

from __future__ import annotations

import html
import math
from datetime import UTC, datetime
from typing import Any

# Characters that reorder or hide their neighbours: bidirectional controls, zero-width characters, line and
# paragraph separators. ZWJ and ZWNJ stay: scripts and emoji need them.
_INVISIBLE = [0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF]
_INVISIBLE += [
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2065),
    *range(0x2066, 0x2070),
    *range(0x80, 0xA0),
    *range(0xFFF9, 0xFFFC),
]
_SHOWN = {code: f"[U+{code:04X}]" for code in _INVISIBLE}
# A carriage return at the end of a host name has broken a service: it is shown, as are all its kind.
# In letters, since few fonts hold the control pictures of Unicode.
_SHOWN |= {code: f"[U+{code:04X}]" for code in [*range(0x20), 0x7F] if chr(code) not in "\t\n"}
_SHOWN |= {0x00: "[NUL]", 0x08: "[BS]", 0x0D: "[CR]", 0x1B: "[ESC]"}

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def visible(text: object) -> str:
    """Return the text with control and direction-changing characters replaced by visible signs.

    >>> visible("db\\r"), visible("a\\u202eb")
    ('db[CR]', 'a[U+202E]b')
    """
    return str(text).translate(_SHOWN)


def escaped(text: object) -> str:
    """Return the text fit for HTML content and quoted attributes, with nothing hidden in it."""
    return html.escape(visible(text), quote=True)


def shortened(text: object, limit: int = 60) -> str:
    """Return the text on one line, cut in the middle where it is longer than `limit`."""
    line = " ".join(visible(text).split())
    if len(line) <= limit:
        return line
    tail = limit // 3
    return line[: limit - tail - 1] + "…" + line[-tail:]


def bytes_text(value: float) -> str:
    """Return a number of bytes with a binary unit.

    >>> bytes_text(1536), bytes_text(12)
    ('1.5 KiB', '12 B')
    """
    size, index = float(value), 0
    while abs(size) >= 1024 and index < len(_BYTE_UNITS) - 1:
        size, index = size / 1024, index + 1
    digits = f"{size:,.1f}".removesuffix(".0")
    return f"{digits} {_BYTE_UNITS[index]}"


def milliseconds_text(value: float) -> str:
    """Return a duration given in milliseconds.

    >>> milliseconds_text(0.25), milliseconds_text(1200), milliseconds_text(7_500_000), milliseconds_text(3_600_000)
    ('0.25 ms', '1.2 s', '2 h 5 min', '1 h')
    """
    return f"{value:.3g} ms" if abs(value) < 1000 else seconds_text(value / 1000)


def seconds_text(value: float) -> str:
    """Return a duration given in seconds, in its two largest units."""
    whole, sign = round(abs(value)), "-" if value < 0 else ""
    if whole < 60:
        return f"{value:.3g} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if whole >= size)
    (large, size), (small, part) = units[first], units[first + 1]
    rest = whole % size // part
    return f"{sign}{whole // size} {large}" + (f" {rest} {small}" if rest else "")


def count_text(value: float) -> str:
    """Return a count with thousands separated; a fraction keeps up to four significant digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def utc_text(moment: datetime) -> str:
    """Return a time as `2026-02-14 03:07:09 UTC`; an unmarked time is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain_utc(moment: datetime) -> str:
    """Return a time in UTC without an offset: plotly.js reads offsets and ignores them."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 row`, `2 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def number_text(value: float, unit: str | None) -> str:
    """Return a number in the words of its unit; an unknown unit follows the number."""
    if not math.isfinite(value):
        return str(value)
    word = (unit or "").split(";")[0].strip().lower()
    if word in _FORMATS:
        return str(_FORMATS[word](value))
    return f"{count_text(value)} {word}".strip()


def percent_text(value: float) -> str:
    """Return a fraction of 0 to 1 as percent."""
    return f"{value * 100:.3g} %"


_FORMATS: dict[str, Any] = {
    "bytes": bytes_text,
    "byte": bytes_text,
    "ms": milliseconds_text,
    "milliseconds": milliseconds_text,
    "s": seconds_text,
    "seconds": seconds_text,
    "fraction": percent_text,
    "percent": lambda value: f"{value:.3g} %",
}
