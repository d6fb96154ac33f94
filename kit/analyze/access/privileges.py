"""PostgreSQL's access rules over frames: what each role may do, without asking the server once more.

PostgreSQL manual: 5.8 "Privileges" (who has what, and what a missing list means), 21.5 "Predefined Roles".
In the source: aclmask, pg_class_aclmask_ext, pg_namespace_aclmask_ext, object_aclmask (aclchk.c). The tests
hold every rule against has_table_privilege and its kin on PostgreSQL 13 to 18.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kit.analyze.access.predefined import GIVEN, MAINTAIN_SINCE
from kit.analyze.access.role_graph import RoleGraph
from kit.analyze.access.search_path import SearchPath, SearchPaths
from kit.evidence.model import Frames

# The frames a model needs; `column_grants` and `settings` are used where they are there.
NEEDS = (
    "roles", "role_memberships", "role_settings", "databases", "database_grants",
    "schemas", "schema_grants", "relations", "relation_grants",
)  # fmt: skip
PRIVILEGES = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN",
    "USAGE", "CREATE", "CONNECT", "TEMPORARY",
)  # fmt: skip
DATA_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")

Masks = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_BITS = {name: 1 << position for position, name in enumerate(PRIVILEGES)}
_ALL = (1 << len(PRIVILEGES)) - 1
_SEES_EVERY_SCHEMA = frozenset(role for role, kinds in GIVEN.items() if "schema" in kinds)


def mask(privileges: Iterable[str]) -> int:
    """Return privileges as bits; what is not known (a later server's) is left out."""
    return _mask(tuple(privileges))


def names(bits: int) -> tuple[str, ...]:
    """Return the privileges that the bits stand for."""
    return tuple(name for name, bit in _BITS.items() if bits & bit)


class Access:
    """Who may do what in the database that was looked at.

    Roles, schemas and relations are given by their exact names; an unknown one raises KeyError, as the
    server raises an error. Relations of one kind of question are answered all at once, as arrays in the
    order of the frame `relations`.
    """

    def __init__(self, frames: Frames) -> None:
        databases, relations = frames["databases"], frames["relations"]
        current = databases[databases["is_current"].astype(bool)].iloc[0]
        version = frames.identity.server_version if frames.identity else 0
        self.database = str(current["database_name"])
        self.graph = RoleGraph(frames["roles"], frames["role_memberships"], str(current["owner_name"]), version)
        self._paths = SearchPaths(frames, self.database)
        self._roles = roles = _Positions(frames["roles"]["role_name"].tolist())
        self._schemas = _Positions(frames["schemas"]["schema_name"].tolist())
        self._databases = _Positions(databases["database_name"].tolist())
        self._relations = _Positions(list(zip(relations["schema_name"], relations["relation_name"], strict=True)))
        oids = _Positions(relations["relation_oid"].tolist())
        self._schema_grants = _Grants.of(frames["schema_grants"], "schema_name", self._schemas, roles)
        self._database_grants = _Grants.of(frames["database_grants"], "database_name", self._databases, roles)
        owned = _owners_rights(relations, version)
        self._relation_grants = _Grants.of(
            pd.concat([frames["relation_grants"][owned.columns], owned]), "relation_oid", oids, roles
        )
        columns = frames["column_grants"] if "column_grants" in frames else owned.iloc[:0]
        self._column_grants = _Grants.of(columns, "relation_oid", oids, roles)
        self._relation_masks: dict[tuple[str, bool], Masks] = {}
        self._schema_masks: dict[str, Masks] = {}

    def is_superuser(self, role: str) -> bool:
        """Return whether no rule but this one matters for the role; it is never inherited."""
        return role in self.graph.superusers

    def memberships(self, role: str) -> frozenset[str]:
        """Return the roles whose privileges the role has without SET ROLE, itself among them."""
        return self.graph.privileges_of(role)

    def settable(self, role: str) -> frozenset[str]:
        """Return the roles that the role may SET ROLE to, itself among them."""
        return self.graph.settable(role)

    def search_path(self, role: str) -> SearchPath:
        """Return the search_path that a login of the role begins with, unless its client sends another."""
        return self._paths.of(role)

    def visible_schemas(self, role: str) -> list[str]:
        """Return what `current_schemas(false)` would say after a login: what of the path exists and has USAGE."""
        found = dict.fromkeys(name for name in self.search_path(role).entries if name in self._schemas)
        return [name for name in found if self.has_schema_privilege(role, name, "USAGE")]

    def has_database_privilege(self, role: str, database: str, privilege: str) -> bool:
        """Return what PostgreSQL's function of that name says."""
        if self.is_superuser(role):
            return True
        masks = self._database_grants.held_by(self._held(role, public=True))
        return bool(masks[self._databases.at(database)] & _BITS[privilege])

    def has_schema_privilege(self, role: str, schema: str, privilege: str) -> bool:
        """Return what PostgreSQL's function of that name says."""
        return bool(self.schema_privileges(role)[self._schemas.at(schema)] & _BITS[privilege])

    def has_relation_privilege(self, role: str, schema: str, relation: str, privilege: str) -> bool:
        """Return what has_table_privilege says; it says nothing about the schema's USAGE."""
        masks = self.relation_privileges(role)
        return bool(masks[self._relations.at((schema, relation))] & _BITS[privilege])

    def schema_privileges(self, role: str) -> Masks:
        """Return the role's privileges on every schema, in the order of the frame `schemas`, as bits."""
        if role not in self._schema_masks:
            self._schema_masks[role] = self._compute_schemas(role)
        return self._schema_masks[role]

    def relation_privileges(self, role: str, *, public: bool = True) -> Masks:
        """Return the role's privileges on every relation as bits; `public` counts those of PUBLIC as well."""
        key = (role, public)
        if key not in self._relation_masks:
            self._relation_masks[key] = self._compute_relations(role, public=public)
        return self._relation_masks[key]

    def column_privileges(self, role: str, *, public: bool = True) -> Masks:
        """Return, for every relation, the privileges the role has on any single column of it, as bits."""
        return self._column_grants.held_by(self._held(role, public=public))

    def unreachable(self, role: str) -> Flags:
        """Return which relations the role can neither read nor change, not even a column of them."""
        reached = self.relation_privileges(role) | self.column_privileges(role)
        closed: Flags = np.equal(reached & mask(DATA_PRIVILEGES), 0)
        return closed

    def _compute_schemas(self, role: str) -> Masks:
        masks = self._schema_grants.held_by(self._held(role, public=True))
        if self.is_superuser(role):
            return np.full_like(masks, _ALL)
        return masks | _BITS["USAGE"] if self.memberships(role) & _SEES_EVERY_SCHEMA else masks

    def _compute_relations(self, role: str, *, public: bool) -> Masks:
        masks = self._relation_grants.held_by(self._held(role, public=public))
        if self.is_superuser(role):
            return np.full_like(masks, _ALL)
        given = [mask(GIVEN[name]["relation"]) for name in self.memberships(role) & GIVEN.keys()]
        return masks | int(np.bitwise_or.reduce(given)) if given else masks

    def _held(self, role: str, *, public: bool) -> Flags:
        """Return which grantees the role stands for: its roles, and PUBLIC (the last but one place)."""
        held = np.zeros(len(self._roles) + 2, dtype=np.bool_)
        held[[self._roles.at(name) for name in self.memberships(role)]] = True
        held[-2] = public
        return held


class _Positions:
    """Where each name stands in its frame."""

    def __init__(self, keys: Sequence[Any]) -> None:
        self._positions = {key: position for position, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, key: object) -> bool:
        return key in self._positions

    def at(self, key: Any) -> int:
        return self._positions[key]

    def of(self, keys: Iterable[Any], other: int = -1) -> npt.NDArray[np.intp]:
        """Return the place of each key, and `other` for the unknown."""
        return np.array([self._positions.get(key, other) for key in keys], dtype=np.intp)


class _Grants:
    """Who was granted what on which object: parallel arrays in the order of the objects."""

    def __init__(self, count: int, objects: npt.NDArray[np.intp], grantees: npt.NDArray[np.intp], bits: Masks) -> None:
        order = np.argsort(objects, kind="stable")
        self._count = count
        self._objects, self._starts = np.unique(objects[order], return_index=True)
        self._grantees, self._bits = grantees[order], bits[order]

    @classmethod
    def of(cls, frame: pd.DataFrame, key: str, objects: _Positions, roles: _Positions) -> _Grants:
        """Return the grants of a frame; those on objects that have vanished between two queries are left out."""
        places = objects.of(frame[key])
        # Two places follow those of the roles: PUBLIC, and a role that is not in the frame (dropped since).
        public, unknown = len(roles), len(roles) + 1
        named = roles.of(frame["grantee_name"], unknown)
        grantees = np.where(frame["grantee_name"].isna().to_numpy(dtype=np.bool_), public, named)
        bits = np.array([mask(privileges) for privileges in frame["privileges"]], dtype=np.int64)
        known = places >= 0
        return cls(len(objects), places[known], grantees[known], bits[known])

    def held_by(self, held: Flags) -> Masks:
        """Return the bits that these grantees have together, for every object."""
        result = np.zeros(self._count, dtype=np.int64)
        if len(self._objects):
            bits = np.where(held[self._grantees], self._bits, 0)
            result[self._objects] = np.bitwise_or.reduceat(bits, self._starts)
        return result


@lru_cache(maxsize=4096)
def _mask(privileges: tuple[str, ...]) -> int:
    return sum(_BITS[name] for name in set(privileges) if name in _BITS)


def _owners_rights(relations: pd.DataFrame, server_version: int) -> pd.DataFrame:
    """Return the grants that a relation without a list of its own stands for: everything, to its owner."""
    table = [name for name in PRIVILEGES[:8] if name != "MAINTAIN" or server_version >= MAINTAIN_SINCE]
    rows = relations[relations["has_default_acl"].astype(bool)]
    return pd.DataFrame(
        {
            "relation_oid": rows["relation_oid"].astype(object),
            "grantee_name": rows["owner_name"].astype(object),
            "privileges": [["SELECT", "UPDATE", "USAGE"] if kind == "sequence" else table for kind in rows["kind"]],
        }
    )
