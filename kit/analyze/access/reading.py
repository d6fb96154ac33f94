"""Everything that one statement makes the server ask about: views, their tables, policies and what those read.

The server asks about each relation of the rewritten statement: those of a view as the view's owner, those of a
security_invoker view as the caller (also inside another view), those of a policy's subquery as whoever the policy is
applied to. EXECUTE on functions is always the caller's. In the source: `fireRIRrules`, `rewriteTargetView` and
`get_row_security_policies`; held against the server by tests/test_access_explained.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import Question
from kit.analyze.access.holding import WHOLE_ROW
from kit.analyze.access.row_security import Added, Clause, Left, Policy, left

CHANGES = ("INSERT", "UPDATE", "DELETE")
Columns = tuple[str, ...] | None
# The tables whose policies are being followed.
Stack = tuple[str, ...]
ROW_ACTIONS = ("SELECT", *CHANGES)


@dataclass(frozen=True, slots=True)
class Use:
    """One relation that the server asks about: as whom, for what, and on the way through which views and policies.

    `columns` None or empty: any one column suffices. `reads` are the columns that a WHERE or RETURNING of a change reads,
    None where it reads none.
    """

    relation: Relation
    user: str
    privilege: str
    columns: Columns = None
    through: tuple[str, ...] = ()
    is_of_policy: bool = False
    # Behind a condition that is folded away, so that nothing of it is asked.
    is_folded: bool = False
    # Behind a computed column of a view, and not known whether that is the one that the statement reads.
    is_doubtful: bool = False
    reads: Columns = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What row security leaves of one of the relations."""

    use: Use
    event: str
    clause: Clause
    left: Left


@dataclass(slots=True)
class Reading:
    """What a statement makes the server ask about, in the order in which it comes to it."""

    catalog: Catalog
    caller: str
    added: frozenset[Added] = frozenset()
    uses: list[Use] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    # The records of function_uses that run as the caller.
    functions: list[dict[str, Any]] = field(default_factory=list)
    doubtful_functions: list[dict[str, Any]] = field(default_factory=list)
    # Those of a WITH CHECK are made ready before any row is looked for.
    checking_functions: list[dict[str, Any]] = field(default_factory=list)
    # Tables whose policies read themselves again: the server refuses with 42P17.
    loops: list[Relation] = field(default_factory=list)
    # Views that take no such change, in words.
    unchangeable: list[str] = field(default_factory=list)
    targets: list[Relation] = field(default_factory=list)

    @property
    def seen(self) -> list[Applied]:
        """Return what is left of the rows that the statement itself reads, not those that policies read."""
        return [applied for applied in self.applied if applied.clause == "using" and not applied.use.is_of_policy]


def read(catalog: Catalog, question: Question, relation: Relation, added: frozenset[Added] = frozenset()) -> Reading:
    """Return what the question's statement makes the server ask about, as if the policies `added` were there."""
    reading = Reading(catalog, question.role, added)
    reads = question.read_columns if question.action in CHANGES else None
    _visit(reading, Use(relation, question.role, question.action, question.columns, reads=reads), ())
    return reading


def _visit(reading: Reading, use: Use, stack: Stack) -> None:
    reading.uses.append(use)
    if use.reads is not None:
        reading.uses.append(replace(use, privilege="SELECT", columns=use.reads, reads=None))
    if use.relation.kind == "view":
        _visit_view(reading, use, stack)
    else:
        if use.privilege in CHANGES:
            reading.targets.append(use.relation)
        _visit_policies(reading, use, stack)


def _visit_view(reading: Reading, use: Use, stack: Stack) -> None:
    view = use.relation
    inner = reading.caller if view.is_security_invoker else view.owner
    records = reading.catalog.indexed("relation_uses", "user_kind", "user_oid").get(("view", view.oid), [])
    records = sorted(records, key=lambda record: record["position"])
    if use.privilege == "SELECT":
        _visit_read(reading, use, inner, records, use.columns, stack)
    elif use.privilege in CHANGES:
        _visit_changed(reading, use, inner, records, stack)


def _visit_changed(reading: Reading, use: Use, inner: str, records: Sequence[dict[str, Any]], stack: Stack) -> None:
    """Follow a change of a view to the table below it."""
    known = reading.catalog.updatable.get(use.relation.oid, {})
    fixed = known.get("fixed_columns") or ()
    if use.privilege in (known.get("instead_of_events") or ()):
        # A trigger takes the change; for UPDATE and DELETE the view is read to find the rows.
        _visit_records(reading, use, inner, records if use.privilege != "INSERT" else [], stack)
    elif known.get("updatable_events") is not None and use.privilege not in known["updatable_events"]:
        name = use.relation.qualified
        reading.unchangeable.append(f"{name} takes no {use.privilege}: not simple enough for the server, and without a trigger")
    elif not set(fixed).isdisjoint(use.columns or ()):
        reading.unchangeable.append(f"{use.relation.qualified} computes {', '.join(fixed)}, which cannot be written")
    elif records:
        _visit_base(reading, use, inner, records, fixed, stack)


