"""Tables whose files are much larger than their rows need.

What it shows: for each table the bytes its live rows need, by their mean width, alignment and fillfactor, against the
size of its file; and of the rest, how much is dead rows that VACUUM can free, and how much is free space.

Why it matters: every sequential scan and every cached page pays for the empty room; backups and disks too.

What to do: with many dead rows, VACUUM: it makes the room usable for new rows. With free space that will not be filled
again, rewrite the table: VACUUM FULL locks it against everyone meanwhile, pg_repack does nearly without.

Known limits: an estimate, within about ten per cent of pgstattuple for tables with fresh statistics; its confidence is
in the message. TOAST and index files are not estimated. Columns whose statistics this role may not read (no SELECT, or
row security) leave their table not examined.

References: https://github.com/ioguix/pgsql-bloat-estimation and
https://www.postgresql.org/docs/current/storage-page-layout.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze import bloat
from kit.analyze.bloat import shown_bytes
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "capacity and performance"
NEEDS = bloat.NEEDS
SEVERITIES = ("warning", "critical")
THRESHOLDS = (
    Threshold(
        "warning_fraction",
        0.5,
        "fraction of the file",
        "free room up to a half is usual where rows are updated",
        "judgement of this kit",
    ),
    Threshold(
        "minimum_wasted_bytes",
        10e6,
        "bytes",
        "below that a rewrite gains nothing, and estimates are coarse",
        "judgement of this kit; splinter 0020 takes 20 MB",
    ),
    Threshold("critical_fraction", 0.8, "fraction of the file", "four of five pages read for nothing", "judgement of this kit"),
    Threshold(
        "critical_wasted_bytes",
        10e9,
        "bytes",
        "more than the caches of a common instance hold",
        "judgement of this kit",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each table with too much waste, and the tables about which nothing can be said."""
    tables = bloat.estimate_heap(frames)
    # A file smaller than the least waste of interest is fine, whatever is in it; a locked one has no size.
    is_small = (tables["table_bytes"] < thresholds["minimum_wasted_bytes"]).fillna(False)
    is_over = (tables["wasted_fraction"] >= thresholds["warning_fraction"]) & (
        tables["wasted_bytes"] >= thresholds["minimum_wasted_bytes"]
    )
    is_over = is_over.fillna(False)
    is_unknown = ~is_small & ~is_over & (tables["confidence"].isna() | tables["is_lower_bound"])
    yield Examined(int((~is_unknown).sum()))
    for row in records(tables[is_unknown]):
        yield NotExamined(_subject(row).qualified, row["reason"])
    for row in records(tables[is_over & ~is_small].sort_values("wasted_bytes", ascending=False)):
        yield _finding(row, thresholds)


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject("table", row["relation_name"], row["schema_name"])


def _finding(row: Mapping[str, Any], thresholds: Mapping[str, float]) -> Finding:
    is_critical = (
        row["wasted_fraction"] >= thresholds["critical_fraction"] and row["wasted_bytes"] >= thresholds["critical_wasted_bytes"]
    )
    return Finding(
        severity="critical" if is_critical else "warning",
        subject=_subject(row),
        message=_message(row),
        remedy=_remedy(row),
        evidence=rows([row["evidence_row"]], "relation_sizes"),
        value=round(row["wasted_fraction"], 4),
        threshold=thresholds["critical_fraction" if is_critical else "warning_fraction"],
        unit="fraction of the file",
    )


def _message(row: Mapping[str, Any]) -> str:
    because = f" ({row['reason']})" if row["reason"] else ""
    least = "at least " if row["is_lower_bound"] else ""
    return (
        f"{_subject(row).qualified} is {shown_bytes(row['table_bytes'])} large, and its {row['live_rows']:,} rows need "
        f"{shown_bytes(row['expected_bytes'])}: {least}{row['wasted_fraction']:.0%} is waste, of it "
        f"{shown_bytes(row['dead_bytes'])} in "
        f"{row['dead_rows']:,} dead rows. Confidence: {row['confidence']}{because}."
    )


def _remedy(row: Mapping[str, Any]) -> str:
    name = _subject(row).qualified
    if row["dead_bytes"] >= row["wasted_bytes"] / 2:
        return (
            f"vacuum (analyze) {name}\n-- makes the room of dead rows usable again; only a rewrite would give it back to the disk"
        )
    return (
        "-- locks the table against all reading and writing while it runs; pg_repack rewrites it nearly "
        f"without\nvacuum (full, analyze) {name}"
    )
