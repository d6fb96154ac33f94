"""The session and the statement of an error, as log lines and drivers write them beside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SEVERITY = r"(?:ERROR|FATAL|PANIC|LOG|WARNING|STATEMENT|DETAIL|HINT|CONTEXT)"
_BEFORE = r"""(?:^|[\s\[(,;{"'])"""
_VALUE = r"""["']?\s{0,2}[=:]\s{0,2}["']?(\[\w{1,63}\]|[^\s"',;\])}]{1,130})"""
# log_line_prefix as people set it, jsonlog, and the JSON of Cloud SQL, Supabase and others.
_FIELDS = {
    "role": re.compile(rf"{_BEFORE}(?:user|user_name|username|usename|role){_VALUE}", re.IGNORECASE | re.MULTILINE),
    "database": re.compile(rf"{_BEFORE}(?:db|dbname|database|database_name|datname){_VALUE}", re.IGNORECASE | re.MULTILINE),
    "application_name": re.compile(
        rf"""{_BEFORE}(?:app|application_name|application)["']?\s{{0,2}}[=:]\s{{0,2}}["']?(\[unknown\]|[^,;"'\]\n]{{1,64}}?)"""
        rf"""(?=[,;"'\]\n]|$|\s{{1,3}}[a-z_]{{1,20}}=|\s{{1,3}}{_SEVERITY}\b)""",
        re.IGNORECASE | re.MULTILINE,
    ),
    "client_address": re.compile(
        rf"{_BEFORE}(?:client|client_addr|client_address|remote|remote_host|connection_from|host){_VALUE}",
        re.IGNORECASE | re.MULTILINE,
    ),
}
# `%u@%d` as in the prefix of RDS (between colons) and of many others (before the severity).
_AT = re.compile(
    r"(?<![^\s:])([^\s:]{1,130})@([^\s@:\[\]]{1,63})"
    rf"(?::\[\d{{1,9}}\]:\s{{0,2}}|\s{{1,3}}(?:\[[^\]\n]{{0,40}}\]:?\s{{0,2}})?){_SEVERITY}:"
)
# log_time, user_name, database_name, process_id, connection_from
_CSV = re.compile(
    r'^\d{4}-\d\d-\d\d [\d:.]{8,15} \w{1,5},"([^"\n]{0,130})","([^"\n]{0,130})",\d{1,9},"?([^",\n]{0,64})', re.MULTILINE
)
# In a connection string the host is the server's.
_CONNINFO = re.compile(r"\b(?:port|dbname|sslmode|password)=")
_UNKNOWN = frozenset({"", "[unknown]", "unknown", "null", "None"})

_LOGGED = re.compile(r"\bSTATEMENT:[ \t]{1,4}([^\n]*(?:\n[ \t][^\n]*)*)")
_JSON = re.compile(r'"(?:statement|query|sql)"\s{0,3}:\s{0,3}("(?:[^"\\]|\\.)*")')
_LINE = re.compile(r"\bLINE (\d{1,4}): ([^\n]*)\n?(?:[ \t]*\^)?")
# Knex and others put the statement before the message.
_BEFORE_DASH = re.compile(
    r"((?:select|insert|update|delete|with|merge)\s[^\n]{1,5000}?) - (?=relation|permission|column|new row|schema|function)",
    re.IGNORECASE,
)
_SQLALCHEMY_ENDS = ("]\n[parameters", "]\n(Background", "]\n\n")


@dataclass(frozen=True, slots=True)
class Session:
    """Who was connected, and from where, as far as the line says."""

    role: str | None = None
    database: str | None = None
    application_name: str | None = None
    client_address: str | None = None


def session_of(text: str) -> Session:
    """Return the session that a log line's prefix tells of."""
    found = {name: _first(pattern, text) for name, pattern in _FIELDS.items()}
    if _CONNINFO.search(text):
        found["client_address"] = None
    at, csv = _AT.search(text), _CSV.search(text)
    if at:
        found |= {"role": found["role"] or _known(at[1]), "database": found["database"] or _known(at[2])}
    if csv:
        found |= {"role": _known(csv[1]), "database": _known(csv[2]), "client_address": _known(csv[3].rsplit(":", 1)[0])}
    return Session(**found)


def statement_of(text: str) -> tuple[str | None, bool, str]:
    """Return the statement that stands in the text, whether it is only a line of it, and the text without it."""
    for find in (_logged, _json, _sqlalchemy, _dashed):
        found = find(text)
        if found:
            statement, start, end = found
            return statement.strip() or None, False, f"{text[:start]} {text[end:]}"
    match = _LINE.search(text)
    if match is None:
        return None, False, text
    return match[2].strip() or None, True, f"{text[: match.start()]} {text[match.end() :]}"


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return _known(match[1]) if match else None


def _known(value: str) -> str | None:
    return None if value.strip() in _UNKNOWN else value.strip()


Found = tuple[str, int, int]


def _logged(text: str) -> Found | None:
    match = _LOGGED.search(text)
    return (match[1].replace("\n\t", "\n"), match.start(), match.end()) if match else None


def _json(text: str) -> Found | None:
    match = _JSON.search(text)
    if match is None:
        return None
    try:
        return str(json.loads(match[1], strict=False)), match.start(), match.end()
    except ValueError:
        return None


def _sqlalchemy(text: str) -> Found | None:
    start = text.find("[SQL: ")
    if start < 0:
        return None
    ends = [end for end in (text.find(mark, start) for mark in _SQLALCHEMY_ENDS) if end >= 0]
    end = min(ends) if ends else text.rfind("]")
    return (text[start + len("[SQL: ") : end], start, end + 1) if end > start else None


def _dashed(text: str) -> Found | None:
    match = _BEFORE_DASH.search(text)
    return (match[1], match.start(1), match.end()) if match else None
