"""Which indexes a table has for given columns, and which one it lacks for the statements seen."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from kit.analyze.bloat import plain_lists
from kit.analyze.findings import quoted
from kit.analyze.statements import compared_columns, statements
from kit.evidence.model import Frames

# How many of the costliest statements are parsed in search of a hint.
_STATEMENTS_READ = 50


def usable_indexes(frames: Frames) -> pd.DataFrame:
    """Return the indexes that can serve any row: valid, ready, not partial, of a kind that finds equal values."""
    indexes = frames["indexes"].reset_index(drop=True)
    serves = indexes["is_valid"] & indexes["is_ready"] & ~indexes["is_partial"] & indexes["access_method"].isin(["btree", "hash"])
    return indexes[serves.fillna(False)]


def leads_with(index_columns: Iterable[str | None], columns: Iterable[str]) -> bool:
    """Return whether the first columns of an index are these, in any order."""
    wanted = set(columns)
    return set(list(index_columns)[: len(wanted)]) == wanted


def create_index(schema: str, table: str, columns: Iterable[str]) -> str:
    """Return the SQL that builds an index without locking out writers."""
    names = ", ".join(quoted(column) for column in columns)
    return f"create index concurrently on {quoted(schema)}.{quoted(table)} ({names})"


def missing_index(frames: Frames, schema: str, table: str) -> str | None:
    """Return the SQL of an index that the costliest statement comparing columns of this table lacks; None if unknown."""
    if "statements" not in frames or "indexes" not in frames:
        return None
    for text in statements(frames)["statement"].dropna().head(_STATEMENTS_READ):
        found = missing_index_of(frames, text, schema, table)
        if found:
            return found
    return None


def missing_index_of(frames: Frames, statement: str, schema: str, table: str) -> str | None:
    """Return the SQL of the index on this table that the statement lacks; None if it has one or compares nothing."""
    indexes = frames["indexes"]
    mine = indexes[(indexes["schema_name"] == schema) & (indexes["table_name"] == table)]
    for its_schema, its_table, columns in compared_columns(statement):
        if its_table == table and its_schema in (None, schema):
            # An index that leads with any one of the columns already narrows the search.
            served = any(names and names[0] in columns for names in plain_lists(mine["column_names"]))
            return None if served else create_index(schema, table, columns)
    return None
