"""What statements do to a schema that is being drafted: one function a kind of statement.

The parser's nodes are Any here: to their types any part may be None, which the grammar does not allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pglast import ast
from pglast.enums import AlterTableType, ConstrType, ObjectType

from kit.analyze.names import is_system_schema
from kit.analyze.schema.columns import is_column, key_index, keyed, read_column, read_index
from kit.analyze.schema.expected import ExpectedColumn, ExpectedExtension, ExpectedIndex, ExpectedRelation
from kit.analyze.schema.types import spelled

_Key = tuple[str | None, str]


@dataclass(slots=True)
class _Table:
    kind: str = "table"
    columns: dict[str, ExpectedColumn] = field(default_factory=dict)
    indexes: list[ExpectedIndex] = field(default_factory=list)
    is_whole: bool = True


class Draft:
    """The schema as far as the statements have made it."""

    def __init__(self) -> None:
        self._tables: dict[_Key, _Table] = {}
        self._extensions: dict[str, ExpectedExtension] = {}
        self._default: str | None = None

    def new_session(self) -> None:
        """Forget the search_path: each script is run by a session of its own."""
        self._default = None

    def apply(self, node: Any) -> None:
        """Let a statement do what it does; one that makes nothing that is compared does nothing."""
        handler = _HANDLERS.get(type(node))
        if handler:
            handler(self, node)

    def relations(self) -> tuple[ExpectedRelation, ...]:
        """Return the tables and views in the order in which they were made."""
        return tuple(
            ExpectedRelation(
                schema, name, table.kind, tuple(table.columns.values()), tuple(table.indexes), is_whole=table.is_whole
            )
            for (schema, name), table in self._tables.items()
            if not (schema and is_system_schema(schema))
        )

    def extensions(self) -> tuple[ExpectedExtension, ...]:
        """Return the extensions by name."""
        return tuple(self._extensions[name] for name in sorted(self._extensions))

    def _key(self, range_var: Any) -> _Key:
        """Return the table that a name means: a name without a schema may be that of one which is already there."""
        key = (range_var.schemaname or self._default, range_var.relname)
        if key in self._tables or range_var.schemaname:
            return key
        alike = [known for known in self._tables if known[1] == range_var.relname]
        return alike[0] if len(alike) == 1 and self._default is None else key

    def _find(self, range_var: Any) -> _Table | None:
        return self._tables.get(self._key(range_var)) if range_var is not None else None

    def _create(self, node: Any) -> None:
        key = (node.relation.schemaname or self._default, node.relation.relname)
        if node.relation.relpersistence == "t" or (node.if_not_exists and key in self._tables):
            return
        table = _Table(is_whole=node.ofTypename is None)
        for parent in node.inhRelations or ():
            table.columns |= (self._find(parent) or _Table()).columns
        for element in node.tableElts or ():
            self._element(table, element, node.relation.relname)
        # A later constraint may stand before the column that it names.
        for constraint in [item for item in node.tableElts or () if isinstance(item, ast.Constraint)]:
            self._constraint(table, constraint, node.relation.relname)
        self._tables[key] = table

    def _element(self, table: _Table, element: Any, name: str) -> None:
        if is_column(element):
            read = read_column(element, name, is_exact=True)
            table.columns[read.column.name] = read.column
            table.indexes += read.indexes
        elif isinstance(element, ast.TableLikeClause):
            table.columns |= (self._find(element.relation) or _Table()).columns

    def _constraint(self, table: _Table, constraint: Any, name: str) -> None:
        index = key_index(constraint, name)
        table.indexes += [index] if index else []
        table.columns = {column.name: column for column in keyed(table.columns.values(), constraint)}
        if constraint.contype == ConstrType.CONSTR_PRIMARY and constraint.indexname:
            of_index = next((i for i in table.indexes if i.name == constraint.indexname), None)
            for column in of_index.columns if of_index else ():
                _refuse_null(table, str(column), refuses=True)

    def _view(self, range_var: Any, kind: str) -> None:
        if range_var.relpersistence != "t":
            key = (range_var.schemaname or self._default, range_var.relname)
            self._tables[key] = _Table(kind, is_whole=False)

    def _alter(self, node: Any) -> None:
        table = self._find(node.relation)
        for command in node.cmds if table else ():
            assert table is not None
            _alter(self, table, command, node.relation.relname)

    def _rename(self, node: Any) -> None:
        table = self._find(node.relation)
        if node.renameType == ObjectType.OBJECT_COLUMN and table:
            _rename_column(table, node.subname, node.newname)
        elif node.renameType == ObjectType.OBJECT_INDEX:
            for other in self._tables.values():
                other.indexes = [_renamed(index, node.relation.relname, node.newname) for index in other.indexes]
        elif node.renameType in (ObjectType.OBJECT_TABLE, ObjectType.OBJECT_VIEW, ObjectType.OBJECT_MATVIEW) and table:
            self._move(self._key(node.relation), name=node.newname)

    def _set_schema(self, node: Any) -> None:
        if self._find(node.relation):
            self._move(self._key(node.relation), schema=node.newschema)

    def _move(self, key: _Key, **to: str) -> None:
        self._tables[to.get("schema", key[0]), to.get("name", key[1])] = self._tables.pop(key)

    def _drop(self, node: Any) -> None:
        for item in node.objects:
            names = [part.sval for part in item] if isinstance(item, tuple) else [getattr(item, "sval", "")]
            if node.removeType == ObjectType.OBJECT_EXTENSION:
                self._extensions.pop(names[-1], None)
            elif node.removeType == ObjectType.OBJECT_INDEX:
                self._drop_index(names[-1])
            elif node.removeType == ObjectType.OBJECT_SCHEMA:
                self._tables = {key: table for key, table in self._tables.items() if key[0] != names[-1]}
            elif node.removeType in _RELATIONS:
                schema = names[-2] if len(names) > 1 else None
                self._tables.pop(self._key(ast.RangeVar(schemaname=schema, relname=names[-1])), None)

    def _drop_index(self, name: str) -> None:
        for table in self._tables.values():
            table.indexes = [index for index in table.indexes if index.name != name]

    def _index(self, node: Any) -> None:
        table = self._find(node.relation)
        if table:
            table.indexes.append(read_index(node))

    def _extension(self, node: Any) -> None:
        self._extensions[node.extname] = ExpectedExtension(node.extname)

    def _set(self, node: Any) -> None:
        if node.name == "search_path":
            self._look_in([_constant(item) for item in node.args or ()])

    def _select(self, node: Any) -> None:
        for target in node.targetList or ():
            if isinstance(target.val, ast.FuncCall):
                self._call(target.val)

    def _call(self, call: Any) -> None:
        """Take the `set_config('search_path', '', false)` with which pg_dump begins."""
        given = [_constant(item) for item in call.args or ()]
        if call.funcname[-1].sval == "set_config" and given[:1] == ["search_path"] and len(given) > 1:
            self._look_in([part.strip().strip('"') for part in (given[1] or "").split(",")])

    def _look_in(self, path: Sequence[str | None]) -> None:
        named = [name for name in path if name and name not in ("$user", "pg_catalog")]
        self._default = named[0] if named else None


def _alter(draft: Draft, table: _Table, command: Any, name: str) -> None:
    kind, column = command.subtype, table.columns.get(command.name or "")
    if kind == AlterTableType.AT_AddColumn and not (command.missing_ok and command.def_.colname in table.columns):
        draft._element(table, command.def_, name)
    elif kind == AlterTableType.AT_DropColumn:
        table.columns.pop(command.name, None)
        table.indexes = [index for index in table.indexes if command.name not in index.columns]
    elif kind == AlterTableType.AT_AddConstraint:
        draft._constraint(table, command.def_, name)
    elif kind == AlterTableType.AT_DropConstraint:
        table.indexes = [index for index in table.indexes if index.name != command.name]
    elif kind in _NULLS:
        _refuse_null(table, command.name, refuses=_NULLS[kind])
    elif column is not None and kind in _OF_COLUMN:
        table.columns[column.name] = _OF_COLUMN[kind](column, command)


def _refuse_null(table: _Table, name: str, *, refuses: bool) -> None:
    if name in table.columns:
        table.columns[name] = replace(table.columns[name], is_not_null=refuses)


def _rename_column(table: _Table, old: str, new: str) -> None:
    table.columns = {c.name: c for c in (replace(c, name=new) if c.name == old else c for c in table.columns.values())}
    table.indexes = [replace(i, columns=tuple(new if c == old else c for c in i.columns)) for i in table.indexes]


def _renamed(index: ExpectedIndex, old: str, new: str) -> ExpectedIndex:
    return replace(index, name=new) if index.name == old else index


def _constant(node: Any) -> str | None:
    value = getattr(node, "val", None)
    return getattr(value, "sval", None)


_NULLS = {AlterTableType.AT_SetNotNull: True, AlterTableType.AT_DropNotNull: False}
_OF_COLUMN: dict[Any, Callable[[ExpectedColumn, Any], ExpectedColumn]] = {
    AlterTableType.AT_AlterColumnType: lambda column, command: replace(column, type=spelled(command.def_.typeName)),
    AlterTableType.AT_ColumnDefault: lambda column, command: replace(column, fills_itself=command.def_ is not None),
    AlterTableType.AT_AddIdentity: lambda column, _: replace(column, fills_itself=True, is_not_null=True),
    AlterTableType.AT_DropIdentity: lambda column, _: replace(column, fills_itself=False),
    AlterTableType.AT_DropExpression: lambda column, _: replace(column, fills_itself=False, is_generated=False),
}
_RELATIONS = (ObjectType.OBJECT_TABLE, ObjectType.OBJECT_VIEW, ObjectType.OBJECT_MATVIEW, ObjectType.OBJECT_FOREIGN_TABLE)
_HANDLERS: dict[type, Callable[[Draft, Any], None]] = {
    ast.CreateStmt: Draft._create,
    ast.CreateForeignTableStmt: lambda draft, node: draft._create(node.base),
    ast.CreateTableAsStmt: lambda draft, node: draft._view(
        node.into.rel, "materialized view" if node.objtype == ObjectType.OBJECT_MATVIEW else "table"
    ),
    ast.ViewStmt: lambda draft, node: draft._view(node.view, "view"),
    ast.IndexStmt: Draft._index,
    ast.AlterTableStmt: Draft._alter,
    ast.RenameStmt: Draft._rename,
    ast.AlterObjectSchemaStmt: Draft._set_schema,
    ast.DropStmt: Draft._drop,
    ast.CreateExtensionStmt: Draft._extension,
    ast.VariableSetStmt: Draft._set,
    ast.SelectStmt: Draft._select,
}
