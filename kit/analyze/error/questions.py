"""The questions of access that an error raises: by its statement where one stands there, else by what it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from kit.analyze.access.explanation import Question
from kit.analyze.access.privileges import Access
from kit.analyze.access.resolution import name_parts
from kit.analyze.error.text import ErrorReading
from kit.analyze.findings import quoted
from kit.analyze.statement.access import asked_of
from kit.errors import ParameterError
from kit.evidence.model import Frames

# These need CREATE on a schema or database, or ownership.
_DEFINITION = re.compile(r"\s*(?:create|alter|drop|comment)\b", re.IGNORECASE)


def questions_of(
    reading: ErrorReading,
    frames: Frames,
    role: str | None = None,
    statement: str | None = None,
    access: Access | None = None,
) -> list[Question]:
    """Return what to ask about the role, the object that the error names first.

    The role is the one given, else that of the log line, else the one the message names; ParameterError where there is
    none. A statement that is given must be readable; one from the error that is not (a line cut short) is passed over.
    Without a statement the action is a guess: SELECT on a relation, INSERT where a new row was refused.
    """
    asker = role or reading.session.role or reading.role
    if asker is None:
        raise ParameterError("The error names no role.", "Name the role the application connects as.")
    written = statement or reading.statement or ""
    here = frames.identity.database if frames.identity else ""
    named = list(_named(reading, asker, here, is_definition=bool(_DEFINITION.match(written))))
    if _DEFINITION.match(written):
        return named
    asked = asked_of(statement, asker, frames, access) if statement else _from_its_own(reading, asker, frames, access)
    if not asked:
        return [_past_its_schema(question, reading, frames) for question in named]
    objects = {name_parts(question.name)[1] for question in named if question.kind in ("relation", "function")}
    about = [(schema == reading.schema) if reading.object_kind == "schema" else name in objects for schema, name in _parts(asked)]
    # A relation's own chain has the gate of its schema.
    missed = [question for question in named if question.kind == "schema" and not any(about)]
    asked = [question for _, question in sorted(zip(about, asked, strict=True), key=lambda pair: not pair[0])]
    return [*missed, *asked]


def _past_its_schema(question: Question, reading: ErrorReading, frames: Frames) -> Question:
    """Return the question about the one relation that is meant: the server says "denied" only after it found it."""
    if reading.trouble != "denied" or question.kind != "relation" or reading.schema is not None:
        return question
    relations = frames["relations"]
    found = sorted(relations.loc[relations["relation_name"] == name_parts(question.name)[1], "schema_name"])
    return replace(question, name=f"{quoted(found[0])}.{question.name}") if len(found) == 1 else question


def _parts(questions: list[Question]) -> list[tuple[str | None, str]]:
    return [name_parts(question.name) for question in questions]


def _from_its_own(reading: ErrorReading, role: str, frames: Frames, access: Access | None) -> list[Question]:
    if reading.statement is None:
        return []
    try:
        return asked_of(reading.statement, role, frames, access)
    except ParameterError:
        return []


def _named(reading: ErrorReading, role: str, here: str, *, is_definition: bool) -> Iterator[Question]:
    if reading.trouble == "not owner":
        return  # no privilege would help, and so no question of access does
    if reading.relation is not None:
        action = "INSERT" if reading.trouble == "row security" else "SELECT"
        columns = (reading.column,) if reading.column is not None else None
        yield Question(role, action, _written(reading.schema, reading.relation), columns=columns)
    elif reading.sequence is not None:
        yield Question(role, "USAGE", _written(reading.schema, reading.sequence))
    elif reading.function is not None:
        yield Question(role, "EXECUTE", _written(reading.schema, reading.function), "function")
    elif reading.schema is not None:
        yield Question(role, "CREATE" if is_definition else "USAGE", quoted(reading.schema), "schema")
    elif reading.trouble == "refused login" or (
        reading.database is not None and reading.trouble in ("denied", "missing database")
    ):
        database = reading.database or reading.session.database or here
        yield Question(role, "CREATE" if is_definition else "CONNECT", quoted(database), "database")


def _written(schema: str | None, name: str) -> str:
    return ".".join(quoted(part) for part in (schema, name) if part is not None)
