"""The gates that a statement passes on its way to one relation, each judged by itself.

The order is the server's: session, name, schema, object, columns; then what the rewritten statement brings along.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from kit.analyze.access import remedies
from kit.analyze.access.catalog import Catalog, Entity, Relation
from kit.analyze.access.explanation import Gate, GateName, Question, Rows
from kit.analyze.access.holding import COLUMN_PRIVILEGES, Lack, after_set_role, held, held_on_columns, lacked
from kit.analyze.access.row_security import could_open
from kit.analyze.access.uses import CHANGES, ROW_ACTIONS, Applied, Reading, Use
from kit.analyze.findings import quoted

NOT_KNOWN = "whether the server comes to that is not known"


def not_applicable(name: GateName, because: str) -> Gate:
    """Return a gate that this question does not come to."""
    return Gate(name, "not applicable", because)


def schema_usage(catalog: Catalog, role: str, schema: str) -> Gate:
    """Return whether the role may look into the schema."""
    entity = catalog.schemas[schema]
    how = held(catalog, role, entity, "USAGE")
    if how:
        return Gate("schema usage", "passed", how)
    because = f"{quoted(role)} has no USAGE on schema {quoted(schema)}{_if_set_role(catalog, role, entity, 'USAGE')}"
    return Gate("schema usage", "failed", because, remedies.grant(catalog, role, entity, "USAGE"))


def object_and_columns(catalog: Catalog, question: Question, relation: Relation) -> tuple[Gate, Gate]:
    """Return the gates of the object and of its columns; a grant on columns stands in for one on the object."""
    role, action = question.role, question.action
    how = held(catalog, role, relation, action)
    columns = [] if how else held_on_columns(catalog, role, relation, action)
    lack = lacked(catalog, role, relation, action, question.columns)
    refused = f"{quoted(role)} has no {action} on {relation.qualified}{_if_set_role(catalog, role, relation, action)}"
    if how:
        whole, single = Gate("object privilege", "passed", how), not_applicable("column privilege", "the whole object is granted")
    elif lack and not columns:
        whole = Gate("object privilege", "failed", refused, remedies.grant_lacked(catalog, lack))
        single = not_applicable("column privilege", _no_columns(action))
    else:
        whole = not_applicable("object privilege", f"{refused}, but on some of its columns")
        single = _on_columns(catalog, question, relation, columns, lack)
    return whole, _with_reads(catalog, question, relation, single)


def _on_columns(catalog: Catalog, question: Question, relation: Relation, columns: Sequence[str], lack: Lack | None) -> Gate:
    if lack is None:
        return Gate("column privilege", "passed", _some_columns(catalog, relation, question.action, columns))
    granted = f"{quoted(question.role)} has {question.action} on {_listed(columns)} of {relation.qualified}"
    because = f"{granted}, not on {_listed(lack.columns)}"
    return Gate("column privilege", "failed", because, remedies.grant_lacked(catalog, lack))


def _with_reads(catalog: Catalog, question: Question, relation: Relation, single: Gate) -> Gate:
    """Return the gate of the columns with the SELECT that a WHERE or RETURNING of a change needs besides."""
    if question.action not in CHANGES:
        return single
    lack = lacked(catalog, question.role, relation, "SELECT", question.read_columns)
    if lack is None:
        return single
    needed = f"{quoted(question.role)} has no SELECT on {_listed(lack.columns) or relation.qualified}"
    if question.read_columns is None:
        return replace(single, because=f"{single.because}; but {needed}: a WHERE or RETURNING that reads columns is denied")
    because = f"{needed}, which the WHERE or RETURNING of the statement reads"
    parts = [single.remedy] if single.remedy else []
    mended = remedies.together([*parts, remedies.grant_lacked(catalog, lack)])
    return Gate("column privilege", "failed", because, mended)


def view_owner(catalog: Catalog, reading: Reading, relation: Relation) -> Gate:
    """Return whether the server lets the view's owner (or, with security_invoker, the caller) at what the view reads."""
    if relation.kind != "view":
        return not_applicable("view owner", f"{relation.qualified} is no view")
    if "relation_uses" not in catalog.frames:
        return Gate("view owner", "unknown", "what the view reads was not captured")
    if reading.unchangeable:
        return Gate("view owner", "failed", reading.unchangeable[0])
    changed = [use.relation.oid for use in reading.uses if use.relation.kind == "view" and use.privilege in CHANGES]
    if any(catalog.updatable.get(oid, {}).get("is_locked") for oid in changed):
        return Gate("view owner", "unknown", "whether the view takes changes could not be asked: a relation was locked")
    below = [use for use in reading.uses[1:] if use.through and not use.is_of_policy]
    return _lacks(reading, "view owner", below) or Gate("view owner", "passed", _readers(relation, below))


