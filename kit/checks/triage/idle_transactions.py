"""Sessions that are idle inside a transaction.

What it shows: sessions whose transaction is open while they wait for their client, for longer than the threshold.

Why it matters: such a transaction keeps its locks, its connection and, often, its snapshot: others wait behind it, and
VACUUM cannot remove rows that died since.

What to do: find what the application does between its statements (a call to another service, a user's input, a leaked
connection); end the session by the remedy; set idle_in_transaction_session_timeout for the role.

Known limits: one moment. Sessions of other users are hidden from a role without pg_read_all_stats; they are counted as
not examined.

References: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW and
https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.checks.triage._sessions import shown_application, shown_seconds, termination
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "capacity and performance"
NEEDS = ("sessions",)
SEVERITIES = ("warning",)
EXPLAINS = ("57014", "55P03")
THRESHOLDS = (
    Threshold(
        "idle_seconds",
        300,
        "s",
        "no request of a web application lasts so long; tools that hold one open on purpose are rare",
        "judgement of this kit",
    ),
)
STATES = ("idle in transaction", "idle in transaction (aborted)")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each session that has been idle in its transaction for too long."""
    sessions = frames["sessions"].reset_index(drop=True)
    hidden = int(sessions["is_hidden"].fillna(False).sum())
    yield Examined(len(sessions) - hidden)
    if hidden:
        yield NotExamined("sessions", f"the details of {hidden} of {len(sessions)} sessions are hidden from this role")
    now = frames.at("sessions")
    idle = sessions[sessions["state"].isin(STATES)]
    for position, row in zip(idle.index, records(idle), strict=True):
        seconds = (now - (row["state_changed_at"] or now)).total_seconds()
        if seconds >= thresholds["idle_seconds"]:
            yield _finding(row, int(position), seconds, now, thresholds["idle_seconds"])


def _finding(row: Mapping[str, Any], position: int, seconds: float, now: datetime, threshold: float) -> Finding:
    who = shown_application(row["application_name"])
    opened = (now - (row["transaction_started_at"] or now)).total_seconds()
    ends = f"ends session {row['pid']} of {who}; what its transaction did is rolled back".replace("\n", " ")
    return Finding(
        severity="warning",
        subject=Subject("session", str(row["pid"])),
        message=f"Session {row['pid']} of {row['user_name']} ({who}) has been {row['state']} for {shown_seconds(seconds)}; "
        f"the transaction is open for {shown_seconds(opened)}.",
        remedy=termination(row["pid"], row["backend_started_at"], ends),
        evidence=rows([position], "sessions"),
        value=round(seconds, 3),
        threshold=threshold,
        unit="s",
    )
