"""The functions that a statement runs besides: those of views, policies, defaults, constraints, indexes and triggers.

The server checks EXECUTE as the caller for all of them, a view's too, but not for triggers, whose functions are checked
when the trigger is made; foreign keys run as the owner of the other table (ri_triggers.c).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kit.analyze.access import remedies
from kit.analyze.access.catalog import Catalog, Entity, Relation
from kit.analyze.access.explanation import Gate, Question, Rows
from kit.analyze.access.gates import not_applicable
from kit.analyze.access.holding import held, held_on_columns
from kit.analyze.access.reading import CHANGES, Reading
from kit.analyze.findings import quoted

# Evaluated for a row that is written; those of an index for its own columns.
_OF_ROWS = ("check", "index", "generated", "trigger condition")


def functions(catalog: Catalog, question: Question, reading: Reading, rows: Rows | None) -> Gate:
    """Return whether the role may EXECUTE what the statement runs besides, and whether its triggers can be judged.

    `rows` is what row security leaves: where that is nothing, an UPDATE never comes to a row's constraints.
    """
    if "function_uses" not in catalog.frames:
        return Gate("function", "unknown", "the functions that are called besides were not captured")
    called = [
        *reading.functions,
        *(record for target in reading.targets for record in _of_change(catalog, question, target, rows)),
    ]
    closed = _without_execute(catalog, question.role, called)
    checking = _without_execute(catalog, question.role, reading.checking_functions)
    is_empty = question.action != "INSERT" and any(applied.left.rows == "none" for applied in reading.seen)
    if closed and is_empty and not checking:
        return _behind_nothing(question, closed[0][1], rows)
    if closed or checking:
        needed = [*closed, *checking]
        mended = remedies.together([remedies.grant(catalog, question.role, entity, "EXECUTE") for entity, _ in needed])
        return Gate("function", "failed", "; ".join(dict.fromkeys(because for _, because in needed)), mended)
    doubtful = _without_execute(catalog, question.role, reading.doubtful_functions)
    if doubtful:
        return Gate("function", "unknown", f"{doubtful[0][1]}; whether it is in a column that the statement reads is not known")
    return _keys(catalog, question, reading) or _triggers(catalog, question, reading, called)


def _behind_nothing(question: Question, because: str, rows: Rows | None) -> Gate:
    """Return the gate where row security leaves no row of a table: no condition is evaluated then, perhaps none at all."""
    if question.action != "SELECT" and rows == "none":
        return not_applicable("function", f"{because}; but row security leaves no row for which it would")
    return Gate("function", "unknown", f"{because}; whether it comes to that is not known, since row security leaves no row")


def _without_execute(catalog: Catalog, role: str, called: Sequence[dict[str, Any]]) -> list[tuple[Entity, str]]:
    functions = [(record, catalog.functions.get(record["function_oid"])) for record in called]
    return [
        (entity, f"{_place(record)} calls {entity.qualified}, on which {quoted(role)} has no EXECUTE")
        for record, entity in functions
        if entity and not held(catalog, role, entity, "EXECUTE")
    ]


def _of_change(catalog: Catalog, question: Question, target: Relation, rows: Rows | None) -> Iterator[dict[str, Any]]:
    if question.action not in ("INSERT", "UPDATE") or (question.action == "UPDATE" and rows == "none"):
        return
    uses = catalog.indexed("function_uses", "relation_oid").get((target.oid,), [])
    for record in uses:
        is_default = record["user_kind"] == "default" and record["user_name"] not in (question.columns or ())
        if record["user_kind"] in _OF_ROWS or (is_default and question.action == "INSERT"):
            yield record


def _keys(catalog: Catalog, question: Question, reading: Reading) -> Gate | None:
    """Return the gate where a foreign key cannot be checked, because the other table's owner lost its own rights."""
    if question.action not in ("INSERT", "UPDATE") or "referenced_table_oid" not in catalog.frames.get("foreign_keys", ()):
        return None
    for target in reading.targets:
        for record in catalog.indexed("foreign_keys", "table_oid").get((target.oid,), []):
            gate = _key(catalog, record)
            if gate:
                return gate
    return None


def _key(catalog: Catalog, record: dict[str, Any]) -> Gate | None:
    other = catalog.relations.get(record["referenced_table_oid"])
    if other is None:
        return None
    start = f"foreign key {quoted(record['constraint_name'])} is checked as {quoted(other.owner)}, the owner of {other.qualified}"
    # The check reads the row FOR KEY SHARE, which is UPDATE to the access rules.
    for privilege in ("SELECT", "UPDATE"):
        if not _holds(catalog, other.owner, other, privilege):
            because = f"{start}, which has no {privilege} on it"
            return Gate("function", "failed", because, remedies.grant(catalog, other.owner, other, privilege))
    schema = catalog.schemas.get(str(other.schema))
    if schema and not held(catalog, other.owner, schema, "USAGE"):
        because = f"{start}, which has no USAGE on its schema"
        return Gate("function", "failed", because, remedies.grant(catalog, other.owner, schema, "USAGE"))
    return None


def _holds(catalog: Catalog, role: str, relation: Relation, privilege: str) -> bool:
    return bool(held(catalog, role, relation, privilege) or held_on_columns(catalog, role, relation, privilege))


def _triggers(catalog: Catalog, question: Question, reading: Reading, called: list[dict[str, Any]]) -> Gate:
    fired = [record for target in reading.targets for record in _fired(catalog, question, target)]
    for record in fired:
        closed = _closed(catalog, question.role, record)
        if closed:
            words = f"{_place(record)} runs {_name(record)} as the caller"
            because = f"{words}, and its text names {closed.qualified}, which is closed to {quoted(question.role)}"
            return Gate("function", "unknown", because)
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
    """Return a relation that the trigger's function names and the role can neither read nor change."""
    own = catalog.indexed("functions", "function_oid").get((record["function_oid"],), [])
    if own and own[0]["is_security_definer"]:
        return None
    for mention in catalog.indexed("function_mentions", "function_oid").get((record["function_oid"],), []):
        relation = catalog.relations.get(mention["relation_oid"])
        if relation and not any(_may(catalog, role, relation, privilege) for privilege in ("SELECT", *CHANGES)):
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
