"""Tables with many more dead rows than autovacuum should leave.

What it shows: dead rows against the number at which autovacuum starts for that table (its own parameters, else the
settings; from PostgreSQL 18 on with its cap).

Why it matters: past that number a worker should have come within a minute or so. That it did not means it is off, too
slow, always cancelled by locks, or that what it removes is held back; and the table grows.

What to do: VACUUM the table now; then see held_back_vacuums and disabled_autovacuums for why it was needed.

Known limits: counted by the server since its last reset; a server that crashed begins at zero. Tables that only grow
by inserts have no dead rows.

References: https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from kit.analyze.bloat import Numbers, dead_rows, in_user_schema, option_number, plain_lists
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.checks.triage._settings import setting_number
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("table_statistics", "relations", "settings")
SEVERITIES = ("warning",)
THRESHOLDS = (
    Threshold("factor", 2, "times autovacuum's own number", "a worker may be late, not absent", "judgement of this kit"),
    Threshold("minimum_dead_rows", 1_000, "rows", "fewer cost nothing to read past", "judgement of this kit"),
)
_PARAMETERS = ("autovacuum_vacuum_threshold", "autovacuum_vacuum_scale_factor", "autovacuum_vacuum_max_threshold")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each table that autovacuum should have visited."""
    if setting_number(frames, _PARAMETERS[0]) is None:
        yield NotExamined("autovacuum", "its settings were not visible")
        return
    tables = _joined(frames)
    yield Examined(len(tables))
    dead, starts_at = dead_rows(tables), _starts_at(frames, tables)
    over = np.flatnonzero((dead >= thresholds["minimum_dead_rows"]) & (dead > thresholds["factor"] * starts_at))
    for i in sorted(over, key=lambda i: -dead[i]):
        row = tables.iloc[i]
        yield _finding(row["schema_name"], row["relation_name"], row["position"], dead[i], starts_at[i], thresholds["factor"])


def _joined(frames: Frames) -> pd.DataFrame:
    statistics = frames["table_statistics"]
    statistics = statistics.assign(position=np.arange(len(statistics)))
    options = frames["relations"][["relation_oid", "options", "estimated_rows"]]
    tables = statistics[in_user_schema(statistics["schema_name"])].merge(options, on="relation_oid", how="left")
    return tables.reset_index(drop=True)


def _starts_at(frames: Frames, tables: pd.DataFrame) -> Numbers:
    """Return the dead rows from which on autovacuum visits each table: base + scale × rows, capped from 18 on."""
    base, scale, cap = (_parameter(frames, tables["options"], name) for name in _PARAMETERS)
    estimated: Numbers = tables["estimated_rows"].to_numpy(dtype=float, na_value=0.0)
    uncapped = base + scale * estimated
    return np.where(cap >= 0, np.minimum(uncapped, np.where(cap >= 0, cap, np.inf)), uncapped)


def _parameter(frames: Frames, options: pd.Series, name: str) -> Numbers:
    # The cap may be absent (before 18) or -1: none.
    setting = setting_number(frames, name)
    default = -1.0 if setting is None else setting
    own = [option_number(items, name) for items in plain_lists(options)]
    return np.array([default if value is None else value for value in own], dtype=float)


def _finding(schema: str, name: str, position: int, dead: float, starts_at: float, factor: float) -> Finding:
    subject = Subject("table", name, schema)
    return Finding(
        severity="warning",
        subject=subject,
        message=f"{subject.qualified} has {dead:,.0f} dead rows; autovacuum should have come at {starts_at:,.0f}.",
        remedy=f"vacuum (analyze) {subject.qualified}",
        evidence=rows([position], "table_statistics"),
        value=float(dead),
        threshold=factor * float(starts_at),
        unit="rows",
    )
