"""Sessions that wait for a lock another session holds.

What it shows: each session that has waited for a lock longer than the threshold, the sessions it waits for, and the one
at the root: the session that waits for nobody and for which, directly or not, all the others wait.

Why it matters: a waiting session holds its connection and its own locks; the queue grows until pools are exhausted and
statements end by their timeouts (57014, 55P03). A lock that only waits already blocks those who come after it.

What to do: look at what the root does. If it is idle in a transaction, its application forgot to commit: end it by the
remedy. If it works, decide whether its work or the waiting is worth more.

Known limits: one moment; waits that come and go are seen by chance. Before PostgreSQL 14 the time is that of the
statement, not of the wait. Sessions whose details are hidden are named by their process number alone.

References: https://www.postgresql.org/docs/current/functions-info.html (pg_blocking_pids) and
https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Severity, Subject
from kit.analyze.locks import PREPARED, blocked_sessions
from kit.checks import Threshold, rows
from kit.checks.triage._sessions import lock_waited_for, shown_application, shown_blockers, shown_seconds, termination
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "capacity and performance"
NEEDS = ("blocking", "sessions")
SEVERITIES = ("critical", "warning")
EXPLAINS = ("57014", "55P03")
THRESHOLDS = (
    Threshold(
        "warning_seconds", 1, "s", "waits of a healthy application are of milliseconds", "deadlock_timeout, log_lock_waits (1 s)"
    ),
    Threshold(
        "critical_seconds",
        60,
        "s",
        "longer than users and most statement timeouts wait",
        "nginx proxy_read_timeout (60 s)",
    ),
    Threshold(
        "critical_sessions",
        10,
        "sessions behind one root",
        "a queue of the size of a usual pool stops the application, though no single wait is long yet",
        "HikariCP's default pool size",
    ),
)
Row = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each session of this database that waits too long, the longest wait first."""
    database = frames.identity.database if frames.identity else None
    waits = list(enumerate(records(blocked_sessions(frames))))
    here = [(i, row) for i, row in waits if row["database_name"] in (None, database) and row["blocker_pids"]]
    yield Examined(len(here))
    for position, row in sorted(here, key=lambda item: -(item[1]["waiting_seconds"] or 0)):
        if row["waiting_seconds"] is None:
            yield NotExamined(f"session {row['blocked_pid']}", "since when it waits is hidden from this role")
        elif row["waiting_seconds"] >= thresholds["warning_seconds"]:
            yield _finding(row, position, thresholds)


def _finding(row: Row, position: int, thresholds: Mapping[str, float]) -> Finding:
    is_long = row["waiting_seconds"] >= thresholds["critical_seconds"]
    is_many = row["sessions_behind_root"] >= thresholds["critical_sessions"]
    severity: Severity = "critical" if is_long or is_many else "warning"
    relation = row["relation_name"]
    return Finding(
        severity=severity,
        subject=Subject("session", str(row["blocked_pid"])),
        message=_message(row),
        remedy=_remedy(row),
        evidence=rows([position], "blocking"),
        value=round(row["waiting_seconds"], 3),
        threshold=thresholds["critical_seconds" if is_long else "warning_seconds"],
        unit="s",
        relations=frozenset({relation}) if relation else frozenset(),
    )


def _message(row: Row) -> str:
    upper = "up to " if row["is_upper_bound"] else ""
    waited = f"has waited {upper}{shown_seconds(row['waiting_seconds'])} for {lock_waited_for(row)}"
    who = f"Session {row['blocked_pid']} ({shown_application(row['application_name'])})"
    return f"{who} {waited}, behind {shown_blockers(row['blocker_pids'])}. {_root(row)}"


def _root(row: Row) -> str:
    if row["root_pid"] is None:
        return "They wait in a circle: a deadlock, which the server ends by itself."
    if row["root_pid"] == PREPARED:
        return "At the root is a prepared transaction, which no session holds any more."
    age = row["root_transaction_seconds"]
    open_for = "" if age is None else f", in a transaction open for {shown_seconds(age)}"
    state = row["root_state"] or "state hidden"
    return (
        f"At the root is session {row['root_pid']} ({shown_application(row['root_application_name'])}, "
        f"{state}{open_for}), for which {row['sessions_behind_root']} wait."
    )


def _remedy(row: Row) -> str:
    if row["root_pid"] is None:
        return "Wait for deadlock_timeout, after which the server ends one of them; then make the applications lock in one order."
    if row["root_pid"] == PREPARED:
        return (
            "Find it by `select gid, prepared, owner, database from pg_prepared_xacts order by "
            "prepared`, ask its coordinator, and end it "
            "by `commit prepared '…'` or `rollback prepared '…'`."
        )
    ends = (
        f"ends session {row['root_pid']} of {shown_application(row['root_application_name'])}; what its "
        "transaction did is rolled back"
    )
    return termination(row["root_pid"], row["root_started_at"], ends.replace("\n", " "))
