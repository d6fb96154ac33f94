"""Which roles are services of a database, and what somebody meant them to have in it.

No catalog says what a role is for. What counts as intention: a search_path set for this very role, privileges it
already holds, default privileges that name it, and an access list of the database that names it. What
everybody has (PUBLIC) is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Access, mask
from kit.analyze.access.search_path import SearchPath
from kit.analyze.names import is_system_schema
from kit.evidence.model import Frames

# Monitoring logs in everywhere and is meant to read no table.
MONITORS = frozenset({"pg_monitor", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables"})
# Roles that a provider of hosted databases keeps for itself, or for its customer's administrator.
PROVIDER_ROLES = frozenset(
    "rdsadmin rds_superuser rdsrepladmin rdstopmgr rds_replication rds_iam rds_ad rds_password cloudsqladmin cloudsqlsuperuser"
    " cloudsqlagent cloudsqlreplica cloudsqlimportexport cloudsqliamuser cloudsqliamserviceaccount alloydbadmin"
    " alloydbsuperuser alloydbagent alloydbreplica alloydbimportexport azuresu azure_superuser azure_pg_admin"
    " supabase_admin supabase_auth_admin supabase_storage_admin supabase_realtime_admin supabase_functions_admin"
    " supabase_replication_admin supabase_read_only_user supabase_etl_admin supabase_privileged_role dashboard_user"
    " neon_superuser neon_service cloud_admin".split()
)
# Kept by a provider's tool, though the customer's administrator owns it.
_PROVIDER_SCHEMAS = frozenset({"supabase_migrations"})
_NAMING_FRAMES = ("schema_grants", "relation_grants", "default_privileges")


@dataclass(frozen=True, slots=True)
class Intention:
    """What one role was meant to have in the database.

    `held` counts by schema the relations on which it holds privileges that PUBLIC does not give; `defaults` are, by
    schema (None: all), the privileges on tables that default privileges give it, as bits; `is_at_home` says
    whether an access list of this database names the role or one of its roles.
    """

    path: SearchPath
    held: Mapping[str, int]
    defaults: Mapping[str | None, int]
    is_at_home: bool

    def schemas(self) -> frozenset[str]:
        """Return the schemas that anything speaks of."""
        return frozenset((*self.path.entries, *self.held, *(name for name in self.defaults if name)))

    def uses(self, schema: str) -> bool:
        """Return whether the role is meant to use the schema at all."""
        is_shared = self.path.is_shared and schema in self.path.entries and self.is_at_home
        return schema in self.path.own or schema in self.held or is_shared

    def default_bits(self, schema: str) -> int:
        """Return what default privileges give on tables of the schema; those for all schemas only where it is used."""
        everywhere = self.defaults.get(None, 0) if self.uses(schema) else 0
        return self.defaults.get(schema, 0) | everywhere


class ServiceRoles:
    """The login roles of the current database, with what they were meant to have."""

    def __init__(self, frames: Frames, access: Access) -> None:
        self._roles = frames["roles"]
        self._access = access
        self._named = _named_roles(frames, access.database)
        relations = frames["relations"]
        self._schema_names = relations["schema_name"].to_numpy(dtype=object)
        usable = relations[(relations["kind"] != "sequence") & in_user_schema(relations["schema_name"])]
        # A schema may vanish between the two queries, and the server's answer for it would be an error.
        known = set(frames["schemas"]["schema_name"])
        self._relations = {str(name): rows for name, rows in usable.groupby("schema_name") if name in known}
        self._default_grants = list(_default_grants(frames))

    def __iter__(self) -> Iterator[str]:
        """Yield every role that may log in to this database and is bound by its privileges; no provider's own."""
        for name in self._roles.loc[self._roles["can_login"].astype(bool), "role_name"]:
            bound = not (self._access.is_superuser(name) or name.startswith("pg_") or name in PROVIDER_ROLES)
            if bound and self._access.has_database_privilege(name, self._access.database, "CONNECT"):
                yield name

    def relations(self, schema: str) -> pd.DataFrame:
        """Return the relations of a schema but for its sequences."""
        return self._relations[schema]

    def on_path(self, path: SearchPath) -> list[str]:
        """Return the schemas on the path that exist, hold relations and are not the server's own."""
        return [name for name in dict.fromkeys(path.entries) if name in self._relations]

    def intention(self, role: str) -> Intention:
        """Return what the role was meant to have."""
        roles = self._access.memberships(role)
        return Intention(
            path=self._access.search_path(role),
            held=self._held(role),
            defaults=self._defaults(roles),
            is_at_home=bool(roles & self._named) and not roles & MONITORS,
        )

    def _held(self, role: str) -> dict[str, int]:
        bits = self._access.relation_privileges(role, public=False) | self._access.column_privileges(role, public=False)
        flags = np.not_equal(bits & mask((*DATA_PRIVILEGES, "TRUNCATE", "USAGE")), 0)
        counts = pd.Series(self._schema_names[flags]).value_counts()
        return {str(name): int(count) for name, count in counts.items() if name in self._relations}

    def _defaults(self, roles: frozenset[str]) -> dict[str | None, int]:
        found: dict[str | None, int] = {}
        for grantee, schema, bits in self._default_grants:
            if grantee in roles:
                found[schema] = found.get(schema, 0) | bits
        return found


