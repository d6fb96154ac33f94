"""Who is the application really: the sessions of clients, by role, database, application and address."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from kit.analyze.findings import quoted
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames
from kit.evidence.records import records

COLUMNS = (
    Column("role_name", "string", data_class="identifier"),
    Column("database_name", "string", data_class="identifier"),
    Column("application_name", "string", data_class="identifier"),
    Column("client_address", "string", data_class="identifier"),
    Column("sessions", "Int64"),
    Column("states", "list[string]"),
    Column("oldest_started_at", "datetime64[us, UTC]"),
    Column("hidden_sessions", "Int64"),
    Column("is_other_role", "boolean"),
    Column("is_other_database", "boolean"),
)
_KEYS = ("user_name", "database_name", "application_name", "client_address")
_CLIENT = "client backend"
_SHOWN = 5


def applications(frames: Frames, role: str | None = None, database: str | None = None) -> pd.DataFrame:
    """Return the clients that are connected, those of the given role and database first, then the most numerous.

    `role` and `database` are those that a question or a log line names: the last two columns mark what differs. State,
    address and start of `hidden_sessions` are not known to this asker. The kit's own sessions are no part of the evidence.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in _clients(frames):
        groups[tuple(row[key] for key in _KEYS)].append(row)
    rows = [_row(key, members, role, database) for key, members in groups.items()]
    rows.sort(key=lambda row: (bool(row[-2]), bool(row[-1]), -row[4], *(value or "" for value in row[:4])))
    return build_frame(COLUMNS, rows)


def mistaken_identity(frames: Frames, role: str | None, database: str | None) -> str | None:
    """Return one sentence if nobody is connected as that role, or to that database, and who is instead."""
    found = records(applications(frames, role, database))
    if not found or (role is None and database is None):
        return None
    if any(not row["is_other_role"] and not row["is_other_database"] for row in found):
        return None
    same_role = [row for row in found if role is not None and not row["is_other_role"]]
    same_database = [row for row in found if database is not None and not row["is_other_database"]]
    asked = " ".join(
        words for words in (f"as {quoted(role)}" if role else "", f"to database {quoted(database)}" if database else "") if words
    )
    return f"Nobody is connected {asked} now, but {_listed(same_role or same_database or found)}."


def _clients(frames: Frames) -> Iterator[Mapping[str, Any]]:
    """Yield the sessions of clients; of a hidden one only the names are known, and workers have no role."""
    for row in records(frames["sessions"]):
        is_client = row["backend_type"] == _CLIENT or row["is_hidden"]
        if is_client and row["user_name"] is not None and row["database_name"] is not None:
            yield row


def _row(key: tuple[Any, ...], members: Sequence[Mapping[str, Any]], role: str | None, database: str | None) -> tuple[Any, ...]:
    user, place, application, address = key
    states = Counter(row["state"] for row in members if row["state"] is not None)
    started = [row["backend_started_at"] for row in members if row["backend_started_at"] is not None]
    return (
        user,
        place,
        application or None,
        address,
        len(members),
        [f"{state}: {count}" for state, count in states.most_common()],
        min(started, default=None),
        sum(bool(row["is_hidden"]) for row in members),
        None if role is None else user != role,
        None if database is None else place != database,
    )


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    words = [
        f"{quoted(row['role_name'])} is to {quoted(row['database_name'])}"
        f" ({row['application_name'] or 'an application without a name'}, {_count(row['sessions'])})"
        for row in rows[:_SHOWN]
    ]
    return "; ".join(words) + (f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")


def _count(number: int) -> str:
    return "1 session" if number == 1 else f"{number} sessions"
