"""What an error says: its SQLSTATE, the objects it names, the statement and the session it happened in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.analyze.error.patterns import KNOWN_STATES, MENTIONED, NAMING, ROWS_OF, TROUBLE_OF_STATE, VAGUE, Pattern, Trouble
from kit.analyze.error.session import Session, session_of, statement_of

# More is a whole log; the first error of it, and its last lines, are what is read.
_LONGEST = 20_000
_HEAD = 16_000
_COLORS = re.compile(r"\x1b\[[0-9;]{0,20}m")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\0": "\ufffd", "\r": None})
# Five characters alone may be a port, a duration or an order's number: unknown ones count only after the word
# SQLSTATE (or as a driver's `code`), or as the whole text.
_BARE = re.compile(r"\b[0-9A-Z]{5}\b")
_STATED = re.compile(r"\b(?:SQLSTATE|sql_?state(?:_code)?|state_code)\W{0,4}([0-9A-Z]{5})\b", re.IGNORECASE)
_CODE = re.compile(r"\bcode['\"]?\s{0,2}[:=]\s{0,2}(?:SqlState\()?['\"`]?(?:E)?([0-9]{2}[0-9A-Z]{3})\b")
_WHOLE = re.compile(r"(?=.{0,4}\d)[0-9A-Z]{5}")
_RELATION_KINDS = frozenset({"table", "relation", "view", "materialized view", "foreign table", "partitioned table", "index"})
_FUNCTION_KINDS = frozenset({"function", "procedure", "routine", "aggregate"})


@dataclass(frozen=True, slots=True)
class ErrorReading:
    """What an error's text says; names are exact, as the server has them, and None where none stands there.

    `alias` is what stands before a missing column: a table's name or alias. `object_kind` is the server's word for what
    was denied. `statement` may be only the line that the error points at (`is_excerpt`). `session` is that of the log line.
    """

    text: str
    sqlstates: frozenset[str]
    trouble: Trouble | None = None
    object_kind: str | None = None
    schema: str | None = None
    relation: str | None = None
    column: str | None = None
    alias: str | None = None
    function: str | None = None
    arguments: tuple[str, ...] | None = None
    sequence: str | None = None
    database: str | None = None
    role: str | None = None
    policy: str | None = None
    statement: str | None = None
    is_excerpt: bool = False
    session: Session = field(default_factory=Session)


def read_error(text: str) -> ErrorReading:
    """Return what a pasted message, a log line or a bare SQLSTATE says.

    >>> reading = read_error('ERROR: column "platform_id" of relation "sessions" does not exist')
    >>> reading.trouble, reading.relation, reading.column, sorted(reading.sqlstates)
    ('missing column', 'sessions', 'platform_id', ['42703'])
    """
    whole = text if len(text) <= _LONGEST else f"{text[:_HEAD]}\n{text[_HEAD - _LONGEST :]}"
    statement, is_excerpt, rest = statement_of(_plain(whole))
    message = rest.replace('\\"', '"').replace("\\n", "\n")
    found = list(_matches(message))
    states = _stated(message) | {state for row, _ in found for state in row.sqlstates}
    named = min((pair for pair in found if pair[0] in NAMING), key=lambda pair: pair[1].start(), default=None)
    names = _names(*named) if named else {}
    if not names.get("relation") and (named is None or named[0].trouble == "missing column"):
        names = {**_mentioned(message, found), **names}
    return ErrorReading(
        text=text,
        sqlstates=frozenset(states),
        trouble=named[0].trouble if named else _trouble(found, states),
        statement=statement,
        is_excerpt=is_excerpt,
        session=session_of(message),
        **names,
    )


def _plain(text: str) -> str:
    return _COLORS.sub("", text).translate(_QUOTES)


def _matches(message: str) -> Iterator[tuple[Pattern, re.Match[str]]]:
    for row in (*NAMING, *VAGUE):
        match = row.words.search(message)
        if match:
            yield row, match


def _stated(message: str) -> set[str]:
    known = KNOWN_STATES & set(_BARE.findall(message))
    whole = {message.strip()} if _WHOLE.fullmatch(message.strip()) else set()
    return {*known, *_STATED.findall(message), *_CODE.findall(message), *whole}


def _trouble(found: list[tuple[Pattern, re.Match[str]]], states: set[str]) -> Trouble | None:
    if found:
        return found[0][0].trouble
    return next((TROUBLE_OF_STATE[state] for state in sorted(states) if state in TROUBLE_OF_STATE), "other" if states else None)


def _names(row: Pattern, match: re.Match[str]) -> dict[str, Any]:
    """Return the fields that a message names."""
    groups = {key.rstrip("0123456789"): value for key, value in match.groupdict().items() if value is not None}
    kind = " ".join(groups.pop("kind", "").lower().split()) or None
    written = next((groups.pop(key) for key in ("named", "bare", "rest") if key in groups), None)
    found: dict[str, Any] = {key: value for key, value in groups.items() if key != "arguments"}
    if "arguments" in groups:
        found["arguments"] = tuple(part.strip() for part in groups["arguments"].split(",") if part.strip())
    if written is not None:
        found |= _object(kind or row.names, written.strip())
    return {**found, "object_kind": kind}


def _object(kind: str, written: str) -> dict[str, Any]:
    """Return the fields of a named object; the server writes a qualified name as `schema.name`, unquoted."""
    before, _, last = written.rpartition(".")
    if kind == "column":
        return {"alias": before or None, "column": last}
    if kind in _RELATION_KINDS:
        return {"schema": before or None, "relation": last}
    if kind in _FUNCTION_KINDS or kind == "sequence":
        return {"schema": before or None, "sequence" if kind == "sequence" else "function": last}
    return {kind: written} if kind in ("schema", "database") else {}


def _mentioned(message: str, found: list[tuple[Pattern, re.Match[str]]]) -> Mapping[str, Any]:
    if any(row.trouble == "wrong statement" for row, _ in found):
        return {}
    is_empty = any(row.trouble == "no rows" for row, _ in found)
    match = MENTIONED.search(message) or (ROWS_OF.search(message) if is_empty else None)
    name = next((group for group in match.groups() if group), "") if match else ""
    schema, _, relation = name.rpartition(".")
    return {"schema": schema or None, "relation": relation} if relation else {}
