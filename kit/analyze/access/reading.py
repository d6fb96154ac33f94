"""Everything that one statement makes the server ask about: views, their tables, policies and what those read.

The server asks about each relation of the rewritten statement: those of a view as the view's owner, those of a
security_invoker view as the caller (also inside another view), those of a policy's subquery as whoever the policy is
applied to. EXECUTE on functions is always the caller's. In the source: `fireRIRrules`, `rewriteTargetView` and
`get_row_security_policies`; held against the server by tests/test_access_explained.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import Question
from kit.analyze.access.row_security import Added, Clause, Left, Policy, left
from kit.analyze.access.uses import CHANGES, CHECKS, Applied, Call, Columns, Live, Reading, Use
from kit.analyze.access.view_columns import base_columns, computed, live_below, live_of

Records = Sequence[dict[str, Any]]
# The views and the tables with sub-selects in their policies that are being followed.
Stack = tuple[str, ...]


def read(catalog: Catalog, question: Question, relation: Relation, added: frozenset[Added] = frozenset()) -> Reading:
    """Return what the question's statement makes the server ask about, as if the policies `added` were there."""
    reading = Reading(catalog, question.role, added)
    is_change = question.action in CHANGES
    reads = question.read_columns if is_change else None
    live = live_of(catalog, relation, (reads or ()) if is_change else question.columns)
    _visit(reading, Use(relation, question.role, question.action, question.columns, reads=reads, live=live), ())
    return reading


def _visit(reading: Reading, use: Use, stack: Stack) -> None:
    if not use.is_dropped:
        reading.uses.append(use)
    if use.reads is not None:
        reading.uses.append(replace(use, privilege="SELECT", columns=use.reads, reads=None))
    if use.relation.kind == "view":
        _visit_view(reading, use, stack)
    else:
        if use.privilege in CHANGES:
            reading.targets.append(use)
        _visit_policies(reading, use, stack)


def _visit_view(reading: Reading, use: Use, stack: Stack) -> None:
    view = use.relation
    inner = reading.caller if view.is_security_invoker else view.owner
    records = reading.catalog.indexed("relation_uses", "user_kind", "user_oid").get(("view", view.oid), [])
    records = sorted(records, key=lambda record: record["position"])
    if use.privilege == "SELECT" and view.oid in stack:
        reading.loops.append(view)
    elif use.privilege == "SELECT":
        _visit_read(reading, use, inner, records, (*stack, view.oid))
    elif use.privilege in CHANGES:
        _visit_changed(reading, use, inner, records, stack)


def _visit_read(reading: Reading, use: Use, inner: str, records: Records, stack: Stack) -> None:
    """Follow the reading of a view: what a computed column needs, only where it is read."""
    view = use.relation
    joined = [record for record in records if record["target_column"] is None]
    known = reading.catalog.updatable.get(view.oid, {})
    is_merged = bool(known.get("is_merged"))
    own = use.level if is_merged else reading.new_level(use.level, is_loose=True, is_apart=True)
    columns = reading.catalog.columns.get(view.oid, [])
    if not is_merged and not any(use.live.may_have(column) for column in columns):
        # An aggregate that nobody reads is one row without a look at what it is made of.
        own = reading.new_level(own, is_loose=True)
        reading.levels[own].may_vanish = True
    # One that groups may still call its functions when there is nothing to be grouped.
    calling = own if is_merged else reading.new_level(own, is_loose=True)
    levels: dict[str, list[int]] = {}
    may_vanish = bool(known.get("has_outer_join")) and not all(use.live.has(column) for column in columns)
    for record in records:
        is_own = record["target_column"] is None
        # Of several, it is not known whether they are joined or stand in a sub-select.
        level = own if is_own and len(joined) == 1 else reading.new_level(own, is_loose=is_own)
        levels.setdefault(record["target_column"] or "", []).append(level)
        reading.levels[level].may_vanish |= level != own and may_vanish
        _visit_record(reading, use, inner, record, level, stack, is_single=len(joined) == 1)
    _call(reading, replace(use, level=calling), "view", view.name, {k: v for k, v in levels.items() if k})


