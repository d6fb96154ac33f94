"""Group roles: which login roles act as them."""

from __future__ import annotations

from kit.analyze.access.catalog import Catalog


def login_members(catalog: Catalog, role: str) -> list[str]:
    """Return the login roles that may SET ROLE to a role without LOGIN, superusers left out; none for one that logs in."""
    records = catalog.indexed("roles", "role_name")
    if records[(role,)][0]["can_login"]:
        return []
    graph = catalog.access.graph
    logins = {row["role_name"] for row in catalog.rows("roles") if row["can_login"]}
    return sorted(name for name in logins - graph.superusers if role in graph.settable(name))
