"""What a statement needs: which privileges on which relations, columns, sequences and functions.

By PostgreSQL's own parser, and by its rules of who is asked for what (parse_relation.c: markVarForSelectPriv,
analyze.c; manual: the notes on privileges of SELECT, INSERT, UPDATE, DELETE, MERGE). Known limits: functions behind
operators and casts are not seen, nor what views, triggers and policies need in turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from pglast import parser

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explanation import ObjectKind, Question
from kit.analyze.access.privileges import Access
from kit.analyze.access.resolution import name_parts, resolve
from kit.analyze.findings import quoted
from kit.analyze.placeholders import readable
from kit.analyze.statement.scope import SYSTEM_COLUMNS, WHOLE_ROW, ColumnsOf, Use
from kit.analyze.statement.walk import Call, Walk
from kit.errors import ParameterError
from kit.evidence.model import Frames

# The privilege that each needs, and another that does as well (sequence.c).
_SEQUENCE_FUNCTIONS = {"nextval": ("USAGE", "UPDATE"), "currval": ("USAGE", "SELECT"), "setval": ("UPDATE", None)}


@dataclass(frozen=True, slots=True)
class Need:
    """One privilege that a statement needs, on an object named as the statement names it (exact after folding).

    `columns` are those the action is on: none means that any one suffices, `*` is the whole row (a
    system column such as ctid is no part of it). `read_columns` are
    those that a change also reads, None if it reads none. `doubtful` may belong to this relation or to another.
    `arguments` counts those of a function; `instead` is a privilege that does as well as `action`.
    """

    kind: ObjectKind
    schema: str | None
    name: str
    action: str
    columns: tuple[str, ...] = ()
    read_columns: tuple[str, ...] | None = None
    doubtful: tuple[str, ...] = ()
    arguments: int | None = None
    instead: str | None = None

    @property
    def written(self) -> str:
        """Return the object's name as SQL writes it."""
        return ".".join(quoted(part) for part in (self.schema, self.name) if part is not None)


def needs(statement: str, columns_of: ColumnsOf | None = None) -> tuple[Need, ...]:
    """Return what the statement needs, relations first, each action once.

    `columns_of` tells the columns of a relation where they are known (see `columns_in`): then a column without its
    table finds it, as in the server. Raises ParameterError where the statement cannot be parsed, or neither reads nor
    changes rows.

    >>> [(need.written, need.action, need.columns) for need in needs("select o.id from app.orders as o")]
    [('app.orders', 'SELECT', ('id',))]
    """
    text, _ = readable(statement)
    walk = Walk(columns_of or (lambda schema, name: None))
    try:
        for node in parser.parse_sql(text):
            walk.statement(node)
    except KeyError as error:
        hint = "Known are SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY and CALL."
        raise ParameterError("The statement neither reads nor changes rows.", hint) from error
    except RecursionError as error:
        raise ParameterError("The statement is nested too deeply.", "Give a simpler one.") from error
    return tuple(dict.fromkeys((*_of_relations(walk.uses), *_of_calls(walk.calls))))


def questions(role: str, found: Iterable[Need], functions: Collection[str] = ()) -> list[Question]:
    """Return the questions to ask about a role, in order.

    Functions named without their schema are asked about only if `functions` has their name: others are the server's own.
    """
    asked = [need for need in found if need.kind != "function" or need.schema or need.name in functions]
    return [
        Question(role, need.action, need.written, need.kind, need.columns or None, need.read_columns)
        for need in asked
        if need.schema != "pg_catalog" or need.name in functions
    ]


def asked_of(statement: str, role: str, frames: Frames, access: Access | None = None) -> list[Question]:
    """Return every question that the statement raises for the role in this database."""
    known = access or Access(frames)
    found = [_as_held(need, role, frames, known) for need in needs(statement, columns_in(frames, role, known))]
    return questions(role, found, set(frames["functions"]["function_name"]) if "functions" in frames else ())