def _visit_record(
    reading: Reading, use: Use, user: str, record: dict[str, Any], level: int, stack: Stack, *, is_single: bool
) -> None:
    relation = reading.catalog.relations.get(record["relation_oid"])
    for privilege in record["privileges"] if relation else ():
        assert relation is not None
        columns = tuple(record["column_names"]) if privilege == "SELECT" else None
        live = live_below(reading.catalog, use.relation, record, use.live, is_single=is_single)
        is_doubtful = use.is_doubtful or not use.live.has(record["target_column"])
        is_dropped = use.is_dropped or not use.live.may_have(record["target_column"])
        below = _below(use, relation, user, privilege, columns)
        _visit(reading, replace(below, live=live, level=level, is_doubtful=is_doubtful, is_dropped=is_dropped), stack)


def _below(use: Use, relation: Relation, user: str, privilege: str, columns: Columns) -> Use:
    through = (*use.through, use.relation.qualified)
    return replace(use, relation=relation, user=user, privilege=privilege, columns=columns, through=through, reads=None)


def _visit_changed(reading: Reading, use: Use, inner: str, records: Records, stack: Stack) -> None:
    """Follow a change of a view to the table below it."""
    known = reading.catalog.updatable.get(use.relation.oid, {})
    fixed = computed(reading.catalog, use.relation, use.columns)
    name = use.relation.qualified
    if use.privilege in (known.get("instead_of_events") or ()):
        # A trigger takes the change and is given the whole row; for UPDATE and DELETE the view is read to find it.
        if use.privilege != "INSERT":
            _visit_read(reading, replace(use, live=Live(), reads=None), inner, records, (*stack, use.relation.oid))
    elif known.get("updatable_events") is not None and use.privilege not in known["updatable_events"]:
        reading.unchangeable.append(f"{name} takes no {use.privilege}: not simple enough for the server, and without a trigger")
    elif fixed:
        reading.unchangeable.append(f"{name} computes {', '.join(fixed)}, which cannot be written")
    elif records:
        _visit_base(reading, use, inner, records, stack)


def _visit_base(reading: Reading, use: Use, inner: str, records: Records, stack: Stack) -> None:
    """Follow a change to the one table that an automatically updatable view is made of."""
    catalog, view = reading.catalog, use.relation
    base, *others = records
    relation = catalog.relations.get(base["relation_oid"])
    is_checked = use.is_checked or view.has_check_option
    # An INSERT looks at the view's condition only WITH CHECK OPTION, before there is any row.
    has_condition = use.privilege != "INSERT" or is_checked
    if relation:
        # The columns of the view's own definition are read as soon as the statement reads any.
        reads = None if use.reads is None else tuple(base["column_names"])
        below = _below(use, relation, inner, use.privilege, base_columns(catalog, view, use.columns))
        live = live_below(catalog, view, base, use.live, is_single=True) if has_condition else Live(frozenset())
        cascades = use.is_checked or view.cascades_check
        _visit(reading, replace(below, reads=reads, live=live, is_checked=cascades), stack)
    _call(reading, use, "view", view.name, has_condition=use.privilege != "INSERT")
    if is_checked and use.privilege in ("INSERT", "UPDATE"):
        _call(reading, replace(use, level=CHECKS, live=Live(frozenset())), "view", view.name)
    for record in others:
        is_of_condition = record["target_column"] is None
        if has_condition if is_of_condition else use.live.may_have(record["target_column"]):
            level = reading.new_level(use.level, is_loose=is_of_condition and use.privilege != "INSERT")
            _visit_record(reading, use, inner, record, level, stack, is_single=True)