def _visit_base(
    reading: Reading, use: Use, inner: str, records: Sequence[dict[str, Any]], fixed: Sequence[str], stack: Stack
) -> None:
    """Follow a change to the one table that an automatically updatable view is made of."""
    base, *others = records
    relation = reading.catalog.relations.get(base["relation_oid"])
    if relation:
        # The columns of the view's own definition are read as soon as the statement reads any.
        reads = None if use.reads is None else tuple(base["column_names"])
        mapped = _mapped(reading.catalog, relation, use.columns)
        _visit(reading, replace(_below(use, relation, inner, use.privilege, mapped), reads=reads), stack)
    # An INSERT looks at the view's condition only WITH CHECK OPTION; a computed column counts where it is read.
    if use.privilege == "INSERT" and not use.relation.has_check_option:
        return
    _visit_read(reading, use, inner, others, use.reads or (), stack)


def _visit_read(
    reading: Reading, use: Use, inner: str, records: Sequence[dict[str, Any]], columns: Columns, stack: Stack
) -> None:
    """Follow the reading of these columns of a view (None: all): what a computed column needs, only where it is read."""
    certain, doubtful = _computed(reading.catalog, use.relation, columns)
    _call(reading, use, "view", use.relation.oid, use.relation.name, is_doubtful=doubtful)
    for record in records:
        if certain or record["target_column"] is None:
            _visit_records(reading, use, inner, [record], stack)
        elif doubtful:
            _visit_records(reading, replace(use, is_doubtful=True), inner, [record], stack)


def _computed(catalog: Catalog, view: Relation, columns: Columns) -> tuple[bool, bool]:
    """Return whether the view's computed columns are surely read, and whether some may be."""
    fixed = catalog.updatable.get(view.oid, {}).get("fixed_columns") or ()
    if columns is None or WHOLE_ROW in columns or set(fixed[:1]) == set(fixed) & set(columns) != set():
        return True, False
    # Only of a view that can be changed it is known which columns are computed.
    is_known = bool(catalog.updatable.get(view.oid, {}).get("updatable_events"))
    return False, bool(columns) and (not is_known or not set(fixed).isdisjoint(columns))


def _mapped(catalog: Catalog, base: Relation, columns: Columns) -> Columns:
    """Return the base's columns of these names; a view that renames them is taken to need any one."""
    if not columns or not set(columns) <= set(catalog.columns.get(base.oid, ())):
        return None
    return columns


def _visit_records(reading: Reading, use: Use, user: str, records: Sequence[dict[str, Any]], stack: Stack) -> None:
    for record in records:
        relation = reading.catalog.relations.get(record["relation_oid"])
        for privilege in record["privileges"] if relation else ():
            assert relation is not None
            columns = tuple(record["column_names"]) if privilege == "SELECT" else None
            _visit(reading, _below(use, relation, user, privilege, columns), stack)


def _below(use: Use, relation: Relation, user: str, privilege: str, columns: Columns) -> Use:
    through = (*use.through, use.relation.qualified)
    return replace(use, relation=relation, user=user, privilege=privilege, columns=columns, through=through, reads=None)


def _visit_policies(reading: Reading, use: Use, stack: Stack) -> None:
    for event, clause in _clauses(use.privilege, does_read=use.reads is not None):
        found = left(reading.catalog, use.user, use.relation, event, clause, reading.added)
        reading.applied.append(Applied(use, event, clause, found))
        for policy in found.policies:
            _visit_policy(reading, use, policy, clause, policy.name in found.folded, stack)


def _clauses(privilege: str, *, does_read: bool) -> Iterator[tuple[str, Clause]]:
    """Yield what is applied, by CREATE POLICY's table of policies by command."""
    if privilege in ("SELECT", "UPDATE", "DELETE"):
        yield privilege, "using"
    if privilege in ("INSERT", "UPDATE"):
        yield privilege, "check"
    if does_read and privilege in CHANGES:
        yield "SELECT", "using"


def _visit_policy(reading: Reading, use: Use, policy: Policy, clause: Clause, is_folded: bool, stack: Stack) -> None:
    kind = "policy check" if clause == "check" and policy.has_check else "policy using"
    table = use.relation
    records = [
        record
        for record in reading.catalog.indexed("relation_uses", "user_kind", "user_oid").get((kind, table.oid), [])
        if record["user_name"] == policy.name
    ]
    if records and table.oid in stack:
        reading.loops.append(table)
        return
    through = (*use.through, f'policy "{policy.name}" on {table.qualified}')
    inside = Use(table, use.user, use.privilege, None, use.through, is_of_policy=True, is_folded=use.is_folded or is_folded)
    _call(reading, inside, kind, table.oid, policy.name, is_check=clause == "check")
    for record in records:
        relation = reading.catalog.relations.get(record["relation_oid"])
        for privilege in record["privileges"] if relation else ():
            assert relation is not None
            columns = tuple(record["column_names"]) if privilege == "SELECT" else None
            below = Use(relation, use.user, privilege, columns, through, is_of_policy=True, is_folded=inside.is_folded)
            _visit(reading, below, (*stack, table.oid))


def _call(
    reading: Reading, use: Use, kind: str, relation_oid: str, name: str, *, is_doubtful: bool = False, is_check: bool = False
) -> None:
    """Note the functions that a view or a policy calls: each runs with the caller's right to EXECUTE."""
    if use.is_folded:
        return
    found = reading.catalog.indexed("function_uses", "user_kind", "relation_oid").get((kind, relation_oid), [])
    calls = [record for record in found if record["user_name"] == name]
    if is_check:
        reading.checking_functions.extend(calls)
    else:
        (reading.doubtful_functions if is_doubtful or use.is_doubtful else reading.functions).extend(calls)
