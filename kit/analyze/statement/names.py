"""Small readings of a statement's tree: aliases, columns named, and the names of a query's own columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pglast import ast

from kit.analyze.statement.scope import Scope, Table

# The names under which a query's columns can be used outside of it; None where they are not known.
Names = Sequence[str] | None


def _is(node: Any, kind: type) -> bool:
    # Not isinstance at the place itself: the types of the tree say "or None" of nearly every part.
    return isinstance(node, kind)


def texts(nodes: Any) -> list[str]:
    """Return the texts of a list of String nodes."""
    return [node.sval for node in nodes or ()]


def alias_of(item: Any) -> tuple[str | None, list[str]]:
    """Return an item's alias, and the names it gives to the columns."""
    alias = getattr(item, "alias", None)
    return (alias.aliasname, texts(alias.colnames)) if alias else (None, [])


def renamed(names: Names, renames: Sequence[str]) -> Names:
    """Return the names after an alias's list of columns, which may be shorter."""
    if names is None:
        return None
    return [*renames, *names[len(renames) :]]


def bare_name(node: Any) -> str | None:
    """Return the name of a column that stands alone, without its table."""
    if _is(node, ast.ColumnRef) and len(node.fields) == 1 and _is(node.fields[0], ast.String):
        return str(node.fields[0].sval)
    return None


def read_column(node: Any, scope: Scope) -> None:
    """Record what a column reference reads: a column, a table's columns (`t.*`), or those of all tables (`*`)."""
    *qualifiers, last = node.fields
    names = texts(qualifiers)
    if names:
        table = scope.table(names[-1], names[-2] if len(names) > 1 else None)
        if table is not None:
            _read_of(table, last)
    elif _is(last, ast.A_Star):
        for table in scope.tables:
            table.read_row()
    else:
        scope.read(last.sval)


def _read_of(table: Table, last: Any) -> None:
    if _is(last, ast.A_Star):
        table.read_row()
    else:
        table.read(last.sval)


def common_names(left: Iterable[Table], right: Iterable[Table]) -> list[str]:
    """Return the columns that both sides of a NATURAL JOIN are known to have."""
    sides = [{name for table in side for name in table.columns or ()} for side in (left, right)]
    return sorted(sides[0] & sides[1])


def output_names(targets: Any, scope: Scope) -> Names:
    """Return the names of a query's columns, or None where a `*` hides them."""
    found: list[str] = []
    for target in targets or ():
        names = [target.name] if target.name else _names_of(target.val, scope)
        if names is None:
            return None
        found += names
    return found


def _names_of(value: Any, scope: Scope) -> Names:
    if _is(value, ast.ColumnRef) and _is(value.fields[-1], ast.A_Star):
        qualifiers = texts(value.fields[:-1])
        tables = [scope.table(qualifiers[-1])] if qualifiers else scope.tables
        return _names_of_tables(tables)
    return [_name_of(value)]


def _names_of_tables(tables: Iterable[Table | None]) -> Names:
    found: list[str] = []
    for table in tables:
        if table is None or table.members or table.columns is None:
            return None
        found += table.columns
    return found


def _name_of(value: Any) -> str:
    """Return the name that the server gives to a column without an alias (FigureColname)."""
    if _is(value, ast.ColumnRef):
        return str(value.fields[-1].sval)
    if _is(value, ast.A_Indirection):
        fields = [part.sval for part in value.indirection if _is(part, ast.String)]
        return str(fields[-1]) if fields else _name_of(value.arg)
    if _is(value, ast.FuncCall):
        return str(value.funcname[-1].sval)
    if _is(value, ast.TypeCast):
        inner = _name_of(value.arg)
        return str(value.typeName.names[-1].sval) if inner == _UNNAMED else inner
    if _is(value, ast.SubLink) and value.subLinkType.name == "EXPR_SUBLINK":
        targets = value.subselect.targetList
        return str(targets[0].name or _name_of(targets[0].val)) if targets else _UNNAMED
    return next(_words(value), _UNNAMED)


_UNNAMED = "?column?"
_WORDS = {ast.CoalesceExpr: "coalesce", ast.CaseExpr: "case", ast.A_ArrayExpr: "array", ast.RowExpr: "row"}


def _words(value: Any) -> Iterator[str]:
    if type(value) in _WORDS:
        yield _WORDS[type(value)]
    elif _is(value, ast.SQLValueFunction):
        yield value.op.name.removeprefix("SVFOP_").lower()
    elif _is(value, ast.MinMaxExpr):
        yield value.op.name.removeprefix("IS_").lower()
    elif _is(value, ast.SubLink):
        yield value.subLinkType.name.removesuffix("_SUBLINK").lower()