def _visit_policies(reading: Reading, use: Use, stack: Stack) -> None:
    """Apply the policies of a table, all of them before any of their sub-selects is followed."""
    table, found = use.relation, list(_applied(reading, use))
    reading.applied.extend(found if not use.is_dropped else ())
    if not use.is_dropped and any(item.stage == "using" and item.left.rows == "none" for item in found):
        reading.levels[use.level].is_empty = True
        reading.levels[use.level].is_cleared |= table.kind == "partitioned table"
    reads_more = any(_sub_selects(reading.catalog, table, policy) for item in found for policy in item.left.policies)
    if reads_more and table.oid in stack:
        reading.loops.append(table)
        return
    below = (*stack, table.oid) if reads_more else stack
    for item in found:
        for policy in item.left.policies:
            _visit_policy(reading, item, policy, below)


def _applied(reading: Reading, use: Use) -> Iterator[Applied]:
    for event, stage, clause in _clauses(use.privilege, does_read=use.reads is not None):
        found: Left = left(reading.catalog, use.user, use.relation, event, clause, reading.added)
        yield Applied(use, event, stage, found, clause)


def _clauses(privilege: str, *, does_read: bool) -> Iterator[tuple[str, Clause, Clause]]:
    """Yield whose policies are applied, when and by which expression: CREATE POLICY's table of policies by command.

    New rows of a statement that reads must also be ones that it may see.
    """
    if privilege in ("SELECT", "UPDATE", "DELETE"):
        yield privilege, "using", "using"
    if does_read and privilege in ("UPDATE", "DELETE"):
        yield "SELECT", "using", "using"
    if privilege in ("INSERT", "UPDATE"):
        yield privilege, "check", "check"
        if does_read:
            yield "SELECT", "check", "using"


def _sub_selects(catalog: Catalog, table: Relation, policy: Policy) -> list[dict[str, Any]]:
    """Return what the policy's sub-selects read, in either of its expressions."""
    kinds = catalog.indexed("relation_uses", "user_oid").get((table.oid,), [])
    return [record for record in kinds if record["user_name"] == policy.name and record["user_kind"].startswith("policy")]


def _visit_policy(reading: Reading, applied: Applied, policy: Policy, stack: Stack) -> None:
    use, table = applied.use, applied.use.relation
    kind = "policy check" if applied.clause == "check" and policy.has_check else "policy using"
    records = [record for record in _sub_selects(reading.catalog, table, policy) if record["user_kind"] == kind]
    through = (*use.through, f'policy "{policy.name}" on {table.qualified}')
    level = CHECKS if applied.stage == "check" else use.level
    is_dropped = use.is_dropped or policy.name in applied.left.folded
    inside = replace(use, columns=None, through=through, is_of_policy=True, reads=None, live=Live(), level=level)
    inside = replace(inside, is_dropped=is_dropped)
    apart = reading.new_level(level)
    # Which of a policy's functions stand in its sub-selects is not known.
    _call(reading, inside, kind, policy.name, {"": [apart] if records else []})
    for record in records:
        relation = reading.catalog.relations.get(record["relation_oid"])
        for privilege in record["privileges"] if relation else ():
            assert relation is not None
            columns = tuple(record["column_names"]) if privilege == "SELECT" else None
            place = apart if len(records) == 1 else reading.new_level(apart, is_loose=True)
            below = replace(inside, relation=relation, privilege=privilege, columns=columns, level=place)
            _visit(reading, replace(below, live=live_of(reading.catalog, relation, columns)), stack)


def _call(
    reading: Reading, use: Use, kind: str, name: str, inside: Mapping[str, list[int]] | None = None, *, has_condition: bool = True
) -> None:
    """Note the functions that a view or a policy calls: each runs with the caller's right to EXECUTE.

    `inside` are the levels of sub-selects that may hold the call instead, by the view's column.
    """
    found = reading.catalog.indexed("function_uses", "user_kind", "relation_oid").get((kind, use.relation.oid), [])
    for record in found if not use.is_dropped else ():
        column = record["target_column"]
        if record["user_name"] == name and use.live.may_have(column) and (has_condition or column is not None):
            is_doubtful = use.is_doubtful or not use.live.has(column)
            levels = (use.level, *(inside or {}).get(column or "", ()))
            reading.calls.append(Call(record, levels, is_doubtful, is_of_column=column is not None))
