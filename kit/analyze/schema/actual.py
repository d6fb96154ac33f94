"""The schema that is there, as frames have it: by name for a comparison, or as what another target is expected to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kit.analyze.names import is_system_schema
from kit.analyze.schema.expected import ExpectedColumn, ExpectedExtension, ExpectedIndex, ExpectedRelation, ExpectedSchema
from kit.analyze.schema.types import spelling
from kit.evidence.model import Frames
from kit.evidence.records import records

# What a comparison reads; `indexes` only where an index is expected, for each is opened to be measured.
NEEDS = ("relations", "columns", "extensions")
_TABLES = ("table", "partitioned table", "foreign table")

Record = dict[str, Any]


class Actual:
    """Relations, columns, indexes and extensions of one database, indexed when first asked for."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    @cached_property
    def relations(self) -> Mapping[tuple[str, str], Record]:
        """Return the relations by schema and name."""
        return {(row["schema_name"], row["relation_name"]): row for row in records(self.frames["relations"])}

    @cached_property
    def by_name(self) -> Mapping[str, Sequence[Record]]:
        """Return the relations by name alone, whatever their letters' case."""
        return _grouped(self.relations.values(), lambda row: row["relation_name"].lower())

    @cached_property
    def columns(self) -> Mapping[str, Mapping[str, Record]]:
        """Return the columns by the OID of their relation and by name."""
        rows = _grouped(records(self.frames["columns"]), lambda row: row["relation_oid"])
        return {oid: {row["column_name"]: row for row in mine} for oid, mine in rows.items()}

    @cached_property
    def indexes(self) -> Mapping[str, Sequence[Record]]:
        """Return the indexes by the OID of their table."""
        return _grouped(records(self.frames["indexes"]), lambda row: row["table_oid"])

    @cached_property
    def extensions(self) -> Mapping[str, Record]:
        """Return the extensions by name."""
        return {row["extension_name"]: row for row in records(self.frames["extensions"])}


def family(kind: str) -> str:
    """Return a relation's kind as far as a statement minds it: partitioned and foreign tables are tables to it."""
    return "table" if kind in _TABLES else kind


def is_default(row: Record) -> bool:
    """Return whether a column takes a value of its own where an INSERT names none."""
    return bool(row["has_default"] or row["identity"] or row["generated"])


def expected_of(frames: Frames, origin: str) -> ExpectedSchema:
    """Return what another target must have to be like this one; partitions and what extensions made are left out."""
    actual = Actual(frames)
    made = set(frames["extension_relations"]["relation_oid"]) if "extension_relations" in frames else set()
    relations = [_relation(actual, row) for row in actual.relations.values() if row["relation_oid"] not in made and _counts(row)]
    extensions = tuple(ExpectedExtension(name) for name in actual.extensions)
    return ExpectedSchema(origin, tuple(relations), extensions, tuple(_gaps(frames)))


def _counts(row: Record) -> bool:
    is_own = not row["is_partition"] and row["persistence"] != "temporary" and row["kind"] != "sequence"
    return is_own and not is_system_schema(row["schema_name"])


def _gaps(frames: Frames) -> Iterator[str]:
    for name in (*NEEDS, "indexes"):
        if name in frames and frames.is_truncated(name):
            yield f"{name}: there was more than was kept"


def _relation(actual: Actual, row: Record) -> ExpectedRelation:
    oid = row["relation_oid"]
    columns = tuple(_column(column) for column in actual.columns.get(oid, {}).values())
    indexes = tuple(_index(index) for index in actual.indexes.get(oid, ())) if "indexes" in actual.frames else ()
    kind = family(row["kind"])
    return ExpectedRelation(row["schema_name"], row["relation_name"], kind, columns, indexes, is_whole=kind == "table")


def _column(row: Record) -> ExpectedColumn:
    return ExpectedColumn(
        row["column_name"], spelling(row["type_name"]), row["is_not_null"], is_default(row), row["generated"] is not None
    )


def _index(row: Record) -> ExpectedIndex:
    columns = tuple(row["column_names"] or ())
    return ExpectedIndex(columns, row["is_unique"], row["access_method"], row["is_partial"], row["index_name"])


def _grouped(rows: Any, key: Any) -> dict[str, list[Record]]:
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)
