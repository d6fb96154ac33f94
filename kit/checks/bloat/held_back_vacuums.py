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

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined
from kit.checks import Threshold
from kit.checks.bloat._holders import Holder, holders
from kit.checks.triage._sessions import shown_seconds
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("sessions", "prepared_transactions", "replication_slots")
SEVERITIES = ("warning",)
THRESHOLDS = (
    Threshold("age", 1e6, "transactions", "as many as a busy application writes in an hour", "judgement of this kit"),
    Threshold(
        "seconds",
        3600,
        "s",
        "longer than reports and backups of ordinary size",
        "judgement of this kit",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each holder that is too old, the oldest first."""
    hidden = int(frames["sessions"]["is_hidden"].fillna(False).sum())
    if hidden:
        yield NotExamined("sessions", f"the details of {hidden} of {len(frames['sessions'])} sessions are hidden from this role")
    found = holders(frames)
    yield Examined(len(found) + 1)
    for rank, holder in enumerate(found):
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
