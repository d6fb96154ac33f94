"""An expected schema as a frame, so that a capture keeps what it is held against, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kit.analyze.schema.expected import ExpectedColumn, ExpectedExtension, ExpectedIndex, ExpectedRelation, ExpectedSchema
from kit.analyze.schema.types import Spelling
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Frames, provenance
from kit.evidence.records import records

NAME = "expected_schema"
COLUMNS = (
    Column("item", "string", "relation, column, index, extension or unread"),
    Column("origin", "string", "the file that says so", "identifier"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
    Column("name", "string", data_class="identifier"),
    Column("kind", "string", "of a relation; the method of an index; the oldest version of an extension"),
    Column("type_name", "string", data_class="identifier"),
    Column("type_schema", "string", data_class="identifier"),
    Column("column_names", "list[string]", "of an index; empty for an expression", "identifier"),
    Column("is_serial", "boolean"),
    Column("is_not_null", "boolean"),
    Column("fills_itself", "boolean"),
    Column("is_generated", "boolean"),
    Column("is_unique", "boolean"),
    Column("is_partial", "boolean"),
    Column("is_whole", "boolean"),
)
Row = Mapping[str, Any]


def expected_evidence(expected: ExpectedSchema, at: datetime) -> Evidence:
    """Return what is expected as evidence; what a service does with a table is left out, as no check here reads it."""
    told = ({**row, "origin": expected.origin} for row in _rows(expected))
    rows = [tuple(row.get(column.name) for column in COLUMNS) for row in told]
    about = provenance(
        "Expected schema", "one row per relation, column, index and extension", expected.origin, at, 0.0, len(rows)
    )
    return Evidence(build_frame(COLUMNS, rows), COLUMNS, about)


def expected_in(frames: Frames) -> ExpectedSchema:
    """Return what the frame `expected_schema` says is expected."""
    rows = records(frames[NAME])
    members: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
    for row in rows:
        members[row["schema_name"], row["relation_name"]].append(row)
    relations = tuple(_relation(row, members[row["schema_name"], row["relation_name"]]) for row in _of(rows, "relation"))
    extensions = tuple(ExpectedExtension(row["name"], row["kind"]) for row in _of(rows, "extension"))
    unread = tuple(row["name"] for row in _of(rows, "unread"))
    origin = rows[0]["origin"] if rows else ""
    return ExpectedSchema(origin, relations, extensions, unread)


def _rows(expected: ExpectedSchema) -> Iterator[Row]:
    for relation in expected.relations:
        place = {"schema_name": relation.schema, "relation_name": relation.name}
        yield {**place, "item": "relation", "kind": relation.kind, "is_whole": relation.is_whole}
        yield from ({**place, **_column_row(column)} for column in relation.columns)
        yield from ({**place, **_index_row(index)} for index in relation.indexes)
    for extension in expected.extensions:
        yield {"item": "extension", "name": extension.name, "kind": extension.since}
    for words in expected.unread:
        yield {"item": "unread", "name": words}


def _column_row(column: ExpectedColumn) -> Row:
    typed = {} if column.type is None else {"type_name": column.type.text, "type_schema": column.type.schema}
    flags = {"is_not_null": column.is_not_null, "fills_itself": column.fills_itself, "is_generated": column.is_generated}
    return {"item": "column", "name": column.name, **typed, "is_serial": bool(column.type and column.type.is_serial), **flags}


def _index_row(index: ExpectedIndex) -> Row:
    flags = {"is_unique": index.is_unique, "is_partial": index.is_partial}
    return {"item": "index", "name": index.name, "kind": index.method, "column_names": list(index.columns), **flags}


def _of(rows: Sequence[Row], item: str) -> Iterator[Row]:
    return (row for row in rows if row["item"] == item)


def _relation(row: Row, members: Sequence[Row]) -> ExpectedRelation:
    columns = tuple(_column(member) for member in _of(members, "column"))
    indexes = tuple(_index(member) for member in _of(members, "index"))
    whole = bool(row["is_whole"])
    return ExpectedRelation(row["schema_name"], row["relation_name"], row["kind"], columns, indexes, is_whole=whole)


def _column(row: Row) -> ExpectedColumn:
    text = row["type_name"]
    typed = None if text is None else Spelling(text, row["type_schema"], bool(row["is_serial"]))
    return ExpectedColumn(row["name"], typed, row["is_not_null"], bool(row["fills_itself"]), bool(row["is_generated"]))


def _index(row: Row) -> ExpectedIndex:
    columns = tuple(row["column_names"] or ())
    return ExpectedIndex(columns, bool(row["is_unique"]), row["kind"], bool(row["is_partial"]), row["name"])
