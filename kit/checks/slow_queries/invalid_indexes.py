"""Indexes that are not valid.

What it shows: indexes left behind by a CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY that failed or was cancelled.

Why it matters: the planner does not use them, so the statement they were made for is as slow as before; yet every
write may maintain them. A migration that says IF NOT EXISTS takes them for done.

What to do: rebuild by the remedy. If it was to be unique and the rows are not, mend the rows first. One whose name ends in
_ccnew or _ccold is a remnant of REINDEX CONCURRENTLY: drop it instead.

Known limits: one that is being built at this moment is not valid either; where another session holds the lock of such
a build on the table (or VACUUM's, which is the same), the index is reported as not examined.

References: https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY and
https://www.postgresql.org/docs/current/sql-reindex.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kit.analyze.bloat import in_user_schema
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "schema"
NEEDS = ("indexes", "locks")
SEVERITIES = ("warning",)
_REMNANT = re.compile(r"_cc(new|old)\d*$")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each index that is not valid and is not being built."""
    indexes = frames["indexes"].reset_index(drop=True)
    yield Examined(len(indexes))
    building = _tables_being_built(frames)
    is_invalid = ~(indexes["is_valid"] & indexes["is_ready"]).fillna(True) & in_user_schema(indexes["schema_name"])
    invalid = indexes[is_invalid]
    for position, row in zip(invalid.index, invalid.to_dict("records"), strict=True):
        subject = Subject("index", row["index_name"], row["schema_name"])
        if (row["schema_name"], row["table_name"]) in building:
            yield NotExamined(
                subject.qualified, f"it may be under construction: {row['table_name']} is locked as by an index build"
            )
            continue
        verb = "drop index concurrently" if _REMNANT.search(subject.name) else "reindex index concurrently"
        yield Finding(
            severity="warning",
            subject=subject,
            message=f"{subject.qualified} on {row['table_name']} is not valid: its build failed or was "
            "cancelled, and no statement uses it.",
            remedy=f"{verb} {subject.qualified}",
            evidence=rows([int(position)], "indexes"),
            relations=frozenset({row["table_name"]}),
        )


def _tables_being_built(frames: Frames) -> set[tuple[str, str]]:
    locks = frames["locks"]
    held = locks[(locks["mode"] == "ShareUpdateExclusiveLock").fillna(False) & locks["is_granted"].fillna(False)]
    return set(zip(held["schema_name"], held["relation_name"], strict=True))
