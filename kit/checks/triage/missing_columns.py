"""The column that the symptom names is not there.

What it shows: that the table which the error names has no column of exactly that name, or, where the error names no
table, that no table of this database has one; and names that are near.

Why it matters: "column does not exist" (42703) means that the code and the schema are of different days: a migration was
written and not run here, or was run in another database, or the name was written in other letters.

What to do: look which migration adds the column, and whether the ledger here records it; run the migrations before the
code that needs them. Where only the letters differ, write the name in double quotes, or map it in the ORM.

Known limits: an alias in the error is taken for a table's name only if there is such a table. Columns of temporary tables
and of sub-queries are not seen. Where the error names no table and some table has the column, nothing is said about the one
that is meant.

References: https://www.postgresql.org/docs/current/errcodes-appendix.html (42703)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import pandas as pd

from kit.analyze.error.text import ErrorReading, read_error
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject, quoted
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "schema"
NEEDS = ("columns", "symptom")
SEVERITIES = ("critical",)
EXPLAINS = ("42703",)

_NEAR = 3


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding if the symptom says a column does not exist, and it does not."""
    columns = frames["columns"].reset_index(drop=True)
    for position, symptom in enumerate(records(frames["symptom"])):
        reading = read_error(symptom["text"])
        if reading.column is None or "42703" not in (symptom["sqlstates"] or []):
            continue
        table = _table(columns, reading)
        meant = columns if table is None else columns[columns["relation_name"] == table]
        if not (meant["column_name"] == reading.column).any():
            yield Examined(1)
            yield _finding(frames, position, reading.column, table, meant)
        elif table is None:
            yield NotExamined(reading.column, "the error does not say in which table the column is missing, and some have it")
        else:
            yield Examined(1)


def _table(columns: pd.DataFrame, reading: ErrorReading) -> str | None:
    """Return the table that the error means: named outright, or by an alias that is a table's name."""
    known = set(columns["relation_name"])
    return next((name for name in (reading.relation, reading.alias) if name in known), None)


def _finding(frames: Frames, position: int, column: str, table: str | None, meant: pd.DataFrame) -> Finding:
    database = quoted(frames.identity.database) if frames.identity else "this database"
    place = f"No table of database {database}" if table is None else f"Table {_places(meant)} of database {database}"
    near = _near(column, meant)
    like = f"; near it: {', '.join(quoted(name) for name in near)}" if near else ""
    return Finding(
        severity="critical",
        subject=Subject("column", column, table),
        message=f"{place} has {'a' if table is None else 'no'} column {quoted(column)}{like}.",
        remedy="Run the migration that adds it in this database (see its ledger), or correct the name in the statement.",
        evidence=rows([int(place) for place in meant.index], "columns") if table else rows([position], "symptom"),
        relations=frozenset({table} if table else ()),
    )


def _places(meant: pd.DataFrame) -> str:
    names = (
        f"{quoted(schema)}.{quoted(name)}" for schema, name in zip(meant["schema_name"], meant["relation_name"], strict=True)
    )
    return " and ".join(dict.fromkeys(names))


def _near(column: str, meant: pd.DataFrame) -> list[str]:
    names = {str(name) for name in meant["column_name"]}
    by_letters = {name.lower(): name for name in sorted(names)}
    return [by_letters[match] for match in difflib.get_close_matches(column.lower(), by_letters, n=_NEAR, cutoff=0.75)]
