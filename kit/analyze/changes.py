"""The time line: everything that is known to have been altered, and when, over all sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from kit.evidence.model import Frames
from kit.evidence.records import Record, records


@dataclass(frozen=True, slots=True)
class Change:
    """Something altered at a time, in UTC; `effective_at` where it took effect later.

    `outcome` is in words ("ready", "applied", "failed: …", "rolled back"), and None where it is not known.
    """

    at: datetime
    effective_at: datetime | None
    kind: str
    summary: str
    source: str
    outcome: str | None


def changes(frames_by_source: Mapping[str, Frames]) -> list[Change]:
    """Return the changes of all sources whose time is known, by time; what two sources both tell stands once."""
    found = [change for source, frames in sorted(frames_by_source.items()) for change in _of_source(source, frames)]
    # Two identities on one server tell of the same restart: the source does not make it another change.
    once = {(change.at, change.kind, change.summary): change for change in reversed(found)}
    return sorted(once.values(), key=lambda change: (change.at, change.kind, change.summary))


def _of_source(source: str, frames: Frames) -> Iterator[Change]:
    for name, tell in _TELLERS.items():
        for row in records(frames[name]) if name in frames else []:
            yield from tell(source, row)


def _revision(source: str, row: Record) -> Iterator[Change]:
    outcomes = {True: "ready", False: f"failed: {row['ready_message'] or row['ready_reason'] or 'not ready'}"}
    image = f", image {row['image']}" if row["image"] else ""
    creator = f", by {row['creator']}" if row["creator"] else ""
    summary = f"revision {row['revision_name']} created{image}{creator}"
    effective_at = row["ready_changed_at"] if row["is_ready"] else None
    yield from _known(row["created_at"], effective_at, "revision", summary, source, outcomes.get(row["is_ready"]))


def _audit_change(source: str, row: Record) -> Iterator[Change]:
    failed = row["status_code"] is not None
    outcome = f"failed: {row['status_message'] or 'code ' + str(row['status_code'])}" if failed else "accepted"
    actor = f", by {row['actor']}" if row["actor"] else ""
    yield from _known(row["at"], None, row["kind"], f"{row['summary'] or row['method']}{actor}", source, outcome)


def _migration(source: str, row: Record) -> Iterator[Change]:
    summary = f"migration {row['migration_name']} ({row['tool']}, {row['schema_name']}.{row['relation_name']})"
    at = row["started_at"] or row["finished_at"]
    # A migration takes effect when it commits.
    yield from _known(at, row["finished_at"], "migration", summary, source, _migration_outcome(row))
    yield from _known(row["rolled_back_at"], None, "migration", f"{summary} marked as rolled back", source, None)


def _migration_outcome(row: Record) -> str:
    if row["rolled_back_at"] is not None:
        return "rolled back"
    return "failed or unfinished" if row["is_failed"] else "applied"


def _session(source: str, row: Record) -> Iterator[Change]:
    yield from _known(row["server_started_at"], None, "restart", "the database server started", source, None)
    loaded = "the database server loaded its configuration"
    yield from _known(row["configuration_loaded_at"], None, "setting", loaded, source, None)


def _statements_info(source: str, row: Record) -> Iterator[Change]:
    summary = "the statistics of statements were reset"
    yield from _known(row["statistics_reset_at"], None, "statistics reset", summary, source, None)


def _known(
    at: datetime | None, effective_at: datetime | None, kind: str, summary: str, source: str, outcome: str | None
) -> Iterator[Change]:
    if at is not None:
        yield Change(at, effective_at, kind, summary, source, outcome)


_TELLERS: Mapping[str, Callable[[str, Record], Iterator[Change]]] = {
    "revisions": _revision,
    "audit_changes": _audit_change,
    "migrations": _migration,
    "session": _session,
    "statements_info": _statements_info,
}
