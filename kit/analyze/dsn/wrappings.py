"""What stands around a connection string and does not belong to it: line ends, spaces, quotes, an assignment, a command."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kit.analyze.dsn.characters import SEPARATORS, is_invisible
from kit.analyze.dsn.vocabulary import LIBPQ, OTHER_DIALECTS

_KEY = "|".join(sorted(LIBPQ))
_SCHEMES = "|".join(["postgresql", "postgres", "jdbc:postgresql", "sqlite", *OTHER_DIALECTS])
# libpq's keywords are in small letters: PORT= is a variable's name.
_BEGINNING = rf"(?:(?i:(?:{_SCHEMES})(?:\+\w+)?:)|(?:{_KEY})\s*=)"
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "„": "“"}
_OPENING = "".join(_QUOTES)
_CLOSING = "".join({*_QUOTES, *_QUOTES.values()})
_NAME = (
    rf"(?i:export\s++|set\s+|setx\s+|env\s+|-e\s+|-\s+|\$env:)?+(?!(?:{_KEY}|(?i:{_SCHEMES}))\s*[=:])[A-Za-z_]\w*+\s*+[=:]\s*+"
)
_ASSIGNMENT = re.compile(rf"(?:{_NAME}){{1,3}}(?=[{_OPENING}]?\s*{_BEGINNING})")
_COMMAND = re.compile(rf"(?:psql|pg_dump|pg_restore)\s+(?:-d\s+|--dbname[= ])?(?=[{_OPENING}]?\s*{_BEGINNING})")
# Possessive: a text of nothing but quotes is given up at once.
_IS_KEYWORDS = re.compile(rf"[\s{_OPENING}]*+(?:{_NAME})?[\s{_OPENING}]*+(?:{_KEY})\s*=")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The string itself, `text[start:end]` of the cleaned text, and what stood around it.

    `positions` gives, for each character of the cleaned text, its place in the raw text.
    """

    raw: str = field(repr=False)
    text: str = field(repr=False)
    positions: tuple[int, ...] = field(repr=False)
    start: int
    end: int
    transport: str = ""
    assignment: str = ""
    command: str = ""
    opening_quote: str = ""
    closing_quote: str = ""
    has_outer_spaces: bool = False

    @property
    def inner(self) -> str:
        """Return the connection string."""
        return self.text[self.start : self.end]


def unwrapped(text: str, *, from_stdin: bool = False, from_file: bool = False) -> Unwrapped:
    """Return the connection string without invisible characters and wrappings, and what those were."""
    raw, transport = _without_transport(text) if from_stdin or from_file else (text, "")
    cleaned, positions = _cleaned(raw)
    start, end = _trimmed(cleaned, 0, len(cleaned))
    spaces = (start, end) != (0, len(cleaned))
    found: dict[str, str] = {}
    for name, pattern in (("command", _COMMAND), ("assignment", _ASSIGNMENT)):
        if match := pattern.match(cleaned, start, end):
            found[name] = match[0].strip()
            start = match.end()
    start, end, opening, closing = _without_quotes(cleaned, start, end)
    inner = _trimmed(cleaned, start, end)
    spaces = spaces or inner != (start, end)
    return Unwrapped(
        raw,
        cleaned,
        positions,
        *inner,
        transport,
        found.get("assignment", ""),
        found.get("command", ""),
        opening,
        closing,
        spaces,
    )


def begins_as_string(text: str) -> bool:
    """Return whether a text begins as a connection string does."""
    return bool(re.match(_BEGINNING, text))


def is_assignment(line: str) -> bool:
    """Return whether a line assigns a connection string to a name."""
    return bool(_ASSIGNMENT.match(line.strip()))


def _without_transport(text: str) -> tuple[str, str]:
    for ending in ("\r\n", "\n"):
        if text.endswith(ending):
            return text[: -len(ending)], ending
    return text, ""


def _cleaned(raw: str) -> tuple[str, tuple[int, ...]]:
    """Without the invisible characters; in a keyword string those that separate its pairs become plain spaces."""
    separators = SEPARATORS if _IS_KEYWORDS.match("".join(c for c in raw if not is_invisible(c) or c in SEPARATORS)) else ""
    kept = [(place, " " if c in separators else c) for place, c in enumerate(raw) if c in separators or not is_invisible(c)]
    return "".join(c for _, c in kept), tuple(place for place, _ in kept)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] == " ":
        start += 1
    while end > start and text[end - 1] == " ":
        end -= 1
    return start, end


def _without_quotes(text: str, start: int, end: int) -> tuple[int, int, str, str]:
    """A quote at one end alone is no part of it either; but a keyword string may well end in one of its own."""
    opening = text[start] if start < end and text[start] in _OPENING else ""
    start += len(opening)
    last = text[end - 1 : end] if end > start else ""
    is_closing = last == _QUOTES[opening] if opening else last in _CLOSING and not _IS_KEYWORDS.match(text[start:end])
    closing = last if is_closing else ""
    return start, end - len(closing), opening, closing
