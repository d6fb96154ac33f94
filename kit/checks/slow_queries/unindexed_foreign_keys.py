"""Foreign keys without an index on the referencing side.

What it shows: foreign keys of tables with many rows for which no valid, complete index begins with their columns.

Why it matters: every DELETE of a referenced row, and every change of its key, searches the referencing table from end to
end while it holds locks; joins along the key do the same.

What to do: build the index by the remedy. Where referenced rows are never deleted and nobody joins, leave it.

Known limits: whether rows are deleted is judged by the counters since the last reset. Indexes with the columns in any
order count; partial ones and expressions do not.

References: https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK and
https://github.com/supabase/splinter (0001)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kit.analyze.bloat import in_user_schema, plain_lists
from kit.analyze.findings import Examined, Finding, Judgement, Severity, Subject, quoted
from kit.checks import Threshold, rows
from kit.checks.slow_queries._indexes import create_index, leads_with, usable_indexes
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("foreign_keys", "indexes", "table_statistics")
SEVERITIES = ("info", "warning")
THRESHOLDS = (
    Threshold(
        "minimum_rows", 1_000, "rows of the referencing table", "a smaller one is searched in no time", "judgement of this kit"
    ),
    Threshold(
        "warning_rows",
        10_000,
        "rows of the referencing table",
        "from here on a search takes milliseconds",
        "large_sequential_scans",
    ),
    Threshold(
        "warning_deletes",
        100,
        "deleted rows of the referenced table",
        "they are deleted as a matter of course",
        "judgement of this kit",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each foreign key of a table of some size that has no index."""
    keys = frames["foreign_keys"].reset_index(drop=True)
    yield Examined(len(keys))
    statistics = frames["table_statistics"]
    names = list(zip(statistics["schema_name"], statistics["relation_name"], strict=True))
    live = dict(zip(names, statistics["live_rows"].fillna(0), strict=True))
    deleted = dict(zip(names, statistics["rows_deleted"].fillna(0), strict=True))
    unindexed = keys[_unindexed(frames, keys) & in_user_schema(keys["schema_name"])]
    for position, row in zip(unindexed.index, unindexed.to_dict("records"), strict=True):
        # The parent of partitions has no counters of its own, so its size is not known: 0.
        count = int(live.get((row["schema_name"], row["table_name"]), 0))
        deletes = int(deleted.get((row["referenced_schema_name"], row["referenced_table_name"]), 0))
        if count >= thresholds["minimum_rows"]:
            yield _finding(row, int(position), count, deletes, thresholds)


def _unindexed(frames: Frames, keys: pd.DataFrame) -> pd.Series:
    indexes = usable_indexes(frames)
    indexes = indexes[indexes["table_oid"].isin(keys["table_oid"])]
    by_table: dict[str, list[list[str] | None]] = {}
    for oid, columns in zip(indexes["table_oid"], plain_lists(indexes["column_names"]), strict=True):
        by_table.setdefault(oid, []).append(columns)
    verdicts = [
        not any(leads_with(have or [], wanted or []) for have in by_table.get(oid, []))
        for oid, wanted in zip(keys["table_oid"], plain_lists(keys["column_names"]), strict=True)
    ]
    return pd.Series(verdicts, index=keys.index, dtype=bool)


def _finding(row: Mapping[str, Any], position: int, count: int, deletes: int, thresholds: Mapping[str, float]) -> Finding:
    is_hot = count >= thresholds["warning_rows"] and deletes >= thresholds["warning_deletes"]
    severity: Severity = "warning" if is_hot else "info"
    table = f"{quoted(row['schema_name'])}.{quoted(row['table_name'])}"
    referenced = f"{quoted(row['referenced_schema_name'])}.{quoted(row['referenced_table_name'])}"
    return Finding(
        severity=severity,
        subject=Subject("foreign key", f"{row['table_name']}.{row['constraint_name']}", row["schema_name"]),
        message=f"{table} ({count:,} rows) references {referenced} by ({', '.join(row['column_names'])}) without an index; "
        f"{deletes:,} rows of {referenced} were deleted.",
        remedy=create_index(row["schema_name"], row["table_name"], row["column_names"]),
        evidence=rows([position], "foreign_keys"),
        value=float(count),
        threshold=thresholds["warning_rows" if is_hot else "minimum_rows"],
        unit="rows",
        relations=frozenset({row["table_name"], row["referenced_table_name"]}),
    )
