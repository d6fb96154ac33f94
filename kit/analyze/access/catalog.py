"""The objects of one database by name and by OID, with their grants: what an explanation looks up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import pandas as pd

from kit.analyze.access.predefined import MAINTAIN_SINCE
from kit.analyze.access.privileges import Access
from kit.analyze.findings import quoted
from kit.evidence.model import Frames
from kit.evidence.records import records

# Without these frames an explanation knows less, and says so.
WANTED = (
    "columns", "column_grants", "functions", "function_grants", "types", "type_grants", "policies", "view_changes",
    "relation_uses", "function_uses", "sequence_uses", "function_mentions", "sessions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grant:
    """What one role granted to another; grantee None is PUBLIC."""

    grantor: str
    grantee: str | None
    privileges: frozenset[str]
    grantable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entity:
    """An object with an owner and an access list."""

    kind: str
    name: str
    owner: str
    schema: str | None = None
    oid: str = ""
    arguments: str | None = None

    @property
    def qualified(self) -> str:
        """Return the name as SQL writes it."""
        return _written(self.schema, self.name, self.arguments)


@dataclass(frozen=True, slots=True)
class Relation(Entity):
    """A table, view, sequence or the like."""

    has_row_security: bool = False
    forces_row_security: bool = False
    is_security_invoker: bool = False
    has_default_acl: bool = True
    is_temporary: bool = False
    has_check_option: bool = False
    cascades_check: bool = False


class Catalog:
    """The frames of one database, indexed when first asked for."""

    def __init__(self, frames: Frames, access: Access | None = None) -> None:
        self.frames = frames
        self.access = access or Access(frames)
        self.version = frames.identity.server_version if frames.identity else 0
        # What was found out about a role already: the same is asked again and again.
        self.known: dict[tuple[Any, ...], Any] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._indexed: dict[tuple[str, tuple[str, ...]], Mapping[tuple[Any, ...], list[dict[str, Any]]]] = {}

    @cached_property
    def relations(self) -> Mapping[str, Relation]:
        """Return the relations by their OIDs."""
        return {row["relation_oid"]: _relation(row) for row in self.rows("relations")}

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Relation]:
        """Return the relations by schema and name."""
        return {(str(item.schema), item.name): item for item in self.relations.values()}

    @cached_property
    def schemas(self) -> Mapping[str, Entity]:
        """Return the schemas by name."""
        rows = self.rows("schemas")
        return {row["schema_name"]: Entity("schema", row["schema_name"], row["owner_name"]) for row in rows}

    @cached_property
    def functions(self) -> Mapping[str, Entity]:
        """Return the functions by their OIDs; none where they were not captured."""
        rows = self.rows("functions")
        return {row["function_oid"]: _callable(row) for row in rows}

    @cached_property
    def types(self) -> Mapping[str, Entity]:
        """Return the types by their OIDs; none where they were not captured."""
        return {
            row["type_oid"]: Entity("type", row["type_name"], row["owner_name"], row["schema_name"], row["type_oid"])
            for row in self.rows("types")
        }

    def grants(self, entity: Entity) -> list[Grant]:
        """Return the access list of an object; the built-in one where it has none of its own."""
        if isinstance(entity, Relation):
            return self._owners(entity) if entity.has_default_acl else self._relation_grants.get(entity.oid, [])
        match entity.kind:
            case "schema":
                return self._schema_grants.get(entity.name, [])
            case "database":
                return self._database_grants.get(entity.name, [])
            case "type":
                return self._default_or(entity, "types", "type", "USAGE")
        return self._default_or(entity, "functions", "function", "EXECUTE")

    def column_grants(self, relation: Relation) -> Mapping[str, list[Grant]]:
        """Return the access lists of single columns, by column."""
        return self._column_grants.get(relation.oid, {})

    @cached_property
    def columns(self) -> Mapping[str, list[str]]:
        """Return the columns' names by the OID of their relation, in order."""
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.rows("columns"):
            found[row["relation_oid"]].append(row["column_name"])
        return found

    @cached_property
    def updatable(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is known of views that take changes, by their OIDs."""
        return {row["relation_oid"]: row for row in self.rows("view_changes")}

    def indexed(self, frame: str, *keys: str) -> Mapping[tuple[Any, ...], list[dict[str, Any]]]:
        """Return the records of a frame by the values of these columns."""
        if (frame, keys) not in self._indexed:
            found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
            for row in self.rows(frame):
                found.setdefault(tuple(row[key] for key in keys), []).append(row)
            self._indexed[frame, keys] = found
        return self._indexed[frame, keys]

    def rows(self, frame: str) -> list[dict[str, Any]]:
        """Return a frame's records; none where it was not captured."""
        if frame not in self._rows:
            self._rows[frame] = records(self.frames[frame]) if frame in self.frames else []
        return self._rows[frame]

    @cached_property
    def _relation_grants(self) -> Mapping[str, list[Grant]]:
        return _grants(self.frames["relation_grants"], "relation_oid")

    @cached_property
    def _schema_grants(self) -> Mapping[str, list[Grant]]:
        return _grants(self.frames["schema_grants"], "schema_name")

    @cached_property
    def _database_grants(self) -> Mapping[str, list[Grant]]:
        return _grants(self.frames["database_grants"], "database_name")

    @cached_property
    def _column_grants(self) -> Mapping[str, Mapping[str, list[Grant]]]:
        found: dict[str, dict[str, list[Grant]]] = defaultdict(lambda: defaultdict(list))
        for row in self.rows("column_grants"):
            found[row["relation_oid"]][row["column_name"]].append(_grant(row))
        return found

    def _owners(self, relation: Relation) -> list[Grant]:
        table = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
        table |= {"MAINTAIN"} if self.version >= MAINTAIN_SINCE else set()
        held = {"SELECT", "UPDATE", "USAGE"} if relation.kind == "sequence" else table
        return [Grant(relation.owner, relation.owner, frozenset(held))]

    def _default_or(self, entity: Entity, frame: str, word: str, privilege: str) -> list[Grant]:
        own = self.indexed(frame, f"{word}_oid")[(entity.oid,)][0]
        if own["has_default_acl"]:
            held = frozenset({privilege})
            return [Grant(entity.owner, entity.owner, held), Grant(entity.owner, None, held)]
        return [_grant(row) for row in self.indexed(f"{word}_grants", f"{word}_oid").get((entity.oid,), [])]


@lru_cache(maxsize=100_000)
def _written(schema: str | None, name: str, arguments: str | None) -> str:
    full = ".".join(quoted(part) for part in (schema, name) if part is not None)
    return full if arguments is None else f"{full}({arguments})"


def _relation(row: Mapping[str, Any]) -> Relation:
    return Relation(
        kind=row["kind"],
        name=row["relation_name"],
        owner=row["owner_name"],
        schema=row["schema_name"],
        oid=row["relation_oid"],
        has_row_security=bool(row["has_row_security"]),
        forces_row_security=bool(row["forces_row_security"]),
        is_security_invoker=bool(row["is_security_invoker"]),
        has_default_acl=bool(row["has_default_acl"]),
        is_temporary=row["persistence"] == "temporary",
        has_check_option=any(option.startswith("check_option=") for option in row["options"]),
        cascades_check="check_option=cascaded" in row["options"],
    )


def _callable(row: Mapping[str, Any]) -> Entity:
    names = (row["kind"], row["function_name"], row["owner_name"], row["schema_name"])
    return Entity(*names, oid=row["function_oid"], arguments=row["arguments"])


def _grants(frame: pd.DataFrame, key: str) -> Mapping[str, list[Grant]]:
    found: dict[str, list[Grant]] = defaultdict(list)
    for row in records(frame):
        found[row[key]].append(_grant(row))
    return found


def _grant(row: Mapping[str, Any]) -> Grant:
    return Grant(row["grantor_name"], row["grantee_name"], frozenset(row["privileges"]), frozenset(row.get("grantable") or ()))
