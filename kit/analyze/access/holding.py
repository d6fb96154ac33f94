"""How a role comes to hold a privilege: which grant, through which membership, or which built-in rule.

PostgreSQL manual, 5.8 "Privileges", 21.3 "Role Membership" and 21.5 "Predefined Roles"; in the source `aclmask`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kit.analyze.access.catalog import Catalog, Entity, Grant, Relation
from kit.analyze.access.predefined import GIVEN
from kit.analyze.findings import quoted

COLUMN_PRIVILEGES = frozenset({"SELECT", "INSERT", "UPDATE", "REFERENCES"})
WHOLE_ROW = "*"


@dataclass(frozen=True, slots=True)
class Lack:
    """What a role lacks on a relation: the whole privilege (no columns), or that on some columns."""

    role: str
    relation: Relation
    privilege: str
    columns: tuple[str, ...] = ()


def held(catalog: Catalog, role: str, entity: Entity, privilege: str) -> str | None:
    """Return how the role holds the privilege on the whole object, in words, or None where it does not."""
    key = (role, privilege, entity.kind, entity.oid or entity.name)
    if key not in catalog.known:
        catalog.known[key] = _held(catalog, role, entity, privilege)
    how: str | None = catalog.known[key]
    return how


def _held(catalog: Catalog, role: str, entity: Entity, privilege: str) -> str | None:
    graph = catalog.access.graph
    if role in graph.superusers:
        return f"{quoted(role)} is a superuser"
    roles = graph.privileges_of(role)
    kind = "relation" if isinstance(entity, Relation) else entity.kind
    for name in sorted(GIVEN.keys() & roles):
        if privilege in GIVEN[name].get(kind, ()):
            return f"{name} gives {privilege} on every {kind}{_through(catalog, role, name)}"
    grant = _nearest(catalog, role, _giving(catalog.grants(entity), privilege))
    return None if grant is None else _told(catalog, role, entity, grant, privilege)


def held_on_columns(catalog: Catalog, role: str, relation: Relation, privilege: str) -> list[str]:
    """Return the columns on which the role holds the privilege by a grant on the column."""
    if privilege not in COLUMN_PRIVILEGES or not catalog.column_grants(relation):
        return []
    granted = catalog.column_grants(relation).items()
    return [column for column, grants in granted if _nearest(catalog, role, _giving(grants, privilege))]


def lacked(catalog: Catalog, role: str, relation: Relation, privilege: str, columns: tuple[str, ...] | None) -> Lack | None:
    """Return what the role lacks to use these columns, or None; without columns, a single one suffices."""
    if held(catalog, role, relation, privilege):
        return None
    have = held_on_columns(catalog, role, relation, privilege)
    if not columns:
        return None if have else Lack(role, relation, privilege)
    wanted = catalog.columns.get(relation.oid, []) if WHOLE_ROW in columns else columns
    missing = tuple(column for column in wanted if column not in have)
    return Lack(role, relation, privilege, missing) if missing or not wanted else None


def after_set_role(catalog: Catalog, role: str, entity: Entity, privilege: str) -> str | None:
    """Return the role that `role` would have to SET ROLE to in order to hold the privilege, the nearest first."""
    key = ("after set role", role)
    if key not in catalog.known:
        # Itself comes first.
        catalog.known[key] = catalog.access.graph.nearest(role, by_set_role=True)[1:]
    others: tuple[str, ...] = catalog.known[key]
    return next((name for name in others if held(catalog, name, entity, privilege)), None)


def _giving(grants: Iterable[Grant], privilege: str) -> Iterator[Grant]:
    return (grant for grant in grants if privilege in grant.privileges)


def _nearest(catalog: Catalog, role: str, grants: Iterable[Grant]) -> Grant | None:
    """Return the grant with the shortest way to the role; PUBLIC's last."""
    roles = catalog.access.graph.privileges_of(role)
    able = [grant for grant in grants if grant.grantee is None or grant.grantee in roles]
    return min(able, key=lambda grant: _distance(catalog, role, grant.grantee), default=None)


def _distance(catalog: Catalog, role: str, grantee: str | None) -> int:
    if grantee == role:
        return 0
    return 1_000_000 if grantee is None else len(_path(catalog, role, grantee)) or 1_000


def _path(catalog: Catalog, role: str, group: str) -> tuple[str, ...]:
    key = ("path", role, group)
    if key not in catalog.known:
        catalog.known[key] = catalog.access.graph.path(role, group)
    path: tuple[str, ...] = catalog.known[key]
    return path


def _told(catalog: Catalog, role: str, entity: Entity, grant: Grant, privilege: str) -> str:
    if grant.grantee is None:
        return f"PUBLIC has {privilege} on {entity.qualified}"
    if grant.grantee == entity.owner == grant.grantor:
        owner = "it owns" if grant.grantee == role else f"{quoted(entity.owner)} owns"
        return f"{owner} {entity.qualified}{_through(catalog, role, grant.grantee)}"
    receiver = "" if grant.grantee == role else f" to {quoted(grant.grantee)}"
    return f"{quoted(grant.grantor)} granted {privilege}{receiver}{_through(catalog, role, grant.grantee)}"


def _through(catalog: Catalog, role: str, group: str) -> str:
    path = _path(catalog, role, group)
    return f", through the membership {' → '.join(quoted(name) for name in path)}" if len(path) > 1 else ""
