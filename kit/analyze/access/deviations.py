"""Where a database lets roles do more, or less, than a team expects of them (see expected.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from kit.analyze.access.catalog import Catalog, Entity, Grant, Relation
from kit.analyze.access.expected import ACTIONS, PUBLIC, Expectation, Pattern
from kit.analyze.access.holding import held, held_on_columns
from kit.analyze.access.predefined import GIVEN, MAINTAIN_SINCE
from kit.analyze.access.resolution import close_to
from kit.analyze.findings import quoted
from kit.analyze.names import is_system_schema
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames

__all__ = ["COLUMNS", "deviations"]
COLUMNS = (
    Column("entry", "Int64"),
    Column("role_name", "string", data_class="identifier"),
    Column("kind", "string"),
    Column("object_name", "string", data_class="identifier"),
    Column("action", "string"),
    Column("expected", "string"),
    Column("actual", "string"),
    Column("because", "string", data_class="identifier"),
    Column("remedy", "string", data_class="identifier"),
)
_WORDS = {"sequence": "sequence ", "function": "routine ", "schema": "schema ", "database": "database "}
# What these give stays, whatever is revoked.
_PREDEFINED = frozenset(GIVEN)

Actual = Literal["allowed", "denied", "allowed on some columns", "allowed after SET ROLE"]
Row = tuple[Any, ...]


def deviations(frames: Frames, expectations: Iterable[Expectation]) -> pd.DataFrame:
    """Return one row per deviation: what was expected (`allowed`, `denied`, `there`), what is, why, and what mends it.

    `actual` is `allowed`, `denied`, `allowed on some columns`, `allowed after SET ROLE`, `missing` (no such role, or nothing
    that the pattern fits) or `not examined` (functions, where they were not captured). On what stands in a schema, allowed
    means USAGE on the schema and the privilege. What comes with ownership, a superuser or SET ROLE has no remedy.
    """
    demands = _Demands(Catalog(frames))
    for entry in expectations:
        demands.add(entry)
    return build_frame(COLUMNS, [*demands.missing, *demands.deviating()])


@dataclass(frozen=True, slots=True)
class _Demand:
    entry: int
    is_allowed: bool


@dataclass(slots=True)
class _Demands:
    """What all entries together demand of each role and object; a later entry goes before an earlier one."""

    catalog: Catalog
    missing: list[Row] = field(default_factory=list)
    _stated: dict[tuple[str, str, Entity], dict[str, _Demand]] = field(default_factory=lambda: defaultdict(dict))
    _closed: dict[tuple[str, str, Entity], int] = field(default_factory=dict)

    def add(self, entry: Expectation) -> None:
        self.missing += _missing_role(self.catalog, entry)
        candidates = _candidates(self.catalog, entry.kind)
        for pattern in entry.on:
            found = [entity for entity in candidates if _fits(pattern, entity)]
            self.missing += () if found else (_missing_object(self.catalog, entry, pattern, candidates),)
            for entity in found if _is_there(self.catalog, entry.role) else ():
                self._demand(entry, entity)

    def _demand(self, entry: Expectation, entity: Entity) -> None:
        key = entry.role, entry.kind, entity
        self._stated[key] |= {action: _Demand(entry.number, is_allowed=True) for action in entry.may}
        self._stated[key] |= {action: _Demand(entry.number, is_allowed=False) for action in entry.may_not}
        if entry.only:
            self._closed[key] = entry.number

    def deviating(self) -> Iterator[Row]:
        for key in self._stated:
            role, kind, entity = key
            rest = _Demand(self._closed.get(key, 0), is_allowed=False)
            for action in ACTIONS[kind]:
                demand = self._stated[key].get(action, rest)
                if demand.entry:
                    yield from _deviation(self.catalog, role, kind, entity, action, demand)


def _is_there(catalog: Catalog, role: str) -> bool:
    return role == PUBLIC or role in catalog.access.graph.names


def _candidates(catalog: Catalog, kind: str) -> list[Entity]:
    match kind:
        case "schema":
            return list(catalog.schemas.values())
        case "function":
            return list(catalog.functions.values())
        case "database":
            return [Entity("database", row["database_name"], row["owner_name"]) for row in catalog.rows("databases")]
    return [item for item in catalog.relations.values() if (item.kind == "sequence") == (kind == "sequence")]


def _fits(pattern: Pattern, entity: Entity) -> bool:
    """Return whether the pattern means the object; the server's own schemas only where they are named."""
    names = [name for name in (entity.schema, entity.name) if name is not None]
    is_own = entity.kind != "database" and is_system_schema(names[0])
    return pattern.matches(*names) and not (is_own and pattern.is_open)


def _missing_role(catalog: Catalog, entry: Expectation) -> Iterator[Row]:
    if not _is_there(catalog, entry.role):
        because = f"there is no role {quoted(entry.role)}{_did_you_mean(entry.role, catalog.access.graph.names)}"
        yield entry.number, entry.role, "role", quoted(entry.role), None, "there", "missing", because, None


def _missing_object(catalog: Catalog, entry: Expectation, pattern: Pattern, candidates: Sequence[Entity]) -> Row:
    start = entry.number, entry.role, entry.kind, pattern.text, None, "there"
    if entry.kind == "function" and "functions" not in catalog.frames:
        return *start, "not examined", "the functions were not captured", None
    near = _did_you_mean(pattern.text, (item.qualified for item in candidates))
    because = f"database {quoted(catalog.access.database)} has no {entry.kind} that fits{near}"
    return *start, "missing", because, None


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = close_to(name, names)
    return f"; did you mean {near[0]}?" if near else ""


