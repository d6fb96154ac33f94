"""Pools of a pooler in which clients wait.

What it shows: each pool (database entry and user) whose clients wait for a server connection longer than the threshold,
and which of the causes it is: the pool is too small; its connections are held by idle transactions or idle clients; the
database is slow or blocked; the pooler's own limits; a server that is full, refuses or is not reached; PAUSE. Also
databases that are paused or disabled, and a pooler with as many clients as it allows.

Why it matters: to the application every one of these is the same timeout of "the database", and the remedy of one makes
another worse: a bigger pool before a slow database slows it further.

What to do: follow the remedy of the cause. Where the message says that it is the database, go on with slow_statements or
blocked_sessions; where it says that it is not, leave the database alone.

Known limits: one moment. What a pool's connections do is taken from the sessions of the source beside the pooler, some
tenths of a second later, by their process numbers; behind a second pooler these mean nothing. A database that is slow in
all its statements, each short, looks like a pool that is too small. Before PgBouncer knew SHOW STATE, a PAUSE of all
databases looks like a server that is not reached. Clients that have gone away are counted until the pooler writes to them.
A pool_size of single users (1.24) is not read.

References: https://www.pgbouncer.org/usage.html#show-pools and https://www.pgbouncer.org/config.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, Severity, Subject, quoted
from kit.analyze.pooler_limits import pooler_number
from kit.analyze.saturation import Pool, waiting_pools
from kit.checks import Threshold, rows
from kit.checks.triage._pools import message, remedy
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "capacity and performance"
SOURCE = "pooler"
NEEDS = ("pooler_pools", "pooler_databases")
SEVERITIES = ("critical", "warning")
EXPLAINS = ("53300", "08P01", "08006", "08001", "57014")
THRESHOLDS = (
    Threshold("warning_seconds", 1, "s", "a healthy pool lends a connection within milliseconds", "judgement of this kit"),
    Threshold("critical_seconds", 10, "s", "clients begin to give up", "Prisma's default pool_timeout (10 s)"),
    Threshold(
        "slow_seconds", 1, "s", "statements of a web application take milliseconds", "log_min_duration_statement in use (1 s)"
    ),
    Threshold(
        "clients_fraction", 0.9, "fraction of max_client_conn", "a tenth left is one deploy of a service", "judgement of this kit"
    ),
)
Row = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each pool whose clients wait too long, and for databases and limits that turn clients away."""
    yield Examined(len(frames["pooler_pools"]) + len(frames["pooler_databases"]))
    waiting = [pool for pool in waiting_pools(frames, thresholds["slow_seconds"]) if _is_long(pool, thresholds)]
    for pool in waiting:
        yield _finding(pool, frames, thresholds)
    yield from _closed(frames, {pool.entry for pool in waiting})
    yield from _full(frames, thresholds["clients_fraction"])


def _is_long(pool: Pool, thresholds: Mapping[str, float]) -> bool:
    return pool.wait_seconds >= min(thresholds["warning_seconds"], thresholds["critical_seconds"])


def _finding(pool: Pool, frames: Frames, thresholds: Mapping[str, float]) -> Finding:
    severity: Severity = "critical" if pool.wait_seconds >= thresholds["critical_seconds"] else "warning"
    return Finding(
        severity=severity,
        subject=Subject("pool", f"{pool.entry}/{pool.user}"),
        message=message(pool, frames),
        remedy=remedy(pool, frames),
        evidence=rows([pool.position], "pooler_pools"),
        value=round(pool.wait_seconds, 3),
        threshold=thresholds[f"{severity}_seconds"],
        unit="s",
    )


def _closed(frames: Frames, told: set[str]) -> Iterable[Finding]:
    for position, row in enumerate(records(frames["pooler_databases"])):
        if row["is_disabled"]:
            words = "is disabled in the pooler: every new client is refused. Not the database"
            yield _about_database(row, position, "critical", words, "ENABLE")
        elif row["is_paused"] and row["entry_name"] not in told:
            words = "is paused in the pooler: clients wait from their next statement on. Not the database"
            yield _about_database(row, position, "warning", words, "RESUME")


def _about_database(row: Row, position: int, severity: Severity, words: str, command: str) -> Finding:
    name = row["entry_name"]
    return Finding(
        severity=severity,
        subject=Subject("entry", name),
        message=f"Database {name!r} {words}: somebody said so in its console.",
        remedy=f"Ask who did it and why, then say in the pooler's console: {command} {quoted(name)}",
        evidence=rows([position], "pooler_databases"),
    )


def _full(frames: Frames, fraction: float) -> Iterable[Finding]:
    most, pools = pooler_number(frames, "max_client_conn"), frames["pooler_pools"]
    count = int(pools[["clients_active", "clients_waiting", "clients_cancelling"]].fillna(0).to_numpy().sum())
    if not most or count < fraction * most:
        return
    is_reached, waiting = count >= most, int(pools["clients_waiting"].fillna(0).sum())
    yield Finding(
        severity="critical" if is_reached else "warning",
        subject=Subject("setting", "max_client_conn"),
        message=f"The pooler has {count} of {most:.0f} clients that max_client_conn allows"
        f"{', and refuses every further one' if is_reached else ''}; {waiting} of them wait. "
        "The limit is the pooler's own, not the database's.",
        remedy="See who connects (SHOW CLIENTS) and whether it closes its connections; then raise max_client_conn in the "
        "pooler's configuration, with the limit of open files, and say RELOAD.",
        evidence=rows(range(len(pools)), "pooler_pools"),
        value=round(count / most, 4),
        threshold=1.0 if is_reached else fraction,
        unit="fraction of max_client_conn",
    )
