"""Migration ledgers that cannot record a failure.

What it shows: the ledgers in this database in which a failed migration leaves no row, because the tool rolls it back or
writes its row only after success.

Why it matters: "the ledger shows no failure" is no evidence there that the last migration succeeded. Incident reviews go
wrong at this point: the deploy job said "success", the ledger shows nothing, and the table is missing.

What to do: compare the newest row with the newest migration of the release, and look into the migration job's output and
the server's log for an ERROR with its STATEMENT.

Known limits: none is a defect; it says what the check `failed_migrations` cannot know. A tool may have been told to
record more than it does by default.

References: measured with eight tools, of which none left a row of a failed migration; and each tool's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, Subject, quoted
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "change"
NEEDS = ("migration_ledgers",)
SEVERITIES = ("info",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a note for each ledger whose rows never say whether a migration failed."""
    entries = records(frames["migrations"]) if "migrations" in frames else []
    silent = {(row["schema_name"], row["relation_name"]) for row in entries if row["is_failed"] is None}
    for position, ledger in enumerate(records(frames["migration_ledgers"])):
        yield Examined(1)
        if (ledger["schema_name"], ledger["relation_name"]) in silent:
            yield _finding(position, ledger["schema_name"], ledger["relation_name"], ledger["tool"])


def _finding(position: int, schema: str, relation: str, tool: str) -> Finding:
    name = f"{quoted(schema)}.{quoted(relation)}"
    return Finding(
        severity="info",
        subject=Subject("table", relation, schema),
        message=f"The ledger {name} ({tool}) cannot record a failed migration: that it shows none proves nothing.",
        remedy="Compare its newest row with the newest migration of the release, and read the migration job's output.",
        evidence=rows([position], "migration_ledgers"),
    )
