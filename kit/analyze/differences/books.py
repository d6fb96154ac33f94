"""One side's rows, ready to be compared: by names instead of numbers, each with what it hangs on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from kit.analyze.differences.settings import shown_setting
from kit.analyze.differences.topics import HERE, Topic
from kit.analyze.findings import quoted
from kit.evidence.model import Frames
from kit.evidence.records import records

Record = dict[str, Any]
Key = tuple[Any, ...]
Parent = tuple[str, ...]
THE_INSTANCE = "(the instance)"
_NUMBER = re.compile(r"\d")
_UNITED = ("privileges", "grantable", "column_names", "read_columns", "events")
_ROLES = ("role_name", "member_name", "grantee_name", "creator_name")


class Book:
    """The frames of one side, read as records once; `only_instance` says that both sides have but one instance."""

    def __init__(self, frames: Frames, *, only_instance: bool = False) -> None:
        self.frames = frames
        self._only_instance = only_instance
        self._prepared: dict[str, list[Record]] = {}

    def gap(self, topic: Topic) -> str | None:
        """Return why the evidence of this topic is not there; None where it is."""
        if topic.frame in self.frames:
            return None
        gap = self.frames.gaps.get(topic.frame)
        return gap.reason if gap else "not captured"

    def is_partial(self, topic: Topic) -> bool:
        """Return whether rows may be missing: what only the other side has may be here too."""
        return self.frames.is_truncated(topic.frame) or topic.hidden_by in self.frames.gaps

    def rows(self, topic: Topic) -> dict[Key, Record]:
        """Return the rows of a topic by their key; rows of the same key are united."""
        found: dict[Key, Record] = {}
        for row in self.records(topic.frame):
            key = tuple(row[column] for column in topic.key)
            found[key] = _united(found[key], row) if key in found else row
        return found

    def records(self, frame: str) -> list[Record]:
        """Return a frame's records with the columns that stand for numbers and for what differs between any two places."""
        if frame not in self._prepared:
            rows = records(self.frames[frame]) if frame in self.frames else []
            prepare = _PREPARED.get(frame)
            self._prepared[frame] = list(prepare(self, rows)) if prepare else rows
        return self._prepared[frame]

    @cached_property
    def database(self) -> str | None:
        """Return the name of the database that was captured."""
        return self.frames.identity.database if self.frames.identity else None

    @cached_property
    def extension_relations(self) -> frozenset[str]:
        """Return the OIDs of the relations that extensions have made."""
        rows = self.records("extension_relations")
        return frozenset(row["relation_oid"] for row in rows)

    @cached_property
    def sequence_owners(self) -> Mapping[Parent, list[Parent]]:
        """Return, by sequence, the relations whose columns it feeds."""
        found: dict[Parent, list[Parent]] = {}
        for row in self.records("sequence_uses"):
            sequence = ("relation", row["sequence_schema_name"], row["sequence_name"])
            found.setdefault(sequence, []).append(("column", row["schema_name"], row["relation_name"], row["column_name"]))
        return found

    @cached_property
    def owners(self) -> Mapping[Parent, str]:
        """Return the owners of objects, each under its kind and names."""
        return {
            (kind, *(str(row[column]) for column in columns)): str(row["owner_name"])
            for frame, (kind, *columns) in _OWNED.items()
            for row in self.records(frame)
        }

    @cached_property
    def functions(self) -> Mapping[str, Record]:
        """Return the functions by OID."""
        return {row["function_oid"]: row for row in self.records("functions")}

    def here(self, rows: Iterable[Record]) -> Iterator[Record]:
        """Yield the rows with the captured database under one name on every side."""
        for row in rows:
            yield row | {"database_name": HERE} if row["database_name"] == self.database else row

    def instance(self, rows: Iterable[Record]) -> Iterator[Record]:
        """Yield the rows with the only instance under one name on both sides."""
        names = {name: THE_INSTANCE for name in ("connection_name", "instance_name") if self._only_instance}
        for row in rows:
            yield row | {name: value for name, value in names.items() if name in row}


def parents(topic: Topic, row: Mapping[str, Any], book: Book) -> list[Parent]:
    """Return what the thing hangs on: where that is missing, so is this."""
    found: list[Parent] = [("role", row[column]) for column in _ROLES if column in topic.key and row[column] is not None]
    relation = relation_of(topic, row)
    if row.get("schema_name") is not None:
        found.append(("schema", row["schema_name"]))
    if relation:
        found.append(("relation", *relation))
        columns = [row["column_name"]] if "column_name" in topic.key else row.get("column_names") or ()
        found += [("column", *relation, name) for name in columns]
    if row.get("function_name") is not None:
        found.append(("function", row.get("function_schema_name") or row["schema_name"], row["function_name"]))
    if topic.kind == "relation":
        found += book.sequence_owners.get(("relation", row["schema_name"], row["relation_name"]), [])
    if "view_name" in topic.key:
        found.append(("relation", row["view_schema"], row["view_name"]))
    own = itself(topic, row)
    return [parent for parent in found if parent != own]


