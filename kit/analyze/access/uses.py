"""The records of what one statement makes the server ask about, and which parts of its plan there are at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.row_security import Added, Clause, Left

CHANGES = ("INSERT", "UPDATE", "DELETE")
ROW_ACTIONS = ("SELECT", *CHANGES)
# Before, a constant `false` empties a relation only where it has no other condition, such as one that calls a function.
_EMPTIES_ALL_SINCE = 170_000
Columns = tuple[str, ...] | None
# Whether a part of the plan is there: a constant `false` takes away all that is joined with it.
Presence = Literal["there", "gone", "not known"]


@dataclass(frozen=True, slots=True)
class Live:
    """The columns of a view that the statement comes to read, surely and perhaps; `surely` None is all of them."""

    surely: frozenset[str] | None = None
    perhaps: frozenset[str] = frozenset()

    def has(self, column: str | None) -> bool:
        """Return whether what belongs to this column is surely read; what belongs to none always is."""
        return column is None or self.surely is None or column in self.surely

    def may_have(self, column: str | None) -> bool:
        """Return whether it may be read."""
        return self.has(column) or column in self.perhaps


@dataclass(frozen=True, slots=True)
class Use:
    """One relation that the server asks about: as whom, for what, and on the way through which views and policies.

    `columns` None or empty: any one column suffices. `reads` are the columns that a WHERE or RETURNING of a change reads,
    None where it reads none. `level` is the part of the plan that it stands in.
    """

    relation: Relation
    user: str
    privilege: str
    columns: Columns = None
    through: tuple[str, ...] = ()
    is_of_policy: bool = False
    # Behind a computed column of a view, and not known whether that is the one that the statement reads.
    is_doubtful: bool = False
    reads: Columns = None
    live: Live = Live()
    level: int = 0
    # The planner drops it: only a loop in it matters, which the rewriter meets before.
    is_dropped: bool = False
    # A view above it has a cascaded check option.
    is_checked: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What row security leaves of one of the relations: of the rows it has, or (`stage` check) of those to be written."""

    use: Use
    event: str
    stage: Clause
    left: Left
    # The expression that was looked at: a SELECT policy's USING stands in for its check.
    clause: Clause


@dataclass(frozen=True, slots=True)
class Call:
    """A record of function_uses that the statement makes ready to run, in one of these parts of the plan."""

    record: dict[str, Any]
    levels: tuple[int, ...]
    is_doubtful: bool = False
    # In the view's own list of columns: it may be put where the rest is gone.
    is_of_column: bool = False


@dataclass(slots=True)
class Level:
    """A part of the plan: relations joined with each other. A loose one may belong to its parent or stand by itself.

    One that is apart is a view that is planned by itself, because it is not simple.
    """

    parent: int | None = None
    is_loose: bool = False
    is_apart: bool = False
    is_empty: bool = False
    # Of a partitioned table, whose partitions are left out one by one.
    is_cleared: bool = False
    # On a side of an outer join, of which nothing may be read.
    may_vanish: bool = False


@dataclass(slots=True)
class Reading:
    """What a statement makes the server ask about, in the order in which it comes to it."""

    catalog: Catalog
    caller: str
    added: frozenset[Added] = frozenset()
    uses: list[Use] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    # Each begins with an entry for the statement itself, and one for its checks of new rows, which no `false` takes away.
    levels: list[Level] = field(default_factory=lambda: [Level(), Level()])
    # Relations whose policies or views read themselves again: the server refuses with 42P17.
    loops: list[Relation] = field(default_factory=list)
    # Views that take no such change, in words.
    unchangeable: list[str] = field(default_factory=list)
    # The tables that are changed in the end, with the columns that are written there.
    targets: list[Use] = field(default_factory=list)

    @property
    def seen(self) -> list[Applied]:
        """Return what is left of the rows that the statement itself reads, not those that policies read.

        An INSERT reads none, but in the condition of a check option.
        """
        if self.uses and self.uses[0].privilege == "INSERT":
            return []
        return [applied for applied in self.applied if applied.stage == "using" and not applied.use.is_of_policy]

    def new_level(self, parent: int, *, is_loose: bool = False, is_apart: bool = False) -> int:
        """Return the number of a further part of the plan."""
        self.levels.append(Level(parent, is_loose, is_apart))
        return len(self.levels) - 1

    def presence(self, call: Call) -> Presence:
        """Return whether the call is there when the statement runs."""
        found = {self._presence(level) for level in call.levels}
        is_beside = call.is_of_column and any(self.levels[level].is_empty for level in call.levels)
        return found.pop() if len(found) == 1 and not is_beside else "not known"

    def _presence(self, number: int) -> Presence:
        if self.levels[number].is_empty:
            is_cleared = self.levels[number].is_cleared or self.catalog.version >= _EMPTIES_ALL_SINCE
            return "gone" if is_cleared else "there"
        around = [*self._below(number), *self._above(number)]
        is_doubtful = any(self.levels[other].is_empty for other in around) or self._may_vanish(number)
        return "not known" if is_doubtful else "there"

    def _may_vanish(self, number: int) -> bool:
        level = self.levels[number]
        while level.is_loose and level.parent is not None and not level.may_vanish:
            level = self.levels[level.parent]
        return level.may_vanish

    def may_escape(self, number: int) -> bool:
        """Return whether the server may forget to ask: a view planned by itself is left out beside an emptied relation.

        In the source: `add_rtes_to_flat_rtable`, which looks into a view that is empty itself, but not into its neighbour.
        """
        place: int | None = number
        while place is not None:
            level = self.levels[place]
            is_beside = any(self.levels[other].is_empty for other in self._above(place))
            if level.is_apart and (is_beside or self._may_vanish(place)):
                return True
            place = level.parent
        return False

    def _below(self, number: int, without: int | None = None) -> Iterable[int]:
        for other, level in enumerate(self.levels):
            if level.parent == number and level.is_loose and other != without:
                yield other
                yield from self._below(other)

    def _above(self, number: int) -> Iterable[int]:
        level = self.levels[number]
        while level.is_loose and level.parent is not None:
            yield level.parent
            yield from self._below(level.parent, without=number)
            number, level = level.parent, self.levels[level.parent]


CHECKS = 1
