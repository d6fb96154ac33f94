"""The functions that a statement runs besides: those of views, policies, defaults, constraints, indexes and triggers.

The server checks EXECUTE as the caller for all of them, a view's too, but not for triggers, whose functions are checked
when the trigger is made; foreign keys run as the owner of the other table (ri_triggers.c).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kit.analyze.access import remedies
from kit.analyze.access.catalog import Catalog, Entity, Relation
from kit.analyze.access.explanation import Gate, Question, Remedy, Rows
from kit.analyze.access.gates import NOT_KNOWN, not_applicable
from kit.analyze.access.holding import held, held_on_columns
from kit.analyze.access.uses import CHANGES, Reading, Use
from kit.analyze.findings import quoted

# Before, what a generated column calls was made ready before there was any row.
_GENERATED_LATE_SINCE = 160_000
# Evaluated for a row that is written; those of an index for its own columns.
_OF_ROWS = ("check", "index", "generated")


def functions(catalog: Catalog, question: Question, reading: Reading, rows: Rows | None) -> Gate:
    """Return whether the role may EXECUTE what the statement runs besides, and whether its triggers can be judged.

    `rows` is what row security leaves: where that is nothing, an UPDATE never comes to a row's constraints.
    """
    if "function_uses" not in catalog.frames and (reading.targets or _calls_something(reading)):
        return Gate("function", "unknown", "the functions that are called besides were not captured")
    known = {"there": [], "gone": [], "not known": []}  # type: dict[str, list[dict[str, Any]]]
    for call in reading.calls:
        known["not known" if call.is_doubtful else reading.presence(call)].append(call.record)
    written = (record for target in reading.targets for record in _of_change(catalog, question, target, rows))
    called = [*known["there"], *written]
    closed = _without_execute(catalog, question.role, called)
    doubtful = [because for _, because in _without_execute(catalog, question.role, known["not known"])]
    doubts = [f"{because}; {NOT_KNOWN}" for because in (*doubtful, *_referring(catalog, question, reading))]
    doubts += _of_triggers(catalog, question, reading)
    becauses = [because for _, because in closed]
    mended = [remedies.grant(catalog, question.role, entity, "EXECUTE") for entity, _ in closed]
    for because, remedy in _of_keys(catalog, question, reading, rows):
        becauses.append(because)
        mended.append(remedy)
    if becauses:
        told = "; ".join(dict.fromkeys([*becauses, *doubts[:1]]))
        return Gate("function", "failed", told, remedies.together(mended))
    return Gate("function", "unknown", doubts[0]) if doubts else _passed(catalog, question, reading, called)


def _calls_something(reading: Reading) -> bool:
    """Return whether a view or a policy is on the way: a plain table that is read calls nothing."""
    is_bound = any(applied.left.policies for applied in reading.applied)
    return is_bound or any(use.relation.kind == "view" for use in reading.uses)


def _without_execute(catalog: Catalog, role: str, called: Sequence[dict[str, Any]]) -> list[tuple[Entity, str]]:
    functions = [(record, catalog.functions.get(record["function_oid"])) for record in called]
    return [
        (entity, f"{_place(record)} calls {entity.qualified}, on which {quoted(role)} has no EXECUTE")
        for record, entity in functions
        if entity and not held(catalog, role, entity, "EXECUTE")
    ]


def _of_change(catalog: Catalog, question: Question, target: Use, rows: Rows | None) -> Iterator[dict[str, Any]]:
    """Yield what is called for each row that is written; an UPDATE or DELETE without rows never comes to it."""
    is_rowless = question.action != "INSERT" and rows == "none"
    for record in catalog.indexed("function_uses", "relation_oid").get((target.relation.oid,), []):
        kind = record["user_kind"]
        is_fired = kind == "trigger condition" and record["is_enabled"] and question.action in record["events"]
        is_default = kind == "default" and question.action == "INSERT" and record["user_name"] not in (target.columns or ())
        is_of_row = kind in _OF_ROWS and question.action in ("INSERT", "UPDATE") and _is_made(target, record)
        is_early = kind == "generated" and catalog.version < _GENERATED_LATE_SINCE
        if (is_fired or is_default or is_of_row) and (is_early or not is_rowless):
            yield record


def _is_made(target: Use, record: dict[str, Any]) -> bool:
    """Return whether a generated column is made anew: an UPDATE does that only where its columns change."""
    is_untouched = target.privilege == "UPDATE" and target.columns is not None and record["user_kind"] == "generated"
    return not is_untouched or not set(record["read_columns"]).isdisjoint(target.columns or ())


def _of_keys(catalog: Catalog, question: Question, reading: Reading, rows: Rows | None) -> Iterator[tuple[str, Remedy]]:
    """Yield where a foreign key cannot be checked, because a table's owner lost its own rights."""
    if rows == "none" or question.action not in ("INSERT", "UPDATE") or not _has_keys(catalog):
        return
    for target in reading.targets:
        for record in catalog.indexed("foreign_keys", "table_oid").get((target.relation.oid,), []):
            if _is_checked(catalog, question, target, record):
                yield from _key_lacks(catalog, record["constraint_name"], record["referenced_table_oid"])


