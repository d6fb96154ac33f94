"""Whatever needs old row versions: sessions, prepared transactions, replication slots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from kit.analyze.findings import Subject, quoted
from kit.checks import rows
from kit.checks.triage._sessions import shown_application, termination
from kit.evidence.model import Frames
from kit.evidence.records import records


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that needs old row versions: how old in transactions, and since when where that is known."""

    subject: Subject
    words: str
    age: int
    since: datetime | None
    remedy: str
    evidence: tuple[str, tuple[int, ...]]


def holders(frames: Frames) -> list[Holder]:
    """Return what holds back VACUUM in this database, the oldest first."""
    return sorted([*_sessions(frames), *_prepared(frames), *_slots(frames)], key=lambda holder: -holder.age)


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
                "Find it by `select gid from pg_prepared_xacts where prepared = "
                f"'{row['prepared_at'].isoformat()}'`, ask its coordinator, "
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
