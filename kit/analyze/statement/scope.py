"""Which table of a statement a column belongs to: the scopes of its queries, as PostgreSQL's analysis builds them.

PostgreSQL manual: 7.2.1 "The FROM Clause"; in the source parse_relation.c (colNameToVar, refnameNamespaceItem).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

# Returns a relation's columns in order, or None where they are not known; the schema is None where none was written.
ColumnsOf = Callable[[str | None, str], Sequence[str] | None]
WHOLE_ROW = "*"
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


@dataclass(slots=True)
class Use:
    """What a statement does with one relation: columns read, columns that may be another's, and changes by action."""

    schema: str | None
    name: str
    reads: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    changes: dict[str, set[str]] = field(default_factory=dict)
    is_locked: bool = False

    def change(self, action: str, columns: Iterable[str] = ()) -> None:
        """Record a change; no column means that a privilege on any one of them suffices."""
        self.changes.setdefault(action, set()).update(columns)


@dataclass(slots=True)
class Table:
    """One entry of a FROM: a relation (`use`), a join with an alias (`members`), or a sub-query, function or CTE.

    `columns` are the names that can be written, with the relation's own names; None where they are not known.
    `renames` are the names that an alias gives to columns, `inner` the tables of a sub-query.
    """

    alias: str
    use: Use | None = None
    columns: dict[str, str] | None = None
    members: tuple[Table, ...] = ()
    is_aliased: bool = False
    renames: frozenset[str] = frozenset()
    inner: tuple[Table, ...] = ()

    def read(self, name: str) -> None:
        """Record that a column is read, by the name that the statement gives it."""
        if self.members:
            read_any(name, self.members)
        elif self.columns is None and name in self.renames:
            self.doubt(WHOLE_ROW)
        elif self.use is not None:
            self.use.reads.add(self.columns.get(name, name) if self.columns else name)

    def doubt(self, *names: str) -> None:
        """Record columns that may be read; the whole row stands for some that cannot be named."""
        if self.use is not None:
            self.use.doubtful.update(names)

    def read_row(self) -> None:
        """Record that every column is read."""
        for member in self.members:
            member.read_row()
        if self.use is not None:
            self.use.reads.add(WHOLE_ROW)

    def lock(self) -> None:
        """Record SELECT … FOR UPDATE or the like; it goes into sub-queries as well."""
        for table in (*self.members, *self.inner):
            table.lock()
        if self.use is not None:
            self.use.is_locked = True


@dataclass(slots=True)
class Scope:
    """The tables that one query sees: its own, and those of the queries around it.

    `hidden` can be named only by their alias, as are OLD, NEW and EXCLUDED.
    """

    parent: Scope | None = None
    tables: list[Table] = field(default_factory=list)
    hidden: list[Table] = field(default_factory=list)
    merged: set[str] = field(default_factory=set)

    def table(self, alias: str, schema: str | None = None) -> Table | None:
        """Return the nearest table of that alias, or of that schema and name."""
        for entry in (*self.tables, *self.hidden):
            if entry.alias == alias and (schema is None or (entry.use is not None and entry.use.schema == schema)):
                return entry
        return self.parent.table(alias, schema) if self.parent else None

    def read(self, name: str) -> None:
        """Record a column named without its table; a table's own name stands for its whole row."""
        candidates = self._candidates(name)
        row = self.table(name)
        if row is not None and not (candidates and _is_sure(name, candidates)):
            self._read_row_or_column(name, row)
        elif candidates or name in SYSTEM_COLUMNS:
            _read_one(name, candidates)
        elif self.parent is None and len(self.tables) == 1 and name not in self.merged:
            # No table has it: the statement means a column that is missing from its only one (42703).
            self.tables[0].read(name)

    def doubt(self, name: str) -> None:
        """Record a name that is a column only if a table has one of that name."""
        for table in self._candidates(name):
            table.doubt(name)

    def join_by(self, names: Iterable[str], *sides: Sequence[Table]) -> None:
        """Record the columns of a USING: each side is read, and the name alone then means both."""
        for name in names:
            for side in sides:
                read_any(name, side)
            self.merged.add(name)

    def _candidates(self, name: str) -> list[Table]:
        found: list[Table] = []
        scope: Scope | None = self
        while scope is not None:
            if name in scope.merged:
                return found
            here = _may_have(name, [entry for entry in scope.tables if not entry.members])
            found += here
            if _is_sure(name, here):
                return found
            scope = scope.parent
        return found

    def _read_row_or_column(self, name: str, row: Table) -> None:
        if row.columns is not None or row.is_aliased or row.use is None:
            row.read_row()
        else:
            row.doubt(name, WHOLE_ROW)


def read_any(name: str, tables: Sequence[Table]) -> None:
    """Record a column that one of these tables has."""
    _read_one(name, _may_have(name, tables))


def _read_one(name: str, candidates: Sequence[Table]) -> None:
    if len(candidates) == 1:
        candidates[0].read(name)
        return
    for table in candidates:
        table.doubt(name)


def _may_have(name: str, tables: Sequence[Table]) -> list[Table]:
    """Return the table that is known to have the column, or those of which it is not known."""
    if name in SYSTEM_COLUMNS:
        return [table for table in tables if table.use is not None]
    known = [table for table in tables if table.columns is not None and name in table.columns]
    return known or [table for table in tables if table.columns is None]


def _is_sure(name: str, tables: Sequence[Table]) -> bool:
    return any(table.columns is not None and name in table.columns for table in tables)