def _has_keys(catalog: Catalog) -> bool:
    return "referenced_table_oid" in catalog.frames.get("foreign_keys", ())


def _is_checked(catalog: Catalog, question: Question, target: Use, record: dict[str, Any]) -> bool:
    """Return whether the statement writes the key's columns; a key with a NULL in it is not looked for."""
    if target.columns is None:
        return True
    columns = catalog.indexed("columns", "relation_oid").get((target.relation.oid,), [])
    filled = {column["column_name"] for column in columns if column["has_default"] or column["identity"]}
    written = set(target.columns) | (filled if question.action == "INSERT" else set())
    names = set(record["column_names"])
    return names <= written if question.action == "INSERT" else not names.isdisjoint(written)


def _key_lacks(catalog: Catalog, name: str, oid: str) -> Iterator[tuple[str, Remedy]]:
    """Yield what the owner of a table lacks for the check; FOR KEY SHARE is UPDATE to the access rules."""
    other = catalog.relations.get(oid)
    if other is None:
        return
    start = f"foreign key {quoted(name)} is checked as {quoted(other.owner)}, the owner of {other.qualified}, which has no"
    for privilege in ("SELECT", "UPDATE"):
        if not _holds(catalog, other.owner, other, privilege):
            yield f"{start} {privilege} on it", remedies.grant(catalog, other.owner, other, privilege)
    schema = catalog.schemas.get(str(other.schema))
    if schema and not held(catalog, other.owner, schema, "USAGE"):
        yield f"{start} USAGE on its schema", remedies.grant(catalog, other.owner, schema, "USAGE")


def _referring(catalog: Catalog, question: Question, reading: Reading) -> Iterator[str]:
    """Yield what an owner lacks for the check, or for a cascade, where rows go that others may refer to."""
    if question.action not in ("UPDATE", "DELETE") or not _has_keys(catalog):
        return
    for target in reading.targets:
        for record in catalog.indexed("foreign_keys", "referenced_table_oid").get((target.relation.oid,), []):
            for oid in (record["referenced_table_oid"], record["table_oid"]):
                yield from (because for because, _ in _key_lacks(catalog, record["constraint_name"], oid))


def _holds(catalog: Catalog, role: str, relation: Relation, privilege: str) -> bool:
    return bool(held(catalog, role, relation, privilege) or held_on_columns(catalog, role, relation, privilege))


def _of_triggers(catalog: Catalog, question: Question, reading: Reading) -> Iterator[str]:
    """Yield what is closed to the caller and named in a trigger's function, which runs as the caller."""
    for target in reading.targets:
        for record in _fired(catalog, question, target.relation):
            closed = _closed(catalog, question.role, record)
            if closed:
                words = f"{_place(record)} runs {_name(record)} as the caller"
                yield f"{words}, and its text names {closed.qualified}, which {quoted(question.role)} may not write"


def _passed(catalog: Catalog, question: Question, reading: Reading, called: list[dict[str, Any]]) -> Gate:
    fired = [record for target in reading.targets for record in _fired(catalog, question, target.relation)]
    unseen = [f"{_name(record)} (a trigger; what it does is not examined)" for record in fired]
    names = list(dict.fromkeys([*map(_name, called), *unseen]))
    if not names:
        return not_applicable("function", "nothing is called besides")
    return Gate("function", "passed", f"it may call {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}")


def _fired(catalog: Catalog, question: Question, target: Relation) -> list[dict[str, Any]]:
    if question.action not in CHANGES:
        return []
    uses = catalog.indexed("function_uses", "user_kind", "relation_oid").get(("trigger", target.oid), [])
    return [record for record in uses if record["is_enabled"] and question.action in record["events"]]


def _closed(catalog: Catalog, role: str, record: dict[str, Any]) -> Relation | None:
    """Return a relation that the trigger's function names and the role may not write: that is what triggers mostly do."""
    own = catalog.indexed("functions", "function_oid").get((record["function_oid"],), [])
    if own and own[0]["is_security_definer"]:
        return None
    for mention in catalog.indexed("function_mentions", "function_oid").get((record["function_oid"],), []):
        relation = catalog.relations.get(mention["relation_oid"])
        if relation and relation.kind != "sequence" and not _may(catalog, role, relation, "INSERT"):
            return relation
    return None


def _may(catalog: Catalog, role: str, entity: Relation, privilege: str) -> bool:
    schema: Entity | None = catalog.schemas.get(str(entity.schema))
    if schema is None or not held(catalog, role, schema, "USAGE"):
        return False
    return _holds(catalog, role, entity, privilege)


def _place(record: dict[str, Any]) -> str:
    if record["user_kind"] == "view":
        return f"view {quoted(record['schema_name'])}.{quoted(record['relation_name'])}"
    kind = record["user_kind"].partition(" ")[0]
    noun = {"default": "the default of column", "generated": "the generated column", "check": "constraint"}.get(kind, kind)
    return f"{noun} {quoted(record['user_name'])} on {quoted(record['schema_name'])}.{quoted(record['relation_name'])}"


def _name(record: dict[str, Any]) -> str:
    return f"{quoted(record['function_schema_name'])}.{quoted(record['function_name'])}"
