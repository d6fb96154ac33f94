"""Reading libpq's keywords and values, and what is no connection string at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kit.analyze.dsn.authority import TEMPLATE
from kit.analyze.dsn.reading import Notes, Option, Reading
from kit.analyze.dsn.urls import is_shown
from kit.analyze.dsn.vocabulary import KNOWN, LIBPQ, SECRET

_FIRST = re.compile(rf"\s*(?:{'|'.join(sorted(LIBPQ))})\s*=")
_KEY = re.compile(r"([A-Za-z_]\w{0,40})\s*=\s*", re.ASCII)
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'(?=\s|\Z)", re.DOTALL)
_PLAIN = re.compile(r"(?:\\.|[^\s\\])*", re.DOTALL)
_NAMES = {"user": "user", "dbname": "database", "host": "host", "port": "port"}


@dataclass(slots=True)
class _Pair:
    key: str
    start: int
    value_start: int
    end: int
    value: str | None = field(default=None, repr=False)


def is_keywords(text: str) -> bool:
    """Return whether the text begins as libpq's keywords and values do."""
    return bool(_FIRST.match(text))


def read_keywords(text: str) -> Reading:
    """Return the reading of keywords and values; what follows a password that ends too early is hidden with it."""
    notes, places, options = Notes(), dict[str, str](), list[Option]()
    has_password = is_template = False
    for pair in _pairs(text, notes):
        notes.show(pair.start, pair.value_start)
        if pair.key.lower() in SECRET:
            notes.hide(pair.value_start, pair.end, "password")
            has_password = has_password or (pair.key.lower() == "password" and pair.end > pair.value_start)
            is_template = is_template or bool(TEMPLATE.fullmatch(pair.value or ""))
            continue
        is_open = _is_open(pair, notes)
        name = _NAMES.get(pair.key, pair.key)
        notes.show(pair.value_start, pair.end, name) if is_open else notes.hide(pair.value_start, pair.end, name)
        if pair.key in _NAMES and pair.value is not None and (is_open or pair.key == "port"):
            places[name] = pair.value
        elif pair.key not in _NAMES:
            options.append(Option(pair.key, pair.value if is_open else None))
    return _assembled(places, options, notes, has_password, is_template)


def _assembled(places: dict[str, str], options: list[Option], notes: Notes, has_password: bool, is_template: bool) -> Reading:
    return Reading(
        form="keywords",
        scheme="postgresql",
        user=places.get("user") or None,
        has_password=has_password,
        is_password_template=is_template,
        hosts=tuple(places["host"].split(",")) if places.get("host") else (),
        ports=tuple(places["port"].split(",")) if places.get("port") else (),
        database=places.get("database") or None,
        options=tuple(options),
        faults=tuple(notes.faults),
        shown=tuple(notes.spans),
        regions=tuple(notes.regions),
    )


def _is_open(pair: _Pair, notes: Notes) -> bool:
    if pair.value is None or pair.key not in KNOWN:
        return False
    if pair.key == "port":
        return bool(re.fullmatch(r"[\d,]{0,60}", pair.value, re.ASCII))
    return is_shown(pair.key, pair.value, notes)


def _pairs(text: str, notes: Notes) -> Iterator[_Pair]:
    at, last = 0, _Pair("", 0, 0, 0)
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _KEY.match(text, at)
        is_after_secret = last.key.lower() in SECRET
        if not match or (is_after_secret and match[1].lower() not in KNOWN):
            at = _stray(text, at, is_after_secret, notes)
            continue
        before = len(text[:at].rstrip())
        notes.show(before, at)
        last = _pair(text, match, notes)
        at = last.end
        yield last


def _stray(text: str, at: int, is_after_secret: bool, notes: Notes) -> int:
    plain = _PLAIN.match(text, at)
    end = max(plain.end() if plain else at, at + 1)
    notes.hide(at, end, "password" if is_after_secret else "parameters")
    notes.fault("unescaped_passwords" if is_after_secret else "malformed_parameters", " " if is_after_secret else "")
    return end


def _pair(text: str, match: re.Match[str], notes: Notes) -> _Pair:
    key, start = match[1], match.end()
    if text[start : start + 1] == "'":
        return _quoted(text, match, notes)
    plain = _PLAIN.match(text, start)
    end = plain.end() if plain else start
    return _Pair(key, match.start(), start, end, _unescaped(text[start:end]))


def _quoted(text: str, match: re.Match[str], notes: Notes) -> _Pair:
    key, start = match[1], match.end()
    quoted = _QUOTED.match(text, start)
    if quoted:
        return _Pair(key, match.start(), start, quoted.end(), _unescaped(quoted[1]))
    notes.fault("unescaped_passwords" if key.lower() in SECRET else "malformed_parameters", "'" if key.lower() in SECRET else "")
    return _Pair(key, match.start(), start, _next_key(text, start))


def _next_key(text: str, start: int) -> int:
    """Where a quote does not end its value, the value ends before the next keyword that libpq knows."""
    after = re.compile(rf"\s+(?:{'|'.join(sorted(LIBPQ))})\s*=").search(text, start)
    return after.start() if after else len(text)


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
