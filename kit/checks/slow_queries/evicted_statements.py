"""Statement statistics that do not hold all statements.

What it shows: how often pg_stat_statements threw out its least-used entries, because there were more different
statements than pg_stat_statements.max.

Why it matters: what was thrown out counts from zero when it comes again, so rare but slow statements are missing, and
shares of time are of the remaining ones.

What to do: raise pg_stat_statements.max (it needs a restart); and look for statements that differ in nothing but
literals or lists, which a client should send with parameters.

Known limits: needs version 1.9 of the extension (PostgreSQL 14). It counts since the last reset.

References: https://www.postgresql.org/docs/current/pgstatstatements.html#PGSTATSTATEMENTS-PG-STAT-STATEMENTS-INFO
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import Threshold, rows
from kit.checks.triage._settings import setting_text
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("statements_info",)
SEVERITIES = ("info",)
THRESHOLDS = (
    Threshold("evictions", 1, "evictions", "one round already drops five per cent of the entries", "pg_stat_statements.c"),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding if entries were evicted."""
    yield Examined(1)
    evicted = int(frames["statements_info"]["entries_evicted"].fillna(0).sum())
    if evicted < thresholds["evictions"]:
        return
    most = setting_text(frames, "pg_stat_statements.max")
    holds = f" (it holds {most})" if most and most.isdigit() else ""
    yield Finding(
        severity="info",
        subject=Subject("setting", "pg_stat_statements.max"),
        message=f"pg_stat_statements evicted its least-used entries {evicted:,} times{holds}: statements are "
        "missing from the statistics.",
        remedy="Raise pg_stat_statements.max, restart the server, and reset the statistics by "
        "pg_stat_statements_reset(); send values as parameters.",
        evidence=rows([0], "statements_info"),
        value=float(evicted),
        threshold=thresholds["evictions"],
        unit="evictions",
    )
