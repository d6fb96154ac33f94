"""Databases whose oldest transaction number is near the end of the numbers.

What it shows: the age of the oldest unfrozen transaction number (and multixact number) of each database.

Why it matters: the numbers are 32 bits; some 2.1 thousand million after the oldest one the server refuses every
command that writes, until the tables were vacuumed.

What to do: vacuum the database; if the age does not fall, something holds back the horizon (see held_back_vacuums): an
old transaction, a prepared one, or a replication slot.

Known limits: the ages of databases; the tables that cause them are in `relations`. A database that takes no sessions
(template0) is frozen by autovacuum alone.

References: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import Threshold, rows
from kit.checks.triage._settings import setting_number
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "data integrity"
NEEDS = ("databases",)
SEVERITIES = ("warning", "critical")
THRESHOLDS = (
    Threshold(
        "warning_age",
        500e6,
        "transactions",
        "autovacuum freezes at 200 million by default; more than twice that means it does not get through",
        "autovacuum_freeze_max_age (200 million)",
    ),
    Threshold(
        "warning_freeze_factor",
        1.5,
        "times autovacuum_freeze_max_age",
        "where that was set high on purpose, an age below it is as intended",
        "judgement of this kit",
    ),
    Threshold(
        "critical_age",
        1.2e9,
        "transactions",
        "a vacuum of a large table takes days; the failsafe begins at 1.6 thousand million, writing ends at 2.1",
        "vacuum_failsafe_age (1.6 thousand million)",
    ),
)
# Column of the age, the setting at which autovacuum begins to freeze, and what is counted.
_AGES = (
    ("frozen_xid_age", "autovacuum_freeze_max_age", "transactions"),
    ("minimum_multixact_age", "autovacuum_multixact_freeze_max_age", "multixacts"),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each database whose oldest number is too old."""
    databases = records(frames["databases"])
    yield Examined(len(databases))
    for position, row in enumerate(databases):
        over = [found for found in (_over(frames, row, *age, thresholds) for age in _AGES) if found]
        if over:
            yield _finding(row, position, *max(over), thresholds)


def _over(
    frames: Frames, row: Mapping[str, Any], column: str, setting: str, unit: str, thresholds: Mapping[str, float]
) -> tuple[int, str, float] | None:
    """Return age, unit and the limit passed, if one was."""
    freezes_at = setting_number(frames, setting) or 0
    limit = min(max(thresholds["warning_age"], thresholds["warning_freeze_factor"] * freezes_at), thresholds["critical_age"])
    age = row[column]
    return (age, unit, limit) if age is not None and age >= limit else None


def _finding(
    row: Mapping[str, Any], position: int, age: int, unit: str, limit: float, thresholds: Mapping[str, float]
) -> Finding:
    is_critical = age >= thresholds["critical_age"]
    name = row["database_name"]
    where = "" if row["is_current"] else f"-- connected to the database {' '.join(name.split())}\n"
    return Finding(
        severity="critical" if is_critical else "warning",
        subject=Subject("database", name),
        message=f"The oldest {unit} of database {name} are {age:,} old, of about 2,147,000,000 after which it takes no writes.",
        remedy=f"{where}vacuum (freeze)",
        evidence=rows([position], "databases"),
        value=float(age),
        threshold=thresholds["critical_age"] if is_critical else limit,
        unit=unit,
    )
