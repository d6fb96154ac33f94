"""Connection slots that are nearly all taken.

What it shows: the number of client sessions as a fraction of the slots that ordinary roles may use, which are
max_connections less the reserved ones; and what most of these sessions do, which tells an application that leaks
connections or transactions from a database that is slow.

Why it matters: at the limit every new connection is refused with 53300, usually in the moment of most traffic.

What to do: find the application that holds most slots (the message names it). Where most are idle, make its pool
smaller or put a pooler in transaction mode in between; where they are idle in transactions, mend the application; where
they wait for locks or run long, the slots are only the consequence: go on with blocked_sessions or slow_statements.

Known limits: the sessions of one moment. Limits of single roles and databases are not looked at, and the queue inside a
pooler only where its console is named (saturated_pools). Where details are hidden, parallel workers count as sessions,
and what they do is not known.

References: https://www.postgresql.org/docs/current/runtime-config-connection.html and
https://www.pgbouncer.org/features.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.analyze.saturation import Doing, Holders, clients, holders, slots
from kit.checks import Threshold, rows
from kit.checks.triage._pools import shown_doing
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
    Threshold(
        "slow_seconds", 1, "s", "statements of a web application take milliseconds", "log_min_duration_statement in use (1 s)"
    ),
)
_POOL = (
    "Make the pool of that application smaller, or put a pooler in transaction mode in between; end sessions that are idle "
    "for long. More slots (max_connections) need a restart and memory."
)
# What it means that most sessions do this, and what to do then.
_MEANINGS: Mapping[Doing, tuple[str, str]] = {
    "idle": ("Not the database: most do nothing, so applications open more connections than they use, or leak them.", _POOL),
    "idle in transaction": (
        "Not the database: most hold a transaction open and do nothing in it, so an application forgets to end them.",
        (
            "End transactions in the application before it does anything else; set idle_in_transaction_session_timeout for its "
            "role, and see idle_transactions for the sessions to end now. More slots would fill as well."
        ),
    ),
    "lock wait": (
        "The database is blocked: most wait for a lock, and new requests pile up behind them.",
        "See blocked_sessions for the session at the root, and end it or wait for it. More slots would only add waiters.",
    ),
    "long statement": (
        "The database is slow: most are in a long statement, and new requests pile up behind them.",
        "See slow_statements for the statement, and end what should not run. More slots would slow it further.",
    ),
    "short statement": (
        "Most are at work in short statements: more of them at once than the slots allow for.",
        (
            "Put a pooler in transaction mode in between, or make the pools of the applications smaller: fewer at a time are "
            "faster. More slots (max_connections) need a restart and memory."
        ),
    ),
}


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding if the client sessions come near to the limit, with what most of them do."""
    found = slots(frames)
    if found is None:
        yield NotExamined("max_connections", "the setting was not visible")
        return
    yield Examined(1)
    fraction = found.taken / found.total
    if fraction < thresholds["warning_fraction"]:
        return
    is_critical = fraction >= thresholds["critical_fraction"]
    sessions = clients(frames["sessions"])
    held = holders(sessions, frames, thresholds["slow_seconds"])
    who = sessions["application_name"].fillna("").value_counts()
    yield Finding(
        severity="critical" if is_critical else "warning",
        subject=Subject("setting", "max_connections"),
        message=f"{found.taken} of {found.total} connection slots for ordinary roles are taken ({shown_doing(held)}); "
        f"most ({who.iloc[0]}) are held by application {who.index[0] or '(no name)'!r}. {_meaning(held)}",
        remedy=_MEANINGS[held.most][1] if held.most else _POOL,
        evidence=rows(list(sessions.index), "sessions"),
        value=round(fraction, 4),
        threshold=thresholds["critical_fraction" if is_critical else "warning_fraction"],
        unit="fraction of the slots",
    )


def _meaning(held: Holders) -> str:
    if held.most is None:
        return "What most of them do is hidden from this role."
    is_work = held.most in ("lock wait", "long statement", "short statement")
    same = f" {held.same_statement} run the same statement." if is_work and held.same_statement > 1 else ""
    return f"{_MEANINGS[held.most][0]}{same}"