def row_security(catalog: Catalog, question: Question, reading: Reading) -> tuple[Gate, Rows | None]:
    """Return what row security leaves, and the gate: the policies themselves may read what the role may not."""
    if question.action not in ROW_ACTIONS:
        return not_applicable("row security", f"row security does not look at {question.action}"), None
    own = [applied for applied in reading.applied if not applied.use.is_of_policy]
    if reading.loops:
        loop = reading.loops[0]
        because = (
            f"the {'view' if loop.kind == 'view' else 'policies on'} {loop.qualified} read{'s' * (loop.kind == 'view')} itself"
        )
        return Gate("row security", "failed", f"{because} again, through policies (error 42P17)"), None
    if not own:
        return not_applicable("row security", "no table of this database is read or changed"), "all"
    inside = _lacks(reading, "row security", [use for use in reading.uses if use.is_of_policy])
    if inside:
        return inside, None
    return _rows_gate(catalog, reading, own)


def _rows_gate(catalog: Catalog, reading: Reading, own: Sequence[Applied]) -> tuple[Gate, Rows | None]:
    seen = reading.seen
    written = [applied for applied in own if applied.stage == "check"]
    rows = _combined(seen or written)
    because = "; ".join(dict.fromkeys(applied.left.because for applied in own))
    if any(policy.is_unread for applied in own for policy in applied.left.policies):
        return Gate("row security", "unknown", f"{because}; the table was locked, so their conditions could not be read"), None
    if seen and rows == "none":
        return _blocked(catalog, seen, because, is_silent=True), rows
    if any(applied.left.rows == "none" for applied in written):
        return _blocked(catalog, written, because, is_silent=False), "none"
    rows = "filtered" if rows == "all" and any(applied.left.rows != "all" for applied in written) else rows
    is_bound = any(applied.left.policies or applied.left.rows == "none" for applied in own)
    return Gate("row security", "passed" if is_bound else "not applicable", because), rows


def _blocked(catalog: Catalog, applied: Sequence[Applied], because: str, *, is_silent: bool) -> Gate:
    first = next(item for item in applied if item.left.rows == "none")
    use = first.use
    can_open = could_open(catalog, use.user, use.relation, first.event, first.clause)
    remedy = remedies.create_policy(catalog, use.user, use.relation, first.event) if can_open else None
    return Gate("row security", "failed", because, remedy, is_silent, missing_policy=(use.user, use.relation.oid, first.event))


def _combined(applied: Sequence[Applied]) -> Rows:
    """Return what is left of all of them together: one table of several may still give rows, so that is `filtered`."""
    found = {item.left.rows for item in applied}
    if found == {"none"} or ("none" in found and len({item.use.relation for item in applied}) == 1):
        return "none"
    return "all" if found == {"all"} else "filtered"


def sequence(catalog: Catalog, question: Question, reading: Reading) -> Gate:
    """Return whether the role may take values of the sequences behind the defaults that an INSERT uses."""
    if question.action != "INSERT":
        return not_applicable("sequence", "only an INSERT takes defaults")
    if "sequence_uses" not in catalog.frames:
        return Gate("sequence", "unknown", "the sequences behind defaults were not captured")
    found = [record for target in reading.targets for record in _defaults(catalog, target.relation, target.columns)]
    closed = [record for record in found if not _may_take(catalog, question.role, record["sequence_oid"])]
    if closed:
        entities = [catalog.relations[record["sequence_oid"]] for record in closed]
        columns = ", ".join(quoted(record["column_name"]) for record in closed)
        because = f"the default of column {columns} takes a value of {_listed([e.qualified for e in entities], quote=False)}, "
        because += f"on which {quoted(question.role)} has neither USAGE nor UPDATE"
        mended = remedies.together([remedies.grant(catalog, question.role, entity, "USAGE") for entity in entities])
        return Gate("sequence", "failed", because, mended)
    if not found:
        return not_applicable(
            "sequence", "no default takes a value of a sequence (an identity column needs no privilege on its own)"
        )
    return Gate("sequence", "passed", f"it may use {_listed([_sequence_name(record) for record in found], quote=False)}")


