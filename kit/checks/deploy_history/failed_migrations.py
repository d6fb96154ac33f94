"""Migrations that failed or did not finish.

What it shows: rows of a migration ledger that record a failure, or a start with no end, and that neither a rollback
nor a later success of the same migration has settled. One that started a short while before the capture may still
be running, and is a warning.

Why it matters: what the migration should have created is missing or half there, and tools such as Prisma and Flyway
refuse every later migration until the failed one is settled: the next deploy changes nothing either.

What to do: read the ledger's row and the server's log for the error, undo what the migration left behind, tell the
tool so with the command shown, and deploy again.

Known limits: most ledgers cannot record a failure at all (Alembic, Django, Rails, Knex and others roll it back or
write nothing); no failed row there is no sign of success, which the check `silent_ledgers` says of each. `prisma db
push` writes no row either.

References: https://www.prisma.io/docs/orm/prisma-migrate/workflows/patching-and-hotfixing and
https://documentation.red-gate.com/flyway/reference/commands/repair
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject, quoted
from kit.checks import Threshold, rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "change"
NEEDS = ("migration_ledgers",)
SEVERITIES = ("critical", "warning")
EXPLAINS = ("42P01", "42703", "42704")
EXPLAINS_ABSENCE = True
SOURCE = "postgres"
THRESHOLDS = (
    Threshold(
        name="running_minutes",
        default=10,
        unit="minutes",
        reason="a deploy job that migrates is mostly given about ten minutes",
        source="Cloud Run jobs: a task's timeout is 10 minutes by default",
    ),
)

Record = Mapping[str, Any]
Numbered = tuple[int, Record]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each migration that is failed or unfinished, and what no ledger can tell."""
    now = frames.at("migration_ledgers")
    found = _grouped(enumerate(records(frames["migrations"])) if "migrations" in frames else (), _LEDGER)
    yield from _unread(frames)
    for entries in found.values():
        if any(row["is_failed"] is None for _, row in entries):
            yield Examined(0)  # it cannot record a failure: check `silent_ledgers` says so
            continue
        migrations = _grouped(entries, ("migration_name",))
        yield Examined(len(migrations))
        for attempts in migrations.values():
            yield from _judge_migration(attempts, now, timedelta(minutes=thresholds["running_minutes"]))


def _unread(frames: Frames) -> Iterator[NotExamined]:
    """A ledger that the asker may not read is a gap of its own, `migrations:<schema>.<table>`."""
    for name, gap in frames.gaps.items():
        if name.startswith("migrations:"):
            yield NotExamined(name.removeprefix("migrations:"), gap.reason)


_LEDGER = ("tool", "schema_name", "relation_name")


def _grouped(numbered: Iterable[Numbered], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Numbered]]:
    groups: dict[tuple[Any, ...], list[Numbered]] = {}
    for position, row in numbered:
        groups.setdefault(tuple(row[key] for key in keys), []).append((position, row))
    return groups


def _relation(schema: str, relation: str) -> str:
    return f"{quoted(schema)}.{quoted(relation)}"


def _judge_migration(attempts: Sequence[Numbered], now: datetime, running: timedelta) -> Iterator[Finding]:
    failed = [item for item in attempts if _is_failed(item[1]) and not _is_settled(item, attempts)]
    if failed:
        started_at = failed[-1][1]["started_at"]
        may_run = _is_unfinished(failed[-1][1]) and started_at is not None and now - started_at < running
        yield _finding(failed, now, running if may_run else None)


def _is_failed(row: Record) -> bool:
    return bool(row["is_failed"]) and row["rolled_back_at"] is None


def _is_unfinished(row: Record) -> bool:
    return row["finished_at"] is None


def _is_settled(failed: Numbered, attempts: Sequence[Numbered]) -> bool:
    """Return whether a later attempt of the same migration went well."""
    good = (item for item in attempts if not item[1]["is_failed"] and item[1]["rolled_back_at"] is None)
    return any(_order(item, failed) > _order(failed, item) for item in good)


def _order(item: Numbered, other: Numbered) -> tuple[datetime, int]:
    """Return what sorts attempts: their start, and where either has none, their place in the ledger."""
    is_timed = item[1]["started_at"] is not None and other[1]["started_at"] is not None
    return (item[1]["started_at"] if is_timed else _NEVER), item[0]


_NEVER = datetime.min.replace(tzinfo=UTC)


def _finding(failed: Sequence[Numbered], now: datetime, running: timedelta | None) -> Finding:
    row = failed[-1][1]
    minutes = None if row["started_at"] is None else (now - row["started_at"]).total_seconds() / 60
    return Finding(
        severity="critical" if running is None else "warning",
        subject=Subject("migration", row["migration_name"] or "unnamed", row["schema_name"]),
        message=_message(row, running is not None),
        remedy=_remedy(row) if running is None else "Wait until it has ended, then capture again.",
        evidence=rows([position for position, _ in failed], "migrations"),
        value=None if minutes is None else round(minutes, 3),
        threshold=None if running is None else running.total_seconds() / 60,
        unit=None if minutes is None else "minutes",
    )


def _message(row: Record, may_run: bool) -> str:
    started = "" if row["started_at"] is None else f", started at {row['started_at']:%Y-%m-%d %H:%M:%S} UTC,"
    ended = "has not finished and may still run" if may_run else "failed" + (" or never finished" if _is_unfinished(row) else "")
    ledger = _relation(row["schema_name"], row["relation_name"])
    return f"Migration {row['migration_name']} of {row['tool']} (ledger {ledger}){started} {ended}."


def _remedy(row: Record) -> str:
    name = shlex.quote(row["migration_name"] or "")
    command = _COMMANDS.get(row["tool"], "run the tool again").replace("NAME", name)
    return f"Undo what it left behind, then:\n{command}"


_COMMANDS: Mapping[str, str] = {
    "prisma": "prisma migrate resolve --rolled-back NAME\nprisma migrate deploy",
    "flyway": "flyway repair\nflyway migrate",
    "golang-migrate": 'migrate -path migrations -database "$DATABASE_URL" force PREVIOUS_VERSION\n'
    'migrate -path migrations -database "$DATABASE_URL" up',
    "sqlx": "delete its row from the ledger\nsqlx migrate run",
    "atlas": "atlas migrate apply",
}
