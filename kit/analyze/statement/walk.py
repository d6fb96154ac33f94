"""A statement's tree walked as PostgreSQL's analysis walks it: which relations and functions are used, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pglast import ast

from kit.analyze.statement import changes as statement_changes
from kit.analyze.statement.names import Names, alias_of, bare_name, common_names, output_names, read_column, renamed, texts
from kit.analyze.statement.scope import WHOLE_ROW, ColumnsOf, Scope, Table, Use

CTEs = Mapping[str, "CTE"]


@dataclass(slots=True)
class CTE:
    """A query of a WITH: the names of its columns, and how often others read it."""

    names: Names
    references: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A function called: its name as written, the number of arguments, and the first one if it is a literal."""

    schema: str | None
    name: str
    arguments: int
    literal: str | None = None


@dataclass(slots=True)
class Walk:
    """What was found; `statement` starts it."""

    columns_of: ColumnsOf
    uses: list[Use] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def statement(self, node: Any, outer: Scope | None = None, ctes: CTEs | None = None) -> Names:
        """Walk a statement or query; return the names of its columns. KeyError if it neither reads nor changes rows."""
        kind = type(node).__name__
        named = dict(ctes or {})
        made = self._with(getattr(node, "withClause", None), outer, named)
        if kind in _WRAPPERS:
            return self.statement(getattr(node, _WRAPPERS[kind]), outer, named)
        names = _STATEMENTS[kind](self, node, outer, named)
        for cte, uses, calls in reversed(made):
            # The planner leaves out a SELECT that nobody reads, and with it what it would need.
            if not cte.references:
                del self.uses[uses], self.calls[calls]
        return names

    def expression(self, node: Any, scope: Scope, ctes: CTEs) -> None:
        """Walk an expression, or a clause that holds some."""
        if isinstance(node, (tuple, list)):
            for item in node:
                self.expression(item, scope, ctes)
            return
        if isinstance(node, ast.SelectStmt):
            self.statement(node, scope, ctes)
        elif isinstance(node, ast.ColumnRef):
            read_column(node, scope)
        elif isinstance(node, ast.Node):
            if isinstance(node, ast.FuncCall):
                self._call(node)
            for name in node:
                self.expression(getattr(node, name), scope, ctes)

    def _with(self, clause: Any, outer: Scope | None, named: dict[str, CTE]) -> list[tuple[CTE, slice, slice]]:
        """Walk the queries of a WITH; return those that are a SELECT, each with what was found in it."""
        ctes = clause.ctes if clause else ()
        if clause and clause.recursive:
            # Each sees itself and those after it; what they are made of is not known yet.
            named |= {cte.ctename: CTE(texts(cte.aliascolnames) or None) for cte in ctes}
        made = []
        for cte in ctes:
            before = len(self.uses), len(self.calls)
            entry = named.get(cte.ctename) if clause.recursive else None
            references = entry.references if entry else 0
            found = renamed(self.statement(cte.ctequery, outer, named), texts(cte.aliascolnames))
            if entry is None:
                named[cte.ctename] = entry = CTE(found)
            entry.names, entry.references = found, references
            if isinstance(cte.ctequery, ast.SelectStmt):
                made.append((entry, slice(before[0], len(self.uses)), slice(before[1], len(self.calls))))
        return made

    def _call(self, node: Any) -> None:
        parts = texts(node.funcname)
        first: Any = node.args[0] if node.args else None
        while type(first).__name__ == "TypeCast":
            first = first.arg
        value: Any = getattr(first, "val", None) if type(first).__name__ == "A_Const" else None
        literal = value.sval if type(value).__name__ == "String" else None
        self.calls.append(Call(parts[-2] if len(parts) > 1 else None, parts[-1], len(node.args or ()), literal))

    # --- queries ---------------------------------------------------------------------------------------------------

    def _select(self, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
        return self._query(node, outer, ctes)[0]

    def _query(self, node: Any, outer: Scope | None, ctes: CTEs) -> tuple[Names, tuple[Table, ...]]:
        """Return the names of a query's columns, and the tables of its FROM."""
        scope = Scope(outer)
        if node.op.name != "SETOP_NONE":
            names = self.statement(node.larg, outer, ctes)
            self.statement(node.rarg, outer, ctes)
            # ORDER BY of a union knows only the names of its columns.
            self.expression((node.limitCount, node.limitOffset), scope, ctes)
            return names, ()
        if node.valuesLists:
            self.expression(node.valuesLists, scope, ctes)
            return [f"column{number}" for number, _ in enumerate(node.valuesLists[0], 1)], ()
        self.from_clause(node.fromClause, scope, ctes)
        self._clauses(node, scope, ctes)
        self._lock(node.lockingClause, scope)
        return output_names(node.targetList, scope), tuple(scope.tables)

    def _clauses(self, node: Any, scope: Scope, ctes: CTEs) -> None:
        aliases = {target.name for target in node.targetList or () if target.name}
        self.expression((node.targetList, node.whereClause, node.havingClause, node.windowClause), scope, ctes)
        self.expression((node.limitCount, node.limitOffset), scope, ctes)
        for item in (*(node.sortClause or ()), *(node.distinctClause or ())):
            if bare_name(getattr(item, "node", item)) not in aliases:
                self.expression(item, scope, ctes)
        for item in node.groupClause or ():
            # Here a column comes before an alias of its name, where one is known.
            name = bare_name(item)
            if name is None or name not in aliases or any(table.columns and name in table.columns for table in scope.tables):
                self.expression(item, scope, ctes)
            else:
                scope.doubt(name)

    def _lock(self, clauses: Any, scope: Scope) -> None:
        for clause in clauses or ():
            named = [scope.table(item.relname) for item in clause.lockedRels or ()]
            for table in named or scope.tables:
                if table is not None:
                    table.lock()

    # --- FROM ------------------------------------------------------------------------------------------------------

    def from_clause(self, items: Any, scope: Scope, ctes: CTEs) -> None:
        """Add the items of a FROM to the scope."""
        for item in items or ():
            self.from_item(item, scope, ctes)

    def from_item(self, item: Any, scope: Scope, ctes: CTEs) -> list[Table]:
        """Add one item of a FROM to the scope; return the tables it is made of."""
        kind = type(item).__name__
        if kind == "JoinExpr":
            return self._join(item, scope, ctes)
        if kind == "RangeTableSample":
            self.expression((item.args, item.repeatable), scope, ctes)
            return self.from_item(item.relation, scope, ctes)
        table = self._table(item, scope, ctes) if kind == "RangeVar" else self._derived(item, scope, ctes)
        scope.tables.append(table)
        return [table]

    def _table(self, item: Any, scope: Scope, ctes: CTEs) -> Table:
        alias, renames = alias_of(item)
        if item.schemaname is None and item.relname in ctes:
            ctes[item.relname].references += 1
            return Table(alias or item.relname, None, _columns(renamed(ctes[item.relname].names, renames)))
        return self.target(item)

    def _derived(self, item: Any, scope: Scope, ctes: CTEs) -> Table:
        alias, renames = alias_of(item)
        if type(item).__name__ != "RangeSubselect":
            self.expression(item, scope, ctes)
            return Table(alias or "", None, _columns(renames or None))
        query, around = item.subquery, scope if item.lateral else scope.parent
        if type(query).__name__ != "SelectStmt" or query.withClause:
            return Table(alias or "", None, _columns(renamed(self.statement(query, around, ctes), renames)))
        names, tables = self._query(query, around, ctes)
        return Table(alias or "", None, _columns(renamed(names, renames)), inner=tables)

    def _join(self, item: Any, scope: Scope, ctes: CTEs) -> list[Table]:
        left = self.from_item(item.larg, scope, ctes)
        right = self.from_item(item.rarg, scope, ctes)
        if item.isNatural:
            scope.join_by(common_names(left, right), left, right)
            for table in (*left, *right):
                if any(other.columns is None for other in (*left, *right)):
                    table.doubt(WHOLE_ROW)
        scope.join_by(texts(item.usingClause), left, right)
        if item.quals is not None:
            self.expression(item.quals, Scope(scope.parent, [*left, *right]), ctes)
        alias, _ = alias_of(item)
        if alias:
            scope.tables.append(Table(alias, members=(*left, *right)))
        return [*left, *right]

    def target(self, item: Any) -> Table:
        """Return a relation as a table of its own, recorded as used."""
        use = Use(item.schemaname, item.relname)
        self.uses.append(use)
        alias, renames = alias_of(item)
        own = self.columns_of(use.schema, use.name)
        columns = None
        if own is not None:
            columns = dict(zip([*renames, *own[len(renames) :]], own, strict=False))
        return Table(alias or use.name, use, columns, is_aliased=alias is not None, renames=frozenset(renames))


def _columns(names: Names) -> dict[str, str] | None:
    return None if names is None else {name: name for name in names}


_WRAPPERS = {
    "RawStmt": "stmt",
    "ExplainStmt": "query",
    "PrepareStmt": "query",
    "DeclareCursorStmt": "query",
    "CreateTableAsStmt": "query",
}
_STATEMENTS: Mapping[str, Callable[[Walk, Any, Scope | None, CTEs], Names]] = {
    "SelectStmt": Walk._select,
    "InsertStmt": statement_changes.insert,
    "UpdateStmt": statement_changes.update,
    "DeleteStmt": statement_changes.delete,
    "MergeStmt": statement_changes.merge,
    "CopyStmt": statement_changes.copy,
    "TruncateStmt": statement_changes.truncate,
    "CallStmt": statement_changes.procedure,
}
