"""What strangers reach: the roles that a target exposes, and what these may use in one database.

A team names its exposed roles in kit.toml; else they are PUBLIC, and the roles that PostgREST and Supabase give to
requests from the internet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from kit.analyze.access.privileges import Access, Flags, Masks, mask
from kit.analyze.findings import NotExamined
from kit.analyze.service_roles import in_own_schema
from kit.evidence.model import Frames

PUBLIC = "public"
DEFAULT_ROLES = (PUBLIC, "anon", "authenticated")
_HOLDS_ROWS = ("table", "partitioned table", "materialized view", "foreign table")
# What extensions give to everybody in whatever schema they are put, often `public`.
_OPEN_RELATIONS = {
    "pg_stat_statements": ("pg_stat_statements", "pg_stat_statements_info"),
    "pg_stat_monitor": ("pg_stat_monitor",),
    "postgis": ("spatial_ref_sys", "geometry_columns", "geography_columns"),
    "postgis_raster": ("raster_columns", "raster_overviews"),
    "hypopg": ("hypopg_list_indexes", "hypopg_hidden_indexes"),
}


class Exposure:
    """The exposed roles of a database, PUBLIC among them as "public", and what each may use.

    `unknown` are those that the target names and the server does not have.
    """

    def __init__(self, frames: Frames) -> None:
        self.access = Access(frames)
        self._frames = frames
        stated = frames["exposed_roles"]["role_name"].tolist() if "exposed_roles" in frames else None
        known = {PUBLIC, *frames["roles"]["role_name"]}
        self.roles = tuple(name for name in (DEFAULT_ROLES if stated is None else stated) if name in known)
        self.unknown = tuple(name for name in stated or () if name not in known)

    def not_examined(self) -> Iterator[NotExamined]:
        """Yield the exposed roles that are not there: a slip of the pen must not read as "clean"."""
        yield from (NotExamined(name, "kit.toml names it as exposed, and there is no such role") for name in self.unknown)

    def covers(self, role: str, names: Collection[str]) -> bool:
        """Return whether PUBLIC, the role, or a role whose privileges it has, is among the names."""
        if PUBLIC in names:
            return True
        return role != PUBLIC and not self.access.memberships(role).isdisjoint(names)

    def is_exempt(self, role: str, owner: str, *, is_forced: bool) -> bool:
        """Return whether row security of a table of this owner does not bind the role."""
        if role == PUBLIC:
            return False
        if self.access.is_superuser(role) or role in self._bypassing:
            return True
        return owner in self.access.memberships(role) and not is_forced

    def has_usage(self, role: str, schema: str) -> bool:
        """Return whether the role may look into the schema at all."""
        if role == PUBLIC:
            return schema in self._public_schemas
        return self.access.has_schema_privilege(role, schema, "USAGE")

    def relation_privileges(self, role: str) -> Masks:
        """Return what the role may use of every relation, be it of one column only, as bits; 0 where USAGE is missing."""
        if role == PUBLIC:
            held = self._public_relations
        else:
            held = self.access.relation_privileges(role) | self.access.column_privileges(role)
        known = set(self._frames["schemas"]["schema_name"])
        schemas = self._frames["relations"]["schema_name"]
        open_schemas = {name for name in schemas.unique() if name in known and self.has_usage(role, name)}
        masks: Masks = np.where(schemas.isin(open_schemas).to_numpy(dtype=np.bool_), held, 0)
        return masks

    def grantees(self, role: str, function: Mapping[str, Any]) -> list[str]:
        """Return through whom the role may call the function: PUBLIC, itself, or a role whose privileges it has."""
        if not self.has_usage(role, function["schema_name"]):
            return []
        return [name for name in self._executors(function) if self.covers(role, {name})]

    @cached_property
    def _bypassing(self) -> frozenset[str]:
        roles = self._frames["roles"]
        return frozenset(roles.loc[roles["bypasses_row_security"].astype(bool), "role_name"])

    @cached_property
    def _public_schemas(self) -> frozenset[str]:
        grants = self._frames["schema_grants"]
        has_usage = grants["privileges"].map(lambda held: "USAGE" in held).astype(bool)
        return frozenset(grants.loc[grants["grantee_name"].isna() & has_usage, "schema_name"])

    @cached_property
    def _public_relations(self) -> Masks:
        held: dict[str, int] = {}
        for name in ("relation_grants", "column_grants"):
            grants = public_rows(self._frames[name])
            for oid, privileges in zip(grants["relation_oid"], grants["privileges"], strict=True):
                held[oid] = held.get(oid, 0) | mask(privileges)
        return np.array([held.get(oid, 0) for oid in self._frames["relations"]["relation_oid"]], dtype=np.int64)

    @cached_property
    def _granted(self) -> dict[str, list[str]]:
        grants = self._frames["function_grants"]
        found: dict[str, list[str]] = {}
        for oid, name in zip(grants["function_oid"], grants["grantee_name"].fillna(PUBLIC), strict=True):
            found.setdefault(oid, []).append(name)
        return found

    def _executors(self, function: Mapping[str, Any]) -> list[str]:
        return [PUBLIC] if function["has_default_acl"] else self._granted.get(function["function_oid"], [])


def public_rows(grants: pd.DataFrame) -> pd.DataFrame:
    """Return the grants to PUBLIC."""
    return grants[grants["grantee_name"].isna()]


def of_extensions(frames: Frames) -> Flags:
    """Return which relations are an extension's, as far as their schema or a well-known name tells."""
    relations, extensions = frames["relations"], frames["extensions"]
    homes = set(extensions["schema_name"]) - {PUBLIC}
    names = {
        (schema, relation)
        for extension, schema in zip(extensions["extension_name"], extensions["schema_name"], strict=True)
        for relation in _OPEN_RELATIONS.get(extension, ())
    }
    pairs = zip(relations["schema_name"], relations["relation_name"], strict=True)
    return np.array([schema in homes or (schema, name) in names for schema, name in pairs], dtype=np.bool_)


def user_tables(frames: Frames) -> pd.DataFrame:
    """Return what holds rows, with places in the evidence: also materialized views and foreign tables.

    Those of extensions and of a provider of hosted databases are left out.
    """
    relations = frames["relations"]
    holds_rows = relations["kind"].isin(_HOLDS_ROWS).to_numpy(dtype=np.bool_)
    is_users = in_own_schema(frames, relations["schema_name"])
    return relations[holds_rows & is_users.to_numpy(dtype=np.bool_) & ~of_extensions(frames)]
