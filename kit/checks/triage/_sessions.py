"""How to end a session, and how to name one."""

from __future__ import annotations

from datetime import datetime


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
