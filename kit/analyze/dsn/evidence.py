"""What the examiner says of connection strings, as frames: the strings themselves are secrets, and are not kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kit.analyze.dsn.characters import visible
from kit.analyze.dsn.examination import Examination
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, provenance

STRINGS, PROBLEMS = "connection_strings", "connection_string_problems"
STRING_COLUMNS = (
    Column("variable_name", "string", data_class="identifier"),
    Column("is_set", "boolean"),
    Column("is_way", "boolean", "the kit itself connects by it"),
    Column("masked", "string", data_class="identifier"),
    Column("corrected", "string", data_class="identifier"),
    Column("fingerprint", "string", "of where it leads; the password has no part in it"),
    Column("form", "string"),
    Column("reader", "string"),
    Column("user_name", "string", data_class="identifier"),
    Column("host", "string", "invisible characters by name", "identifier"),
    Column("database_name", "string", data_class="identifier"),
)
PROBLEM_COLUMNS = (
    Column("variable_name", "string", data_class="identifier"),
    Column("problem", "string"),
    Column("layer", "string"),
    Column("severity", "string"),
    Column("message", "string", data_class="identifier"),
    Column("remedy", "string", data_class="identifier"),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """A variable and what was found in its string; None where the variable is not set."""

    variable: str
    examination: Examination | None
    is_way: bool = False


def strings_evidence(examined: Iterable[Examined], at: datetime) -> dict[str, Evidence]:
    """Return the strings, one row each, and what is wrong with them, one row per problem."""
    found = list(examined)
    problems = [row for one in found for row in _problems(one)]
    text = ", ".join(f"${one.variable}" for one in found)
    return {
        STRINGS: _evidence("Connection strings", "one row per variable", text, at, STRING_COLUMNS, map(_string, found)),
        PROBLEMS: _evidence("Problems of connection strings", "one row per problem", text, at, PROBLEM_COLUMNS, problems),
    }


def _evidence(title: str, grain: str, text: str, at: datetime, columns: tuple[Column, ...], rows: Iterable[Any]) -> Evidence:
    frame = build_frame(columns, list(rows))
    return Evidence(frame, columns, provenance(title, grain, text, at, 0.0, len(frame)))


def _string(one: Examined) -> tuple[Any, ...]:
    found = one.examination
    if found is None:
        return one.variable, False, one.is_way, *(None for _ in STRING_COLUMNS[3:])
    reading = found.reading
    parts = (reading.user, reading.socket or ",".join(reading.hosts), reading.database)
    said = (found.masked, found.corrected, found.fingerprint, reading.form, found.reader)
    return one.variable, True, one.is_way, *said, *(_shown(part, found.masked) for part in parts)


def _shown(part: str | None, masked: str) -> str | None:
    """Return a part where the masked string shows it too: of a string that is badly written it may be half a password."""
    shown = visible(part or "")
    return shown if shown and shown in masked else None


def _problems(one: Examined) -> list[tuple[str, ...]]:
    found = one.examination.findings if one.examination else ()
    return [(one.variable, f.check, f.layer, f.severity, f.message, f.remedy) for f in found]
