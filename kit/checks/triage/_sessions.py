"""How to end a session, and how to name it and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kit.analyze.findings import quoted
from kit.analyze.locks import PREPARED


def termination(pid: int, started_at: datetime | None, effect: str) -> str:
    """Return the SQL that ends a session, with what that means as a comment.

    The start of the session is compared, because the system gives the number of an ended process to another.
    """
    since = "" if started_at is None else f" and backend_start = '{started_at.isoformat()}'"
    return f"-- {effect}\nselect pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where pid = {pid}{since}"


def shown_application(name: str | None) -> str:
    """Return an application's name for a message."""
    return f"application {name!r}" if name else "an application without a name"


def shown_seconds(seconds: float) -> str:
    """Return a length of time for a reader.

    >>> shown_seconds(4.25), shown_seconds(7300)
    ('4.2 s', '2 h 1 min')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def lock_waited_for(row: Mapping[str, Any]) -> str:
    """Return what a blocked session waits for, in words."""
    if not row["relation_name"]:
        return f"{row['mode']} on a {row['lock_type']}"
    relation = f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])}"
    is_row = row["lock_type"] in ("transactionid", "tuple")
    return f"{row['mode']} on a row of {relation}" if is_row else f"{row['mode']} on {relation}"


def shown_blockers(pids: list[str]) -> str:
    """Return the direct blockers of a session, in words."""
    names = ["a prepared transaction" if pid == str(PREPARED) else f"session {pid}" for pid in pids[:5]]
    return ", ".join(names) + (f" and {len(pids) - 5} more" if len(pids) > 5 else "")
