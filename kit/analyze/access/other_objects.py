"""The gates of functions, schemas, types and databases."""

from __future__ import annotations

from kit.analyze.access import remedies
from kit.analyze.access.catalog import Catalog, Entity
from kit.analyze.access.explanation import Gate, Question
from kit.analyze.access.gates import schema_usage
from kit.analyze.access.holding import after_set_role, held
from kit.analyze.access.resolution import Resolved, close_to, name_parts, other_database, session_path, split_outside_quotes
from kit.analyze.access.session_gates import database_entity
from kit.analyze.findings import quoted
from kit.analyze.names import is_system_schema
from kit.errors import ParameterError

Answer = tuple[str | None, tuple[Gate, ...], tuple[str, ...]]
_TYPES = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean", "varchar": "character varying",
    "float8": "double precision", "float4": "real", "decimal": "numeric", "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}  # fmt: skip
_ACTIONS = {"function": ("EXECUTE",), "schema": ("USAGE", "CREATE"), "type": ("USAGE",), "database": ("CONNECT", "CREATE")}


def gates_of(catalog: Catalog, question: Question) -> Answer:
    """Return the object's full name, the gates from the name on, and near names where there is no such object."""
    able = _ACTIONS[question.kind]
    if question.action not in able:
        raise ParameterError(f"{question.action} is not for a {question.kind}.", f"Ask for {' or '.join(able)}.")
    if question.kind == "database":
        return _database(catalog, question)
    if question.kind == "schema":
        return _schema(catalog, question)
    return _in_schema(catalog, question)


def _database(catalog: Catalog, question: Question) -> Answer:
    current = database_entity(catalog)
    wanted = _one_name(question.name, "database") if question.name else current.name
    record = next((row for row in catalog.rows("databases") if row["database_name"] == wanted), None)
    if record is None:
        names = [row["database_name"] for row in catalog.rows("databases")]
        return (
            None,
            (Gate("name resolution", "failed", f"there is no database {quoted(wanted)}"),),
            tuple(close_to(wanted, names)),
        )
    entity = Entity("database", wanted, record["owner_name"])
    if question.action == "CONNECT" and not record["allows_connections"]:
        closed = Gate("object privilege", "failed", f"database {quoted(wanted)} takes no connections")
        return entity.qualified, (_named(entity), closed), ()
    return entity.qualified, (_named(entity), _privilege(catalog, question, entity)), ()


def _one_name(text: str, kind: str) -> str:
    schema, name = name_parts(text)
    if schema is not None:
        raise ParameterError(
            f"{text!r} is not the name of a {kind}: it has a dot.", "Write one name, in double quotes if it has a dot."
        )
    return name


def _schema(catalog: Catalog, question: Question) -> Answer:
    wanted = _one_name(question.name, "schema")
    entity = catalog.schemas.get(wanted)
    if entity is None:
        because = f"there is no schema {quoted(wanted)} in database {quoted(catalog.access.database)}"
        return None, (Gate("name resolution", "failed", because),), tuple(close_to(wanted, catalog.schemas))
    # USAGE is the schema's own gate, so that the same lack is named the same in every question.
    gate = schema_usage(catalog, question.role, wanted) if question.action == "USAGE" else _privilege(catalog, question, entity)
    return entity.qualified, (_named(entity), gate), ()


def _in_schema(catalog: Catalog, question: Question) -> Answer:
    if f"{question.kind}s" not in catalog.frames:
        return None, (Gate("name resolution", "unknown", f"the {question.kind}s were not captured"),), ()
    text, *behind = split_outside_quotes(question.name, "(")
    schema, name = name_parts(text)
    foreign = other_database(catalog, text)
    if foreign:
        return None, (Gate("name resolution", "failed", foreign),), ()
    entities = list((catalog.functions if question.kind == "function" else catalog.types).values())
    named = [item for item in entities if item.name == name and (not behind or _same(item.arguments, "(".join(behind)))]
    found = _chosen(catalog, question, schema, named)
    if isinstance(found, Resolved):
        near = tuple(close_to(name, {item.name for item in entities}))
        return None, (found.gate,), (*(item.qualified for item in named), *(item for item in near if not named))
    usage = schema_usage(catalog, question.role, str(found.schema))
    return found.qualified, (_named(found), usage, _privilege(catalog, question, found)), ()


def _chosen(catalog: Catalog, question: Question, schema: str | None, named: list[Entity]) -> Entity | Resolved:
    path = session_path(catalog, question.role)
    # The server's own schema comes first where the path does not name it.
    own = [] if "pg_catalog" in path.entries else ["pg_catalog"]
    schemas = [schema] if schema is not None else [*own, *path.entries]
    reached = [item for item in named if item.schema in schemas]
    usable = [item for item in reached if held(catalog, question.role, catalog.schemas[str(item.schema)], "USAGE")] or reached
    if len({item.arguments for item in usable}) > 1:
        because = "there are several of this name: give its arguments as well"
        return Resolved(None, Gate("name resolution", "unknown", because))
    if usable:
        return min(usable, key=lambda item: schemas.index(str(item.schema)))
    if not named and (schema is None or is_system_schema(schema)):
        because = f"no schema of this database has a {question.kind} {question.name}; the server's own are not captured"
        return Resolved(None, Gate("name resolution", "unknown", because))
    where = f"in schema {quoted(schema)}" if schema else f"on the search_path ({path.text or 'empty'})"
    elsewhere = f", but there is {', '.join(item.qualified for item in named)}" if named else ""
    return Resolved(None, Gate("name resolution", "failed", f"there is no {question.kind} {question.name} {where}{elsewhere}"))


def _same(arguments: str | None, given: str) -> bool:
    """Return whether these are the arguments: their types, with or without their modes and names."""
    known, wanted = _arguments(arguments or ""), _arguments(given.rstrip().removesuffix(")"))
    return len(known) == len(wanted) and all(
        one == other or one.endswith(f" {other}") for one, other in zip(known, wanted, strict=True)
    )


def _arguments(text: str) -> list[str]:
    parts = (" ".join(part.split()) for part in split_outside_quotes(text, ","))
    return [" ".join(_TYPES.get(word, word) for word in part.lower().split(" ")) for part in parts if part]


def _named(entity: Entity) -> Gate:
    return Gate("name resolution", "passed", f"{entity.qualified} is the {entity.kind} that is named")


def _privilege(catalog: Catalog, question: Question, entity: Entity) -> Gate:
    how = held(catalog, question.role, entity, question.action)
    if how:
        return Gate("object privilege", "passed", how)
    other = after_set_role(catalog, question.role, entity, question.action)
    after = f" (it would have it after SET ROLE {quoted(other)})" if other else ""
    because = f"{quoted(question.role)} has no {question.action} on {entity.kind} {entity.qualified}{after}"
    return Gate("object privilege", "failed", because, remedies.grant(catalog, question.role, entity, question.action))
