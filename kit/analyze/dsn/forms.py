"""Which form a text has, and its reading."""

from __future__ import annotations

import re

from kit.analyze.dsn.keywords import is_keywords, read_keywords
from kit.analyze.dsn.reading import Reading
from kit.analyze.dsn.urls import read_url

_SQLITE = re.compile(r"(?P<scheme>sqlite3?(?:\+\w+)?:(?://)?)(?P<path>[\w./\\: ~-]*)", re.I | re.A)
# .NET's form, which libpq does not read.
_SEMICOLONS = re.compile(r"[A-Za-z ]+=[^;'\s]*;\s*[A-Za-z ]+=", re.A)
_SQLITE_FILE = re.compile(r"(?:file:[\w./~-]+|[\w./~-]+\.(?:db|sqlite|sqlite3)|:memory:)", re.I | re.A)


def read(text: str) -> Reading:
    """Return the reading of a cleaned and unwrapped text; every text has one."""
    if not text.strip():
        return Reading("empty")
    if sqlite := _sqlite(text):
        return sqlite
    if is_keywords(text) and not _SEMICOLONS.match(text):
        return read_keywords(text)
    return read_url(text) or Reading("unreadable")


def _sqlite(text: str) -> Reading | None:
    if match := _SQLITE.match(text):
        # SQLCipher's URLs hold a key: a path that is more than a path is not shown.
        shown = match.end("path") if match.end() == len(text) else match.end("scheme")
        return Reading("sqlite", scheme="sqlite", shown=((0, shown),))
    if _SQLITE_FILE.fullmatch(text):
        return Reading("sqlite", scheme="sqlite", shown=((0, len(text)),))
    return None
