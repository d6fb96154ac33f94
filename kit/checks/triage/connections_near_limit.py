"""Connection slots that are nearly all taken.

What it shows: the number of client sessions as a fraction of the slots that ordinary roles may use, which are
max_connections less the reserved ones.

Why it matters: at the limit every new connection is refused with 53300, usually in the moment of most traffic.

What to do: find the application that holds most slots (the message names it), above all idle ones, and make its pool
smaller or put a pooler in transaction mode in between.

Known limits: the sessions of one moment. Limits of single roles and databases, and the queue inside a pooler, are not
looked at. Where details are hidden, parallel workers count as sessions.

References: https://www.postgresql.org/docs/current/runtime-config-connection.html and
https://www.pgbouncer.org/features.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.checks.triage._settings import setting_number
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("sessions", "settings")
SEVERITIES = ("warning", "critical")
EXPLAINS = ("53300",)
THRESHOLDS = (
    Threshold(
        "warning_fraction",
        0.8,
        "fraction of the slots",
        "a fifth left is one pool of a new revision",
        "judgement of this kit",
    ),
    Threshold(
        "critical_fraction",
        0.95,
        "fraction of the slots",
        "the next deploy or burst is refused",
        "check_postgres action backends",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding if the client sessions come near to the limit."""
    slots = _slots(frames)
    if slots is None:
        yield NotExamined("max_connections", "the setting was not visible")
        return
    yield Examined(1)
    sessions = frames["sessions"].reset_index(drop=True)
    # Where details are hidden the kind of process is too; only clients (and their workers) have user and database.
    is_client = (sessions["backend_type"] == "client backend").fillna(False) | (
        sessions["backend_type"].isna() & sessions["user_name"].notna() & sessions["database_name"].notna()
    )
    clients = sessions[is_client]
    fraction = len(clients) / slots
    if fraction < thresholds["warning_fraction"]:
        return
    is_critical = fraction >= thresholds["critical_fraction"]
    who = clients["application_name"].fillna("").value_counts()
    idle = int((clients["state"] == "idle").sum())
    yield Finding(
        severity="critical" if is_critical else "warning",
        subject=Subject("setting", "max_connections"),
        message=f"{len(clients)} of {slots} connection slots for ordinary roles are taken, {idle} of them idle; "
        f"most ({who.iloc[0]}) are held by application {who.index[0] or '(no name)'!r}.",
        remedy="Make the pool of that application smaller, or put a pooler in transaction mode in between; "
        "end sessions that are idle "
        "for long. More slots (max_connections) need a restart and memory.",
        evidence=rows(list(clients.index), "sessions"),
        value=round(fraction, 4),
        threshold=thresholds["critical_fraction" if is_critical else "warning_fraction"],
        unit="fraction of the slots",
    )


def _slots(frames: Frames) -> int | None:
    most = setting_number(frames, "max_connections")
    if most is None:
        return None
    reserved = [setting_number(frames, name) or 0 for name in ("superuser_reserved_connections", "reserved_connections")]
    return max(1, int(most - sum(reserved)))