def _may_take(catalog: Catalog, role: str, sequence_oid: str) -> bool:
    entity = catalog.relations.get(sequence_oid)
    return entity is None or any(held(catalog, role, entity, privilege) for privilege in ("USAGE", "UPDATE"))


def _defaults(catalog: Catalog, target: Relation, columns: tuple[str, ...] | None) -> list[dict[str, Any]]:
    records = catalog.indexed("sequence_uses", "relation_oid").get((target.oid,), [])
    return [r for r in records if r["how"] == "default" and r["column_name"] not in (columns or ())]


def _sequence_name(record: dict[str, Any]) -> str:
    return f"{quoted(record['sequence_schema_name'])}.{quoted(record['sequence_name'])}"


def _lacks(reading: Reading, name: GateName, uses: Sequence[Use]) -> Gate | None:
    catalog = reading.catalog
    found = [(use, lack) for use in uses if (lack := lacked(catalog, use.user, use.relation, use.privilege, use.columns))]
    certain = [(use, lack) for use, lack in found if not (use.is_doubtful or reading.may_escape(use.level))]
    doubtful = [f"{_needs(use, lack)}; {NOT_KNOWN}" for use, lack in found if (use, lack) not in certain]
    if certain:
        mended = remedies.together(
            [remedies.grant_lacked(catalog, lack) for lack in _merged(catalog, (lack for _, lack in certain))]
        )
        because = dict.fromkeys([*(_needs(use, lack) for use, lack in certain), *doubtful[:1]])
        return Gate(name, "failed", "; ".join(because), mended)
    return Gate(name, "unknown", doubtful[0]) if doubtful else None


def _needs(use: Use, lack: Lack) -> str:
    columns = f" (columns {_listed(lack.columns)})" if lack.columns else ""
    wanted = f"{use.privilege} on {use.relation.qualified}{columns}"
    return f"{' → '.join(use.through)} needs {wanted}, as {quoted(use.user)}, which lacks it"


def _merged(catalog: Catalog, lacks: Iterable[Lack]) -> list[Lack]:
    """Return what is lacked on each relation once: the whole of it, where that is lacked anywhere."""
    found: dict[tuple[str, str, str], Lack] = {}
    for lack in lacks:
        key = (lack.role, lack.relation.oid, lack.privilege)
        known = found.get(key)
        columns = tuple(dict.fromkeys((*known.columns, *lack.columns))) if known and known.columns and lack.columns else ()
        found[key] = replace(lack, columns=columns) if known else lack
    return [lack for lack in found.values() if not any(_covers(catalog, other, lack) for other in found.values())]


def _covers(catalog: Catalog, other: Lack, lack: Lack) -> bool:
    """Return whether the grant to the other role reaches this one by inheritance."""
    is_same = (other.relation.oid, other.privilege) == (lack.relation.oid, lack.privilege) and other.role != lack.role
    return is_same and other.role in catalog.access.graph.privileges_of(lack.role) and set(lack.columns) <= set(other.columns)


def _readers(view: Relation, below: Sequence[Use]) -> str:
    if not below:
        return f"{view.qualified} reads no table of this database"
    users = _listed(sorted({use.user for use in below}))
    relations = _listed(sorted({use.relation.qualified for use in below}), quote=False)
    return f"{users} may reach {relations}, which {view.qualified} reads"


def _if_set_role(catalog: Catalog, role: str, entity: Entity, privilege: str) -> str:
    other = after_set_role(catalog, role, entity, privilege)
    return f" (it would have it after SET ROLE {quoted(other)})" if other else ""


def _no_columns(action: str) -> str:
    return "no column is granted by itself" if action in COLUMN_PRIVILEGES else f"{action} is not granted on columns"


def _some_columns(catalog: Catalog, relation: Relation, action: str, columns: Sequence[str]) -> str:
    others = [column for column in catalog.columns.get(relation.oid, []) if column not in columns]
    denied = f"; {action} of {_listed(others)} is denied, and so is `*`" if others and action == "SELECT" else ""
    return f"{action} is granted on {_listed(columns)}{denied}"


def _listed(names: Sequence[str], *, quote: bool = True) -> str:
    shown = [quoted(name) if quote else name for name in dict.fromkeys(names)]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
