"""Which roles are services of a database, and what somebody meant them to have in it.

No catalog says what a role is for. What counts as intention: a search_path set for this very role, privileges it
already holds, default privileges that name it, and an access list of the database that names it. What
everybody has (PUBLIC) is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

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
        self._roles = frames["roles"]
        self._access = access
        self._named = _named_roles(frames, access.database)
        relations = frames["relations"]
        self._schema_names = relations["schema_name"].to_numpy(dtype=object)
        usable = relations[(relations["kind"] != "sequence") & in_user_schema(relations["schema_name"])]
        # A schema may vanish between the two queries, and the server's answer for it would be an error.
        known = set(frames["schemas"]["schema_name"])
        self._relations = {str(name): rows for name, rows in usable.groupby("schema_name") if name in known}

    def __iter__(self) -> Iterator[str]:
        """Yield every role that may log in to this database and is bound by its privileges."""
        for name in self._roles.loc[self._roles["can_login"].astype(bool), "role_name"]:
            bound = not self._access.is_superuser(name) and not name.startswith("pg_")
            if bound and self._access.has_database_privilege(name, self._access.database, "CONNECT"):
                yield name

    def relations(self, schema: str) -> pd.DataFrame:
        """Return the relations of a schema but for its sequences."""
        return self._relations[schema]

    def on_path(self, path: SearchPath) -> list[str]:
        """Return the schemas on the path that exist, hold relations and are not the server's own."""
        return [name for name in dict.fromkeys(path.entries) if name in self._relations]

    def held(self, role: str) -> dict[str, int]:
        """Return by schema on how many relations the role holds privileges that PUBLIC does not give."""
        bits = self._access.relation_privileges(role, public=False) | self._access.column_privileges(role, public=False)
        flags = np.not_equal(bits & mask((*DATA_PRIVILEGES, "TRUNCATE", "USAGE")), 0)
        counts = pd.Series(self._schema_names[flags]).value_counts()
        return {str(name): int(count) for name, count in counts.items() if name in self._relations}

    def is_at_home(self, role: str) -> bool:
        """Return whether an access list of this database names the role or one of its roles."""
        roles = self._access.memberships(role)
        return bool(roles & self._named) and not roles & _MONITORS


def in_user_schema(schema_names: pd.Series) -> pd.Series:
    """Return which of the schemas' names are not the server's own."""
    return ~schema_names.map(is_system_schema).astype(bool)


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
