"""Which roles are services of a database, and what somebody meant them to have in it.

No catalog says what a role is for. What counts as intention: a search_path set for this very role, privileges it
already holds, default privileges that name it, and an access list of the database that names it. What
everybody has (PUBLIC) is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from kit.analyze.access import DATA_PRIVILEGES, Access, mask
from kit.analyze.names import is_system_schema
from kit.analyze.search_path import SearchPath
from kit.evidence.model import Frames

# Monitoring logs in everywhere and is meant to read no table.
_MONITORS = frozenset({"pg_monitor", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables"})
_NAMING_FRAMES = ("schema_grants", "relation_grants", "default_privileges")


class ServiceRoles:
    """The login roles of the current database, with what they were meant to have."""

    def __init__(self, frames: Frames, access: Access) -> None:
        self._frames = frames
        self._access = access
        self._schemas = frames["relations"]["schema_name"].to_numpy(dtype=object)
        self._named = _named_roles(frames, access.database)
        self.schemas = frozenset(frames["schemas"]["schema_name"])
        self.relation_counts = frames["relations"]["schema_name"].value_counts().to_dict()

    def __iter__(self) -> Iterator[str]:
        """Yield every role that may log in to this database and is bound by its privileges."""
        roles = self._frames["roles"]
        for name in roles.loc[roles["can_login"].astype(bool), "role_name"]:
            if self._is_bound(name) and self._access.has_database_privilege(name, self._access.database, "CONNECT"):
                yield name

    def path_schemas(self, path: SearchPath) -> list[str]:
        """Return the schemas on the path that exist, hold relations and are not the server's own."""
        found = dict.fromkeys(name for name in path.entries if name in self.schemas)
        return [name for name in found if not is_system_schema(name) and self.relation_counts.get(name)]

    def held_counts(self, role: str) -> dict[str, int]:
        """Return by schema on how many relations the role holds privileges that PUBLIC does not give."""
        return self._counts(self.holds(role))

    def holds(self, role: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return on which relations the role holds privileges that PUBLIC does not give (not those of pg_ roles)."""
        access = self._access
        bits = access.relation_privileges(role, public=False) | access.column_privileges(role, public=False)
        return np.not_equal(bits & mask((*DATA_PRIVILEGES, "TRUNCATE", "USAGE")), 0)

    def is_at_home(self, role: str) -> bool:
        """Return whether an access list of this database names the role or one of its roles."""
        roles = self._access.memberships(role)
        return bool(roles & self._named) and not roles & _MONITORS

    def _is_bound(self, name: str) -> bool:
        return not self._access.is_superuser(name) and not name.startswith("pg_")

    def _counts(self, flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[str, int]:
        names, counts = np.unique(self._schemas[flags].astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))


def symptom_names(frames: Frames, relations: Iterable[str]) -> bool:
    """Return whether the case's symptom names one of the relations."""
    if "symptom" not in frames or not len(frames["symptom"]):
        return False
    words = set(re.findall(r"[\w$]+", " ".join(frames["symptom"]["text"])))
    stated = set(frames["symptom"]["relation_name"].dropna())
    return any(name in words or name in stated for name in relations)


def _named_roles(frames: Frames, database: str) -> frozenset[str]:
    grants = frames["database_grants"]
    found = set(grants.loc[grants["database_name"] == database, "grantee_name"].dropna())
    for name in _NAMING_FRAMES:
        found |= set(frames[name]["grantee_name"].dropna()) if name in frames else set()
    return frozenset(found)
