"""What keeps VACUUM from removing dead rows.

What it shows: sessions, prepared transactions and replication slots that still need old row versions, because their
snapshot is old in transactions or in time; the oldest one decides for all.

Why it matters: no VACUUM removes a row that died after the oldest snapshot was taken: it runs, reads the tables, and
frees nothing. Tables and indexes grow, whatever autovacuum is set to.

What to do: end the oldest holder (the remedy says how), then the next one, then vacuum.

Known limits: a standby with hot_standby_feedback shows as a walsender or a slot. A transaction that wrote and holds no
snapshot (idle in transaction, read committed) is seen by its time only if it has one. Sessions of other databases do
not count, since they hold back only shared catalogs.

References: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY and
https://www.postgresql.org/docs/current/view-pg-replication-slots.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from kit.analyze.changes import records
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject, quoted
from kit.checks import Threshold, rows
from kit.checks.triage._sessions import shown_application, shown_seconds, termination
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("sessions", "prepared_transactions", "replication_slots")
SEVERITIES = ("warning",)
THRESHOLDS = (
    Threshold("age", 1e6, "transactions", "as many as a busy application writes in an hour", "postgres-ai; pgmetrics"),
    Threshold(
        "seconds",
        3600,
        "s",
        "longer than reports and backups of ordinary size",
        "the advice of managed services for transactions",
    ),
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that needs old row versions: how old in transactions, and since when where that is known."""

    subject: Subject
    words: str
    age: int
    since: datetime | None
    remedy: str
    evidence: tuple[str, tuple[int, ...]]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each holder that is too old, the oldest first."""
    hidden = int(frames["sessions"]["is_hidden"].fillna(False).sum())
    if hidden:
        yield NotExamined("sessions", f"the details of {hidden} of {len(frames['sessions'])} sessions are hidden from this role")
    holders = sorted([*_sessions(frames), *_prepared(frames), *_slots(frames)], key=lambda holder: -holder.age)
    yield Examined(len(holders) + 1)
    for rank, holder in enumerate(holders):
        seconds = (frames.at("sessions") - holder.since).total_seconds() if holder.since else 0.0
        if holder.age >= thresholds["age"] or seconds >= thresholds["seconds"]:
            yield _finding(holder, seconds, rank, thresholds)


def _finding(holder: Holder, seconds: float, rank: int, thresholds: Mapping[str, float]) -> Finding:
    is_old = holder.age >= thresholds["age"]
    open_for = f", open for {shown_seconds(seconds)}" if holder.since else ""
    place = "It is the oldest and decides for all." if rank == 0 else f"{rank} older ones come before it."
    return Finding(
        severity="warning",
        subject=holder.subject,
        message=f"{holder.words} holds back VACUUM by {holder.age:,} transactions{open_for}. {place}",
        remedy=holder.remedy,
        evidence=holder.evidence,
        value=float(holder.age) if is_old else round(seconds, 3),
        threshold=thresholds["age" if is_old else "seconds"],
        unit="transactions" if is_old else "s",
    )


def _is_here(frames: Frames, database: str | None) -> bool:
    return database is None or frames.identity is None or database == frames.identity.database


def _sessions(frames: Frames) -> Iterator[Holder]:
    sessions = frames["sessions"].reset_index(drop=True)
    holding = sessions[sessions["xmin_age"].notna()]
    for position, row in zip(holding.index, records(holding), strict=True):
        if _is_here(frames, row["database_name"]):
            words = f"Session {row['pid']} ({shown_application(row['application_name'])}, {row['state'] or row['backend_type']})"
            ends = f"ends session {row['pid']}; what its transaction did is rolled back"
            remedy = termination(row["pid"], row["backend_started_at"], ends)
            subject, at = Subject("session", str(row["pid"])), row["transaction_started_at"]
            yield Holder(subject, words, row["xmin_age"], at, remedy, rows([int(position)], "sessions"))


def _prepared(frames: Frames) -> Iterator[Holder]:
    for position, row in enumerate(records(frames["prepared_transactions"])):
        if _is_here(frames, row["database_name"]):
            name = f"{row['owner_name']} at {row['prepared_at']:%Y-%m-%d %H:%M:%S}"
            remedy = (
                f"Find it by `select gid from pg_prepared_xacts where prepared = '{row['prepared_at'].isoformat()}'`, ask its coordinator, "
                "and end it by `commit prepared '…'` or `rollback prepared '…'`."
            )
            words = f"The transaction prepared by {name} UTC"
            evidence = rows([position], "prepared_transactions")
            yield Holder(Subject("prepared transaction", name), words, row["xid_age"], row["prepared_at"], remedy, evidence)


def _slots(frames: Frames) -> Iterator[Holder]:
    for position, row in enumerate(records(frames["replication_slots"])):
        age = max(row["xmin_age"] or 0, row["catalog_xmin_age"] or 0)
        if age:
            name, state = row["slot_name"], "active" if row["is_active"] else "inactive"
            literal = name.replace("'", "''")
            remedy = (
                "-- only if no replica or subscriber needs it any more: it cannot be taken back\n"
                f"select pg_catalog.pg_drop_replication_slot('{literal}')"
            )
            words = f"The {state} {row['slot_type']} replication slot {quoted(name)}"
            yield Holder(Subject("replication slot", name), words, age, None, remedy, rows([position], "replication_slots"))