def itself(topic: Topic, row: Mapping[str, Any]) -> Parent | None:
    """Return the name under which other things hang on this one."""
    columns = _THEMSELVES.get(topic.kind)
    return (topic.kind, *(row[column] for column in columns)) if columns else None


def relation_of(topic: Topic, row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the schema and name of the relation that a row is about."""
    name = next((column for column in ("relation_name", "table_name") if column in topic.key), None)
    return (row["schema_name"], row[name]) if name and row[name] is not None else None


_OWNED = {
    "databases": ("database", "database_name"),
    "schemas": ("schema", "schema_name"),
    "relations": ("relation", "schema_name", "relation_name"),
    "functions": ("function", "schema_name", "function_name", "arguments"),
    "types": ("type", "schema_name", "type_name"),
}
_THEMSELVES = {
    "role": ("role_name",),
    "schema": ("schema_name",),
    "relation": ("schema_name", "relation_name"),
    "column": ("schema_name", "relation_name", "column_name"),
    "function": ("schema_name", "function_name"),
}


def _united(one: Record, other: Record) -> Record:
    lists = {name: [*(one[name] or ()), *(other[name] or ())] for name in _UNITED if isinstance(one.get(name), list)}
    flags = {name: one[name] or other[name] for name in ("inherits", "can_set", "has_admin_option") if name in one}
    return one | {name: list(dict.fromkeys(values)) for name, values in lists.items()} | flags


def _settings(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    return (row | {"shown": shown_setting(row)} for row in rows)


def _databases(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    for row in book.here(rows):
        versions = row["collation_version"], row["actual_collation_version"]
        yield row | {"has_moved_collation": None not in versions and versions[0] != versions[1]}


def _of_relations(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    return (row | {"is_of_extension": row["relation_oid"] in book.extension_relations} for row in rows)


def _relations(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    for row in _of_relations(book, rows):
        yield row | {"view_options": row["options"] if row["kind"] == "view" else None}


def _function_grants(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    for row in rows:
        of = book.functions.get(row["function_oid"], {})
        yield row | {"arguments": of.get("arguments"), "is_of_extension": of.get("extension_name") is not None}


def _function_uses(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    for row in rows:
        yield row | {"calls": f"{quoted(row['function_schema_name'])}.{quoted(row['function_name'])}"}


def _relation_uses(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    """Yield what views read; a policy's expression is compared as a text."""
    schemas = {row["relation_oid"]: row["schema_name"] for row in book.records("relations")}
    for row in rows:
        if row["user_kind"] == "view" and row["user_oid"] in schemas:
            yield row | {"view_schema": schemas[row["user_oid"]], "view_name": row["user_name"]}


def _migrations(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    return (row | {"is_rolled_back": row.get("rolled_back_at") is not None} for row in rows)


def _commands(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    """Yield the answers, but for those about secrets that a service wants: their state is compared with the service."""
    wanted = {row["secret_name"] for row in book.records("secret_references")}
    for row in rows:
        if (row["resource_name"] or "").rpartition("/")[2] not in wanted:
            yield row | {"answer": row["code"] or "answered"}


def _probes(book: Book, rows: Iterable[Record]) -> Iterator[Record]:
    """Yield the answers with those fields of the body that are words: an uptime is another each time."""
    for row in rows:
        fields = [field for field in row.get("body_fields") or () if not _NUMBER.search(field.partition(": ")[2])]
        yield {"died_at": None, "http_status": None, "error_code": None} | row | {"body_words": fields}


_PREPARED: Mapping[str, Callable[[Book, Iterable[Record]], Iterable[Record]]] = {
    "settings": _settings,
    "databases": _databases,
    "database_grants": Book.here,
    "role_settings": Book.here,
    "relations": _relations,
    "columns": _of_relations,
    "relation_grants": _of_relations,
    "column_grants": _of_relations,
    "relation_sizes": _of_relations,
    "function_grants": _function_grants,
    "function_uses": _function_uses,
    "relation_uses": _relation_uses,
    "migrations": _migrations,
    "cloud_commands": _commands,
    "service_probes": _probes,
    "sql_instances": Book.instance,
    "sql_flags": Book.instance,
    "sql_users": Book.instance,
}
