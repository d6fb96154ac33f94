"""Statements that change rows: what is changed, and what is read of it on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kit.analyze.statement.names import Names, output_names, texts
from kit.analyze.statement.scope import WHOLE_ROW, Scope, Table, Use

if TYPE_CHECKING:
    from kit.analyze.statement.walk import CTEs, Walk


def insert(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk an INSERT; return the names of what it returns."""
    table = walk.target(node.relation)
    source = walk.statement(node.selectStmt, outer, ctes) if node.selectStmt else ()
    _use(table).change("INSERT", _inserted(node.cols, table, source))
    scope = Scope(outer, [table], [replace(table, alias="excluded")])
    if node.onConflictClause:
        _conflict(walk, node.onConflictClause, _use(table), scope, ctes)
    return _returning(walk, node.returningClause, scope, table, ctes)


def _conflict(walk: Walk, clause: Any, use: Use, scope: Scope, ctes: CTEs) -> None:
    if clause.infer and clause.infer.conname:
        scope.tables[0].doubt(WHOLE_ROW)
    for element in clause.infer.indexElems or () if clause.infer else ():
        if element.name:
            scope.read(element.name)
    walk.expression((clause.infer, clause.whereClause), scope, ctes)
    if clause.action.name == "ONCONFLICT_UPDATE":
        _set(walk, clause.targetList, use, scope, ctes)


def update(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk an UPDATE; return the names of what it returns."""
    table = walk.target(node.relation)
    scope = Scope(outer, [table])
    walk.from_clause(node.fromClause, scope, ctes)
    _set(walk, node.targetList, _use(table), scope, ctes)
    walk.expression(node.whereClause, scope, ctes)
    return _returning(walk, node.returningClause, scope, table, ctes)


def delete(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk a DELETE; return the names of what it returns."""
    table = walk.target(node.relation)
    _use(table).change("DELETE")
    scope = Scope(outer, [table])
    walk.from_clause(node.usingClause, scope, ctes)
    walk.expression(node.whereClause, scope, ctes)
    return _returning(walk, node.returningClause, scope, table, ctes)


def merge(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk a MERGE; return the names of what it returns."""
    table = walk.target(node.relation)
    scope = Scope(outer, [table])
    walk.from_item(node.sourceRelation, scope, ctes)
    walk.expression(node.joinCondition, scope, ctes)
    for clause in node.mergeWhenClauses:
        walk.expression((clause.condition, clause.values), scope, ctes)
        if clause.commandType.name == "CMD_UPDATE":
            _set(walk, clause.targetList, _use(table), scope, ctes)
        elif clause.commandType.name == "CMD_INSERT":
            _use(table).change("INSERT", _inserted(clause.targetList, table, clause.values or ()))
        elif clause.commandType.name == "CMD_DELETE":
            _use(table).change("DELETE")
    return _returning(walk, node.returningClause, scope, table, ctes)


def _set(walk: Walk, targets: Any, use: Use, scope: Scope, ctes: CTEs) -> None:
    use.change("UPDATE", [target.name for target in targets])
    walk.expression([(target.val, target.indirection) for target in targets], scope, ctes)


def _returning(walk: Walk, clause: Any, scope: Scope, table: Table, ctes: CTEs) -> Names:
    if not clause:
        return ()
    aliases = {option.value for option in getattr(clause, "options", None) or ()} or {"old", "new"}
    scope.hidden = [replace(table, alias=alias, is_aliased=True) for alias in aliases]
    walk.expression(clause.exprs, scope, ctes)
    return output_names(clause.exprs, scope)


def copy(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk a COPY; return the names of what it returns."""
    if node.query:
        return walk.statement(node.query, outer, ctes)
    use = _use(walk.target(node.relation))
    columns = texts(node.attlist) or [WHOLE_ROW]
    if node.is_from:
        use.change("INSERT", columns)
    else:
        use.reads.update(columns)
    return ()


def truncate(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk a TRUNCATE; return the names of what it returns."""
    for relation in node.relations:
        _use(walk.target(relation)).change("TRUNCATE")
    return ()


def procedure(walk: Walk, node: Any, outer: Scope | None, ctes: CTEs) -> Names:
    """Walk a CALL; return the names of what it returns."""
    walk.expression(node.funccall, Scope(outer), ctes)
    return ()


def _use(table: Table) -> Use:
    assert table.use is not None
    return table.use


def _inserted(targets: Any, table: Table, source: Names) -> Sequence[str]:
    """Return the columns that an INSERT fills: those it lists, else as many as it has values for."""
    if targets:
        return [target.name for target in targets]
    if source == ():
        return ()
    return [WHOLE_ROW] if source is None or table.columns is None else list(table.columns.values())[: len(source)]
