"""Statements that take most of the server's time.

What it shows: statements of this database, over all users, that are slow and take a considerable share of the time
of all repeated statements: very slow ones with a small share, or moderately slow ones that dominate.

Why it matters: these decide how long requests wait and how much load the server has left; a statement that scans a
growing table passes a timeout (57014) one day without any change of code.

What to do: look at its plan with EXPLAIN (GENERIC_PLAN, from 16 on, takes the text as it is). Where it reads a large
table whole and compares columns without an index, the remedy is that index.

Known limits: means and sums since the last reset hide single slow calls and what changed lately: compare two captures.
Waiting for locks counts as time. Statements of other users are hidden without pg_read_all_stats. A one-time load is no
repeated statement and has no share.

References: https://www.postgresql.org/docs/current/pgstatstatements.html and
https://www.postgresql.org/docs/current/using-explain.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.bloat import in_user_schema
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.analyze.statements import compared_columns, of_this_database, statements
from kit.checks import Threshold, rows
from kit.checks.slow_queries import large_sequential_scans
from kit.checks.slow_queries._indexes import missing_index_of
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "capacity and performance"
NEEDS = ("statements",)
SEVERITIES = ("warning",)
EXPLAINS = ("57014",)
THRESHOLDS = (
    Threshold("slow_ms", 500, "ms a call", "users notice half a second", "judgement of this kit"),
    Threshold("slow_share", 0.05, "fraction of the time", "less is not worth a change", "judgement of this kit"),
    Threshold(
        "dominating_ms",
        5,
        "ms a call",
        "a look-up by index takes well below a millisecond",
        "the staged shop: 50 ms without its index",
    ),
    Threshold(
        "dominating_share",
        0.25,
        "fraction of the time",
        "one statement of many should not take a quarter",
        "the staged shop: 50 ms without its index",
    ),
    Threshold(
        "minimum_calls",
        20,
        "calls",
        "a mean of fewer says little, and loads and migrations stay out",
        "judgement of this kit; pghero takes 100",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each statement that is slow or dominates, the costliest first."""
    visible = of_this_database(frames)
    hidden = int(visible["is_hidden"].fillna(False).sum())
    if hidden:
        yield NotExamined("statements", f"{hidden} of {len(visible)} statements are hidden from this role")
    found = statements(frames, thresholds["minimum_calls"])
    yield Examined(len(found))
    mean, share = found["mean_exec_ms"], found["share_of_time"]
    is_slow = (mean >= thresholds["slow_ms"]) & (share >= thresholds["slow_share"])
    is_dominating = (mean >= thresholds["dominating_ms"]) & (share >= thresholds["dominating_share"])
    slow = found[((is_slow | is_dominating) & (found["calls"] >= thresholds["minimum_calls"])).fillna(False)]
    for row in records(slow):
        positions = visible.index[(visible["query_id"] == row["query_id"]).fillna(False)]
        yield _finding(frames, row, [int(position) for position in positions], thresholds)


def _finding(frames: Frames, row: Mapping[str, Any], positions: list[int], thresholds: Mapping[str, float]) -> Finding:
    text = row["statement"] or "(no text)"
    is_slow = row["mean_exec_ms"] >= thresholds["slow_ms"]
    return Finding(
        severity="warning",
        subject=Subject("statement", row["query_id"]),
        message=f"{_cut(text)} takes {row['mean_exec_ms']:.1f} ms on average over {row['calls']:,} calls, "
        f"{row['share_of_time']:.0%} of the time of all repeated statements.",
        remedy=_index(frames, text)
        or f"Look at its plan (EXPLAIN; from PostgreSQL 16 on `explain (generic_plan)` takes this text): {text}",
        evidence=rows(positions, "statements"),
        value=round(row["mean_exec_ms"], 3),
        threshold=thresholds["slow_ms" if is_slow else "dominating_ms"],
        unit="ms a call",
        relations=frozenset(table for _, table, _ in compared_columns(text)),
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"


def _index(frames: Frames, statement: str) -> str | None:
    """Return the SQL of an index for a large table that the statement compares columns of and that lacks one."""
    if "table_statistics" not in frames or "indexes" not in frames:
        return None
    tables = frames["table_statistics"]
    least = next(t.default for t in large_sequential_scans.THRESHOLDS if t.name == "minimum_rows")
    large = tables[
        ((tables["live_rows"] >= least) & (tables["sequential_scans"] > 0)).fillna(False) & in_user_schema(tables["schema_name"])
    ]
    found = (
        missing_index_of(frames, statement, schema, table)
        for schema, table in zip(large["schema_name"], large["relation_name"], strict=True)
    )
    return next((sql for sql in found if sql), None)
