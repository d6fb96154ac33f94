"""Indexes that no scan has used.

What it shows: indexes without a single scan since statistics began, if these are old enough to tell; never one that is
unique, a primary key, behind a constraint, or of use to a foreign key.

Why it matters: every insert and most updates maintain each index, and VACUUM reads it; an index nobody reads costs
all that for nothing.

What to do: see whether a replica uses it (statistics are per server) and whether a monthly job does; then drop it
without locking by the remedy, and keep its definition at hand.

Known limits: statistics of this server alone. An index made a short while ago has had no chance yet: its age is in no
catalog. Indexes on partitions belong to that of their parent and are left out.

References: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-INDEXES-VIEW and
https://github.com/mfvanek/pg-index-health-sql
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import pandas as pd

from kit.analyze.bloat import in_user_schema, plain_lists, shown_bytes
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.checks.slow_queries._indexes import leads_with
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("indexes", "foreign_keys", "relations", "databases", "session")
SEVERITIES = ("info",)
THRESHOLDS = (
    Threshold("minimum_statistics_days", 7, "days", "a weekly job must have had its chance", "judgement of this kit"),
    Threshold("minimum_bytes", 1e6, "bytes", "smaller ones cost next to nothing", "judgement of this kit"),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each index without a scan, if statistics are old enough."""
    since = _statistics_since(frames)
    days = None if since is None else (frames.at("indexes") - since).total_seconds() / 86_400
    if days is None or days < thresholds["minimum_statistics_days"]:
        known = "of an unknown age" if days is None else f"{days:.1f} days old"
        yield NotExamined("indexes", f"the statistics are {known}; {thresholds['minimum_statistics_days']:g} days are needed")
        return
    indexes = frames["indexes"].reset_index(drop=True)
    yield Examined(len(indexes))
    unused = _unused(frames, indexes, thresholds["minimum_bytes"])
    for position, row in zip(unused.index, unused.to_dict("records"), strict=True):
        subject = Subject("index", row["index_name"], row["schema_name"])
        yield Finding(
            severity="info",
            subject=subject,
            message=f"{subject.qualified} ({shown_bytes(row['index_bytes'])}, on {row['table_name']}) was not "
            f"scanned once in {days:.0f} days.",
            remedy=f"-- after checking replicas and rare jobs:\ndrop index concurrently {subject.qualified}",
            evidence=rows([int(position)], "indexes"),
            value=0.0,
            threshold=0.0,
            unit="scans",
        )


def _statistics_since(frames: Frames) -> datetime | None:
    """Return since when scans are counted at least: the last reset, else the start of the server (it may be longer)."""
    databases = frames["databases"]
    reset = databases.loc[databases["is_current"].fillna(False), "statistics_reset_at"].dropna()
    known = reset if len(reset) else frames["session"]["server_started_at"].dropna()
    return pd.Timestamp(known.iloc[0]).to_pydatetime() if len(known) else None


def _unused(frames: Frames, indexes: pd.DataFrame, minimum_bytes: float) -> pd.DataFrame:
    relations = frames["relations"]
    partitions = set(relations.loc[relations["is_partition"].fillna(False), "relation_oid"])
    needed = indexes["is_unique"] | indexes["is_primary"] | indexes["backs_constraint"] | ~indexes["is_valid"]
    is_idle = (indexes["scans"] == 0) & (indexes["index_bytes"] >= minimum_bytes) & ~needed
    candidates = indexes[
        (is_idle & ~indexes["table_oid"].isin(partitions)).fillna(False) & in_user_schema(indexes["schema_name"])
    ]
    keys: dict[str, list[list[str]]] = {}
    for oid, key in zip(frames["foreign_keys"]["table_oid"], plain_lists(frames["foreign_keys"]["column_names"]), strict=True):
        keys.setdefault(oid, []).append(key or [])
    serves = [
        any(leads_with(columns or [], key) for key in keys.get(oid, []))
        for oid, columns in zip(candidates["table_oid"], plain_lists(candidates["column_names"]), strict=True)
    ]
    return candidates[[not item for item in serves]].sort_values("index_bytes", ascending=False)
