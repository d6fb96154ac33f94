"""Columns and indexes as the parser gives them, made into what is expected. A file's own words come here too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pglast import ast
from pglast.enums import ConstrType

from kit.analyze.schema.expected import ExpectedColumn, ExpectedIndex
from kit.analyze.schema.types import spelled

_FILLING = (ConstrType.CONSTR_DEFAULT, ConstrType.CONSTR_IDENTITY, ConstrType.CONSTR_GENERATED)
_KEYS = (ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_UNIQUE)


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column and the indexes that its own constraints bring."""

    column: ExpectedColumn
    indexes: tuple[ExpectedIndex, ...]


def read_column(node: Any, table: str, *, is_exact: bool) -> ReadColumn:
    """Return what a ColumnDef expects; where it is exact, a column that says nothing takes NULL."""
    kinds = [constraint.contype for constraint in node.constraints or ()]
    type_ = spelled(node.typeName) if node.typeName else None
    is_serial = type_ is not None and type_.is_serial
    refuses_null = is_serial or not {ConstrType.CONSTR_NOTNULL, ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_IDENTITY}.isdisjoint(
        kinds
    )
    column = ExpectedColumn(
        name=node.colname,
        type=type_,
        is_not_null=True if refuses_null else False if is_exact or ConstrType.CONSTR_NULL in kinds else None,
        fills_itself=is_serial or not set(_FILLING).isdisjoint(kinds),
        is_generated=ConstrType.CONSTR_GENERATED in kinds,
    )
    keys = [c for c in node.constraints or () if c.contype in _KEYS]
    return ReadColumn(column, tuple(_key(key, (node.colname,), table) for key in keys))


def key_index(constraint: Any, table: str) -> ExpectedIndex | None:
    """Return the index of a PRIMARY KEY or UNIQUE constraint of a table; None for any other, or one made of an index."""
    if constraint.contype not in _KEYS or not constraint.keys:
        return None
    return _key(constraint, tuple(key.sval for key in constraint.keys), table)


def keyed(columns: Iterable[ExpectedColumn], constraint: Any) -> list[ExpectedColumn]:
    """Return the columns as a constraint of the table leaves them: those of a primary key, or NOT NULL, refuse NULL."""
    names = {key.sval for key in constraint.keys or ()}
    refuses = constraint.contype in (ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_NOTNULL)
    return [replace(c, is_not_null=True) if refuses and c.name in names else c for c in columns]


def read_index(node: Any) -> ExpectedIndex:
    """Return what an IndexStmt expects."""
    columns = tuple(element.name for element in node.indexParams)
    return ExpectedIndex(columns, bool(node.unique), node.accessMethod or "btree", node.whereClause is not None, node.idxname)


def _key(constraint: Any, columns: Sequence[str], table: str) -> ExpectedIndex:
    # As the server names it (ChooseConstraintName), so that a later DROP CONSTRAINT finds it.
    suffix = f"{table}_pkey" if constraint.contype == ConstrType.CONSTR_PRIMARY else f"{table}_{'_'.join(columns)}_key"
    return ExpectedIndex(tuple(columns), is_unique=True, name=constraint.conname or suffix)


def is_column(node: Any) -> bool:
    """Return whether an element of CREATE TABLE is a column."""
    return isinstance(node, ast.ColumnDef)
