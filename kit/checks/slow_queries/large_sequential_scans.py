"""Large tables that are read from end to end, again and again.

What it shows: tables with many rows whose sequential scans are many, read most of the table each time, and are a
considerable part of all scans.

Why it matters: such a statement takes longer with every row inserted, and pushes other tables out of the caches; an
index on the columns it compares makes it as fast as a look-up.

What to do: find the statement (slow_statements often names it) and build the index; where statements were captured the
remedy is that of the costliest one that compares columns of the table.

Known limits: counted since the last reset of statistics, so a scan that an index has ended since still counts: compare
two captures. Reports, dumps and index builds scan tables too. Statements are parsed without knowing views and functions.

References: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW and
https://www.postgresql.org/docs/current/indexes-intro.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from kit.analyze.bloat import in_user_schema
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import Threshold, rows
from kit.checks.slow_queries._indexes import missing_index
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("table_statistics",)
SEVERITIES = ("warning",)
EXPLAINS = ("57014",)
THRESHOLDS = (
    Threshold("minimum_rows", 10_000, "rows", "smaller tables are read whole in a few milliseconds", "pghero, missing indexes"),
    Threshold("minimum_scans", 20, "scans", "fewer are dumps, index builds and reports", "judgement of this kit"),
    Threshold(
        "minimum_read_fraction", 0.5, "fraction of the table a scan", "less is stopped early, by LIMIT", "judgement of this kit"
    ),
    Threshold(
        "minimum_sequential_fraction",
        0.1,
        "fraction of all scans",
        "a table used by index nine times of ten has the indexes it needs, and a few reports",
        "judgement of this kit; pghero takes 5 %",
    ),
)


def large_scans(frames: Frames, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Return the rows of `table_statistics` of such tables, with their position as index and what a scan reads."""
    tables = frames["table_statistics"].reset_index(drop=True)
    scans = tables["sequential_scans"].astype("Float64").where(tables["sequential_scans"] > 0)
    fraction = tables["sequential_rows_read"] / scans / tables["live_rows"].astype("Float64").where(tables["live_rows"] > 0)
    share = scans / (scans + tables["index_scans"].fillna(0))
    is_large = (
        (tables["live_rows"] >= thresholds["minimum_rows"])
        & (scans >= thresholds["minimum_scans"])
        & (fraction >= thresholds["minimum_read_fraction"])
        & (share >= thresholds["minimum_sequential_fraction"])
        & in_user_schema(tables["schema_name"])
    )
    return tables.assign(read_fraction=fraction)[is_large.fillna(False)]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each large table that is read whole too often, the most rows read first."""
    yield Examined(len(frames["table_statistics"]))
    found = large_scans(frames, thresholds).sort_values("sequential_rows_read", ascending=False)
    for position, row in zip(found.index, found.to_dict("records"), strict=True):
        subject = Subject("table", row["relation_name"], row["schema_name"])
        index = missing_index(frames, row["schema_name"], row["relation_name"])
        yield Finding(
            severity="warning",
            subject=subject,
            message=f"{subject.qualified} ({row['live_rows']:,} rows) was read from end to end {row['sequential_scans']:,} times "
            f"({row['sequential_rows_read']:,} rows in all), against {_shown(row['index_scans'])} scans by index.",
            remedy=index
            or f"Find the statements that read {subject.qualified} without an index (EXPLAIN shows Seq "
            "Scan), and index what they compare.",
            evidence=rows([int(position)], "table_statistics"),
            value=float(row["sequential_scans"]),
            threshold=thresholds["minimum_scans"],
            unit="scans",
        )


def _shown(scans: int) -> str:
    return "0" if pd.isna(scans) else f"{scans:,}"