def in_user_schema(schema_names: pd.Series) -> pd.Series:
    """Return which of the schemas' names are not the server's own."""
    return ~schema_names.map(is_system_schema).astype(bool)


def provider_schemas(frames: Frames) -> frozenset[str]:
    """Return the schemas that a provider of hosted databases keeps: one of its roles owns them, beside the server's own."""
    schemas = frames["schemas"]
    kept = set(schemas.loc[schemas["owner_name"].isin(PROVIDER_ROLES), "schema_name"])
    return frozenset(kept | (_PROVIDER_SCHEMAS if kept else set()))


def in_own_schema(frames: Frames, schema_names: pd.Series) -> pd.Series:
    """Return which of the schemas' names are neither the server's own nor a provider's."""
    return in_user_schema(schema_names) & ~schema_names.isin(provider_schemas(frames))


def is_hosted(frames: Frames) -> bool:
    """Return whether a provider's role shows that this is a hosted database."""
    return bool(frames["roles"]["role_name"].isin(PROVIDER_ROLES).any())


def positions(rows: pd.DataFrame) -> tuple[int, ...]:
    """Return where rows chosen from a frame of evidence stand in it."""
    return tuple(int(position) for position in rows.index)


def symptom_names(frames: Frames, names: Iterable[str]) -> bool:
    """Return whether the case's symptom names one of the relations or roles, as a word or in double quotes."""
    if "symptom" not in frames or not len(frames["symptom"]):
        return False
    stated = set(frames["symptom"]["relation_name"].dropna())
    words = re.findall(r'"([^"]+)"|([\w$]+)', " ".join(frames["symptom"]["text"]))
    stated |= {word for pair in words for word in pair}
    return not stated.isdisjoint(names)


def _named_roles(frames: Frames, database: str) -> frozenset[str]:
    grants = frames["database_grants"]
    found = set(grants.loc[grants["database_name"] == database, "grantee_name"].dropna())
    for name in _NAMING_FRAMES:
        found |= set(frames[name]["grantee_name"].dropna()) if name in frames else set()
    return frozenset(found)


def _default_grants(frames: Frames) -> Iterator[tuple[str, str | None, int]]:
    """Yield grantee, schema and privileges of the default privileges on tables, but for a creator's own."""
    for row in frames["default_privileges"].itertuples():
        is_named = not pd.isna(row.grantee_name) and row.grantee_name != row.creator_name
        bits = mask(row.privileges) & mask(DATA_PRIVILEGES)
        if row.object_kind == "table" and is_named and bits:
            yield row.grantee_name, None if pd.isna(row.schema_name) else row.schema_name, bits
