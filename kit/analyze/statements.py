"""The statements of one database put together, and what they compare columns with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pandas as pd

from kit.evidence.columns import Column, conform
from kit.evidence.model import Frames

COLUMNS = (
    Column("query_id", "string"),
    Column("statement", "string"),
    Column("calls", "Int64"),
    Column("total_exec_ms", "Float64", "ms"),
    Column("mean_exec_ms", "Float64", "ms"),
    Column("maximum_exec_ms", "Float64", "ms"),
    Column("share_of_time", "Float64", "fraction of the time of repeated statements"),
    Column("rows", "Int64", "rows"),
    Column("user_count", "Int64"),
    Column("shared_blocks_hit", "Int64", "blocks"),
    Column("shared_blocks_read", "Int64", "blocks"),
    Column("temporary_blocks_written", "Int64", "blocks"),
)
_SUMS = ("calls", "total_exec_ms", "rows", "shared_blocks_hit", "shared_blocks_read", "temporary_blocks_written")


def of_this_database(frames: Frames) -> pd.DataFrame:
    """Return the rows of `statements` that ran in this database at the top level; the index is their position."""
    frame = frames["statements"].reset_index(drop=True)
    here = frame["is_top_level"].fillna(True)
    if frames.identity is not None:
        here &= (frame["database_name"] == frames.identity.database).fillna(False)
    return frame[here]


def statements(frames: Frames, minimum_calls: float = 2) -> pd.DataFrame:
    """Return one row a statement (of all users), the costliest first.

    Its share is that of the time of statements called `minimum_calls` times or more: a single load or
    migration is no part of the load that goes on, and would hide what is. Others have no share.
    """
    visible = of_this_database(frames)
    visible = visible[~visible["is_hidden"].fillna(False)]
    by_statement = visible.groupby("query_id", sort=False)
    frame = by_statement[list(_SUMS)].sum()
    frame["statement"] = by_statement["statement"].first()
    frame["maximum_exec_ms"] = by_statement["maximum_exec_ms"].max()
    frame["user_count"] = by_statement["user_name"].nunique()
    frame["mean_exec_ms"] = frame["total_exec_ms"] / frame["calls"].where(frame["calls"] > 0)
    repeated = frame["total_exec_ms"].where(frame["calls"] >= minimum_calls)
    frame["share_of_time"] = repeated / (repeated.sum() or 1.0)
    frame = frame.sort_values("total_exec_ms", ascending=False, kind="stable").reset_index()
    return conform(frame[[column.name for column in COLUMNS]], COLUMNS)


@lru_cache(maxsize=2_000)
def compared_columns(statement: str) -> tuple[tuple[str | None, str, tuple[str, ...]], ...]:
    """Return, for each table a statement reads, the columns it compares with parameters by `=`, `in` or `= any`.

    These are what an index must lead with to serve the statement. A statement that cannot be parsed gives none.

    >>> compared_columns("select * from app.orders as o where o.customer_id = $1 and note is null")
    (('app', 'orders', ('customer_id',)),)
    """
    # Loaded when needed: the parser is heavy, and most databases have no slow statement.
    from pglast import parser

    for text in (statement, statement.replace("?", "$1")):
        try:
            # JSON rather than nodes: no visitor is needed to read it, and it knows every kind of statement.
            return _compared(parser.parse_sql_json(text))
        except parser.ParseError:
            continue
    return ()


def _compared(text: str) -> tuple[tuple[str | None, str, tuple[str, ...]], ...]:
    import json

    tree = json.loads(text)
    tables = {_alias(node): (node.get("schemaname"), node["relname"]) for node in _nodes(tree, "RangeVar")}
    found: dict[tuple[str | None, str], list[str]] = {}
    for comparison in (c for where in _wheres(tree) for c in _nodes(where, "A_Expr")):
        alias, column = _column_of(comparison)
        table = tables.get(alias) if alias else next(iter(tables.values())) if len(tables) == 1 else None
        if column and table and column not in found.setdefault(table, []):
            found[table].append(column)
    return tuple((schema, name, tuple(columns)) for (schema, name), columns in found.items() if columns)


def _alias(node: dict[str, Any]) -> str:
    alias: str = node.get("alias", {}).get("aliasname", node["relname"])
    return alias


def _wheres(tree: Any) -> Iterator[Any]:
    for kind in ("SelectStmt", "UpdateStmt", "DeleteStmt"):
        for node in _nodes(tree, kind):
            if "whereClause" in node:
                yield node["whereClause"]


def _nodes(tree: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a kind; a RangeVar stands bare where the grammar allows nothing else."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            is_bare = kind == "RangeVar" and key == "relation"
            if isinstance(value, dict) and (key == kind or (is_bare and "relname" in value)):
                yield value
            yield from _nodes(value, kind)
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item, kind)


_EQUALITIES = {"AEXPR_OP", "AEXPR_OP_ANY", "AEXPR_IN"}


def _column_of(comparison: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return alias and name of the column that is compared with something that is no column, if it is by equality."""
    operators = [part.get("String", {}).get("sval") for part in comparison.get("name", [])]
    sides = (comparison.get("lexpr", {}), comparison.get("rexpr", {}))
    columns = [side["ColumnRef"]["fields"] for side in sides if isinstance(side, dict) and "ColumnRef" in side]
    if comparison.get("kind") not in _EQUALITIES or operators != ["="] or len(columns) != 1:
        return None, None
    if any(next(_nodes(side, "ColumnRef"), None) and "ColumnRef" not in side for side in sides):
        return None, None
    names = [field.get("String", {}).get("sval") for field in columns[0]]
    return (names[-2] if len(names) > 1 else None), names[-1]
