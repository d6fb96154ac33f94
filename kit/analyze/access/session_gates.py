"""The gates before any statement: may the role log in, and to this database."""

from __future__ import annotations

from typing import Any

from kit.analyze.access import remedies
from kit.analyze.access.catalog import Catalog, Entity
from kit.analyze.access.explanation import Gate
from kit.analyze.access.gates import not_applicable
from kit.analyze.access.holding import held
from kit.analyze.findings import quoted


def login(catalog: Catalog, role: str) -> Gate:
    """Return whether the role may begin a session; a group role is reached by SET ROLE instead.

    PostgreSQL manual, 21.2 "Role Attributes". The end of validity counts for passwords only.
    """
    record = catalog.indexed("roles", "role_name")[(role,)][0]
    if not record["can_login"]:
        return _without_login(catalog, role)
    expired = record["valid_until"] is not None and record["valid_until"] <= catalog.frames.at("roles")
    if expired:
        until = f"{record['valid_until']:%Y-%m-%d %H:%M} UTC"
        because = f"the password of {quoted(role)} was valid until {until}; only other methods still work"
        return Gate("login", "failed", because, remedies.renew_password(role))
    limit, now = record["connection_limit"], _sessions(catalog, "user_name", role)
    if 0 <= limit <= now and role not in catalog.access.graph.superusers:
        because = f"{quoted(role)} may have {limit} connections and has {now}"
        return Gate("login", "failed", because, remedies.lift_role_limit(role))
    return Gate("login", "passed", f"{quoted(role)} may log in")


def connect(catalog: Catalog, role: str) -> Gate:
    """Return whether the role may connect to the database that was looked at."""
    record = next(row for row in catalog.rows("databases") if row["is_current"])
    database = database_entity(catalog)
    if not catalog.indexed("roles", "role_name")[(role,)][0]["can_login"]:
        return not_applicable("connect", "the role that logs in connects")
    how = held(catalog, role, database, "CONNECT")
    if how is None:
        because = f"{quoted(role)} has no CONNECT on database {quoted(database.name)}"
        return Gate("connect", "failed", because, remedies.grant(catalog, role, database, "CONNECT"))
    return _full(catalog, role, database, record) or Gate("connect", "passed", how)


def database_entity(catalog: Catalog) -> Entity:
    """Return the database that was looked at."""
    record = next(row for row in catalog.rows("databases") if row["is_current"])
    return Entity("database", record["database_name"], record["owner_name"])


def _without_login(catalog: Catalog, role: str) -> Gate:
    graph = catalog.access.graph
    logins = {row["role_name"] for row in catalog.rows("roles") if row["can_login"]}
    members = sorted(name for name in logins - graph.superusers if role in graph.settable(name))
    if role.startswith("pg_"):
        return not_applicable("login", f"{role} is one of the server's own roles, which nobody logs in as")
    if members:
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        return not_applicable("login", f"{quoted(role)} does not log in; {quoted(members[0])}{more} may SET ROLE to it")
    because = f"{quoted(role)} may not log in (NOLOGIN), and no login role but a superuser may SET ROLE to it"
    return Gate("login", "failed", because, remedies.allow_login(role))


def _full(catalog: Catalog, role: str, database: Entity, record: dict[str, Any]) -> Gate | None:
    if not record["allows_connections"]:
        because = f"database {quoted(database.name)} takes no connections"
        return Gate("connect", "failed", because, remedies.alter_database(database, "with allow_connections true"))
    limit, now = record["connection_limit"], _sessions(catalog, "database_name", database.name)
    if 0 <= limit <= now and role not in catalog.access.graph.superusers:
        because = f"database {quoted(database.name)} takes {limit} connections and has {now}"
        return Gate("connect", "failed", because, remedies.alter_database(database, "with connection limit -1"))
    return None


def _sessions(catalog: Catalog, key: str, name: str) -> int:
    return len(catalog.indexed("sessions", key).get((name,), []))