def _deviation(catalog: Catalog, role: str, kind: str, entity: Entity, action: str, demand: _Demand) -> Iterator[Row]:
    actual = _actual(catalog, role, entity, action)
    expected = "allowed" if demand.is_allowed else "denied"
    if actual != expected:
        because = _because(catalog, role, entity, action, actual)
        remedy = (_opening if demand.is_allowed else _closing)(catalog, role, kind, entity, action)
        yield demand.entry, role, kind, entity.qualified, action, expected, actual, because, remedy


def _actual(catalog: Catalog, role: str, entity: Entity, action: str) -> Actual:
    if _reaches(catalog, role, entity):
        if _held(catalog, role, entity, action):
            return "allowed"
        if _columns(catalog, role, entity, action):
            return "allowed on some columns"
    return "allowed after SET ROLE" if _other(catalog, role, entity, action) else "denied"


def _other(catalog: Catalog, role: str, entity: Entity, action: str) -> str | None:
    """Return a role that can do it and to which the role may SET ROLE."""
    others = sorted(catalog.access.settable(role) - {role}) if role != PUBLIC else []
    able = (name for name in others if _reaches(catalog, name, entity))
    return next((name for name in able if _held(catalog, name, entity, action) or _columns(catalog, name, entity, action)), None)


def _reaches(catalog: Catalog, role: str, entity: Entity) -> bool:
    if entity.schema is None:
        return True
    schema = catalog.schemas.get(entity.schema)
    return schema is not None and _held(catalog, role, schema, "USAGE") is not None


def _held(catalog: Catalog, role: str, entity: Entity, action: str) -> str | None:
    """Return how the role holds the privilege on the whole object, in words, or None."""
    if role != PUBLIC:
        return held(catalog, role, entity, action)
    return f"PUBLIC has {action} on {entity.qualified}" if _to_public(catalog.grants(entity), action) else None


def _columns(catalog: Catalog, role: str, entity: Entity, action: str) -> list[str]:
    """Return the columns on which the role holds the privilege by a grant on the column."""
    if not isinstance(entity, Relation):
        return []
    if role != PUBLIC:
        return held_on_columns(catalog, role, entity, action)
    return [name for name, grants in catalog.column_grants(entity).items() if _to_public(grants, action)]


def _to_public(grants: Iterable[Grant], action: str) -> bool:
    return any(grant.grantee is None and action in grant.privileges for grant in grants)


def _because(catalog: Catalog, role: str, entity: Entity, action: str, actual: Actual) -> str:
    name = "PUBLIC" if role == PUBLIC else quoted(role)
    match actual:
        case "allowed":
            return str(_held(catalog, role, entity, action))
        case "allowed on some columns":
            columns = ", ".join(map(quoted, _columns(catalog, role, entity, action)))
            return f"{name} has {action} on {entity.qualified} for {columns} only"
        case "allowed after SET ROLE":
            other = str(_other(catalog, role, entity, action))
            how = _held(catalog, other, entity, action) or f"{quoted(other)} has {action} on some columns"
            return f"{name} may SET ROLE to {quoted(other)}: {how}"
    lacks = [] if _reaches(catalog, role, entity) else [f"USAGE on schema {quoted(str(entity.schema))}"]
    lacks += [] if _held(catalog, role, entity, action) else [f"{action} on {entity.qualified}"]
    return f"{name} has no {' and no '.join(lacks)}"


def _opening(catalog: Catalog, role: str, kind: str, entity: Entity, action: str) -> str | None:
    """Return the grants that are missing; a server before 17 knows no MAINTAIN."""
    if action == "MAINTAIN" and catalog.version < MAINTAIN_SINCE:
        return None
    statements = [] if _reaches(catalog, role, entity) else [f"grant usage on schema {quoted(str(entity.schema))}"]
    if not _held(catalog, role, entity, action):
        statements.append(f"grant {action.lower()} on {_WORDS.get(kind, '')}{entity.qualified}")
    return ";\n".join(f"{statement} to {quoted(role)}" for statement in statements)


def _closing(catalog: Catalog, role: str, kind: str, entity: Entity, action: str) -> str | None:
    """Return the revokes that end it, or None where it stands on more than grants."""
    roles = frozenset[str]() if role == PUBLIC else catalog.access.memberships(role)
    if entity.owner in roles or roles & _PREDEFINED:
        return None
    place = f"on {_WORDS.get(kind, '')}{entity.qualified}"
    statements = (
        _revoke(f"{action.lower()}{column} {place}", entity, g) for column, g in _giving(catalog, roles, entity, action)
    )
    return ";\n".join(dict.fromkeys(statements)) or None


def _giving(catalog: Catalog, roles: frozenset[str], entity: Entity, action: str) -> list[tuple[str, Grant]]:
    """Return the grants that count for these roles and PUBLIC, each with the column that it is on."""
    by_column = catalog.column_grants(entity).items() if isinstance(entity, Relation) else ()
    all_grants = [("", grant) for grant in catalog.grants(entity)]
    all_grants += [(f" ({quoted(column)})", grant) for column, grants in by_column for grant in grants]
    return [
        (column, grant)
        for column, grant in all_grants
        if action in grant.privileges and (grant.grantee is None or grant.grantee in roles)
    ]


def _revoke(what: str, entity: Entity, grant: Grant) -> str:
    """Return the revoke, as the role that granted it: what another role granted is left alone without a word."""
    statement = f"revoke {what} from {quoted(grant.grantee or PUBLIC)}"
    return statement if grant.grantor == entity.owner else f"set role {quoted(grant.grantor)};\n{statement};\nreset role"
