"""Who is a member of whom, and what of it counts without SET ROLE.

PostgreSQL manual: 21.3 "Role Membership", 21.5 "Predefined Roles", and GRANT, "GRANT on Roles"; in the
source `roles_is_member_of` (acl.c). From 16 on each grant has its own INHERIT and SET options; before, the
member's INHERIT attribute decides and every member may SET ROLE. The frames carry that difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

DATABASE_OWNER = "pg_database_owner"


class RoleGraph:
    """The memberships of a cluster, as they stand in one database."""

    def __init__(self, roles: pd.DataFrame, memberships: pd.DataFrame, database_owner: str, server_version: int) -> None:
        names = roles["role_name"].tolist()
        self.names = frozenset(names)
        self.superusers = frozenset(roles.loc[roles["is_superuser"].astype(bool), "role_name"])
        self._inherits = dict(zip(names, roles["inherits"].tolist(), strict=True))
        self._inherited_edges = _edges(memberships[memberships["inherits"].astype(bool)])
        self._settable_edges = _edges(memberships[memberships["can_set"].astype(bool)])
        self._closed: dict[str, frozenset[str]] = {}
        if DATABASE_OWNER in self.names:
            self._add_database_owner(database_owner, server_version)

    def privileges_of(self, role: str) -> frozenset[str]:
        """Return the roles whose privileges `role` has without SET ROLE, itself among them; KeyError if unknown."""
        if role not in self._closed:
            self._closed[role] = self._reached(role, self._inherited_edges)
        return self._closed[role]

    def settable(self, role: str) -> frozenset[str]:
        """Return the roles that `role` may SET ROLE to, itself among them; KeyError if unknown."""
        return self._reached(role, self._settable_edges)

    def path(self, role: str, group: str, *, by_set_role: bool = False) -> tuple[str, ...]:
        """Return the shortest chain of memberships from `role` to `group`, both included; empty where there is none."""
        edges = self._settable_edges if by_set_role else self._inherited_edges
        paths: dict[str, tuple[str, ...]] = {role: (role,)}
        waiting = [role]
        for member in waiting:
            for other in sorted(edges.get(member, set()) - paths.keys()):
                paths[other] = (*paths[member], other)
                waiting.append(other)
        return paths.get(group, ())

    def nearest(self, role: str, *, by_set_role: bool = False) -> tuple[str, ...]:
        """Return the roles that `role` stands for, or may SET ROLE to, by the length of the way: itself first."""
        edges = self._settable_edges if by_set_role else self._inherited_edges
        found, waiting = {role}, [role]
        for member in waiting:
            new = sorted(edges.get(member, set()) - found)
            found.update(new)
            waiting.extend(new)
        return tuple(waiting)

    def _reached(self, role: str, edges: Mapping[str, set[str]]) -> frozenset[str]:
        if role not in self.names:
            raise KeyError(role)
        if role in self.superusers:
            return self.names
        found, waiting = {role}, [role]
        while waiting:
            new = edges.get(waiting.pop(), set()) - found
            found |= new
            waiting.extend(new)
        return frozenset(found)

    def _add_database_owner(self, owner: str, server_version: int) -> None:
        # The owner is an implicit member. On 14 and 15 a NOINHERIT owner has to SET ROLE even for that.
        if server_version >= 160_000 or self._inherits.get(owner, True):
            self._inherited_edges.setdefault(owner, set()).add(DATABASE_OWNER)
        self._settable_edges.setdefault(owner, set()).add(DATABASE_OWNER)


def _edges(memberships: pd.DataFrame) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    pairs: Iterable[tuple[str, str]] = zip(memberships["member_name"], memberships["role_name"], strict=True)
    for member, role in pairs:
        edges.setdefault(member, set()).add(role)
    return edges