def _as_held(need: Need, role: str, frames: Frames, access: Access) -> Need:
    """Return the need by the privilege that the role has, where either of two will do."""
    if need.instead is None or role not in access.graph.names:
        return need
    place = resolve(Catalog(frames, access), role, need.written).relation
    held = () if place is None else _privileges(access, role, str(place.schema), place.name)
    return replace(need, action=need.instead) if need.instead in held and need.action not in held else need


def _privileges(access: Access, role: str, schema: str, relation: str) -> tuple[str, ...]:
    return tuple(name for name in ("USAGE", "UPDATE", "SELECT") if access.has_relation_privilege(role, schema, relation, name))


def columns_in(frames: Frames, role: str | None = None, access: Access | None = None) -> ColumnsOf:
    """Return the way to the columns of a relation, by the role's search_path where no schema is written."""
    if "columns" not in frames:
        return lambda schema, name: None
    by_name = _by_name(frames["columns"])
    known = access or (Access(frames) if role else None)
    path = _path(known, role) if known and role else []

    def columns(schema: str | None, name: str) -> Sequence[str] | None:
        places = by_name.get(name, {})
        if schema is not None:
            return places.get(schema)
        reached = [place for place in path if place in places]
        # What is off the path is still what is meant, if it is the only one of that name.
        chosen = reached[:1] or (list(places) if len(places) == 1 else [])
        return places[chosen[0]] if chosen else None

    return columns


def _path(access: Access, role: str) -> list[str]:
    try:
        return access.visible_schemas(role)
    except KeyError:
        return []


def _by_name(frame: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    ordered = frame.sort_values("position", kind="stable")
    rows = zip(ordered["relation_name"], ordered["schema_name"], ordered["column_name"], strict=True)
    for relation, schema, column in rows:
        found[relation][schema].append(column)
    return found


def _of_relations(uses: Iterable[Use]) -> Iterator[Need]:
    """Yield the needs of every relation: reads of one that is only read are put together."""
    read: dict[tuple[str | None, str], Use] = {}
    changed: list[Use] = []
    for use in uses:
        if use.changes:
            changed.append(use)
            continue
        whole = read.setdefault((use.schema, use.name), Use(use.schema, use.name))
        whole.reads |= use.reads
        whole.doubtful |= use.doubtful
        whole.is_locked |= use.is_locked
    for use in changed:
        yield from (_need(use, action, columns, use.reads) for action, columns in use.changes.items())
    for use in read.values():
        yield _need(use, "SELECT", use.reads)
        if use.is_locked:
            yield _need(use, "UPDATE", set(), use.reads)


def _need(use: Use, action: str, columns: set[str], reads: set[str] | None = None) -> Need:
    read_columns = _listed(reads) if reads else None
    doubtful = tuple(sorted(use.doubtful - use.reads))
    return Need("relation", use.schema, use.name, action, _listed(columns), read_columns, doubtful)


def _listed(columns: set[str]) -> tuple[str, ...]:
    # The whole row is that of the user's columns.
    return (WHOLE_ROW, *sorted(columns & SYSTEM_COLUMNS)) if WHOLE_ROW in columns else tuple(sorted(columns))


def _of_calls(calls: Iterable[Call]) -> Iterator[Need]:
    for call in calls:
        if call.name in _SEQUENCE_FUNCTIONS and call.schema in (None, "pg_catalog"):
            yield from _of_sequence(call)
        else:
            yield Need("function", call.schema, call.name, "EXECUTE", arguments=call.arguments)


def _of_sequence(call: Call) -> Iterator[Need]:
    """Yield the need of the sequence whose name stands in the call as a literal."""
    try:
        schema, name = name_parts(call.literal or "")
    except ParameterError:
        return
    action, instead = _SEQUENCE_FUNCTIONS[call.name]
    yield Need("relation", schema, name, action, instead=instead)
