"""The smallest statement that mends one gate, who may run it, and what it opens up beyond what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kit.analyze.access.catalog import Catalog, Entity, Relation
from kit.analyze.access.explanation import Remedy
from kit.analyze.access.holding import WHOLE_ROW, Lack, held, held_on_columns
from kit.analyze.exposure import DEFAULT_ROLES
from kit.analyze.findings import quoted

_NAMES_SHOWN = 5
# GRANT calls aggregates and window functions functions.
_GRANT_WORDS = {"schema": "schema", "database": "database", "type": "type", "procedure": "procedure"}


def grant(catalog: Catalog, role: str, entity: Entity, privilege: str) -> Remedy:
    """Return the grant of one privilege on a whole object."""
    statement = f"grant {privilege.lower()} on {_on(entity)} to {quoted(role)}"
    opens = [_inheriting(catalog, role), _to_strangers(catalog, role, entity)]
    if entity.kind == "schema" and privilege == "USAGE":
        opens.append(_reachable(catalog, role, entity.name))
    return Remedy(statement, _granters(catalog, entity, privilege), _joined(opens))


def grant_lacked(catalog: Catalog, lack: Lack) -> Remedy:
    """Return the grant of what a role lacks on a relation: on its columns, where it is only these."""
    columns = [column for column in lack.columns if column != WHOLE_ROW]
    if not columns:
        return grant(catalog, lack.role, lack.relation, lack.privilege)
    names = ", ".join(quoted(column) for column in columns)
    statement = f"grant {lack.privilege.lower()} ({names}) on {lack.relation.qualified} to {quoted(lack.role)}"
    opens = [_inheriting(catalog, lack.role), _to_strangers(catalog, lack.role, lack.relation)]
    return Remedy(statement, _granters(catalog, lack.relation, lack.privilege), _joined(opens))


def together(parts: Sequence[Remedy]) -> Remedy:
    """Return several remedies as one, each statement once, on lines of their own."""
    once = {part.statement: part for part in parts}.values()
    run_by = " / ".join(dict.fromkeys(part.run_by for part in once))
    return Remedy(";\n".join(part.statement for part in once), run_by, _joined(dict.fromkeys(part.opens for part in once)))


def create_policy(catalog: Catalog, role: str, relation: Relation, event: str) -> Remedy:
    """Return the policy that lets the role through; which rows it should be is for people to say."""
    taken = {row["policy_name"] for row in catalog.indexed("policies", "relation_oid").get((relation.oid,), [])}
    name = _free(f"{role} may {event.lower()}"[:60], taken)
    condition = "with check (true)" if event == "INSERT" else "using (true)"
    statement = f"create policy {quoted(name)} on {relation.qualified} for {event.lower()} to {quoted(role)} {condition}"
    rows = "every row: put the condition that is meant in the place of `true`"
    return Remedy(statement, _owners(relation.owner), _joined([rows, _inheriting(catalog, role)]))


def allow_login(role: str) -> Remedy:
    """Return what lets the role log in."""
    return _alter_role(f"alter role {quoted(role)} login", "logins under this name, once it has a password or another method")


def renew_password(role: str) -> Remedy:
    """Return what lifts the end of the password's validity."""
    return _alter_role(
        f"alter role {quoted(role)} valid until 'infinity'", "logins with the old password, for as long as it stays"
    )


def lift_role_limit(role: str) -> Remedy:
    """Return what lifts the role's limit of connections."""
    return _alter_role(f"alter role {quoted(role)} connection limit -1", "as many connections as the server has slots")


def alter_database(database: Entity, change: str) -> Remedy:
    """Return a change of the database's own settings."""
    return Remedy(f"alter database {quoted(database.name)} {change}", _owners(database.owner), "it holds for every role")


def _alter_role(statement: str, opens: str) -> Remedy:
    return Remedy(statement, "a role with CREATEROLE that administers it, or a superuser", opens)


def _on(entity: Entity) -> str:
    if isinstance(entity, Relation):
        return f"sequence {entity.qualified}" if entity.kind == "sequence" else entity.qualified
    return f"{_GRANT_WORDS.get(entity.kind, 'function')} {entity.qualified}"


def _granters(catalog: Catalog, entity: Entity, privilege: str) -> str:
    able = {item.grantee for item in catalog.grants(entity) if privilege in item.grantable and item.grantee}
    others = [f"{quoted(name)} (which may pass it on)" for name in sorted(able - {entity.owner})]
    return _owners(entity.owner, others)


def _owners(owner: str, others: Sequence[str] = ()) -> str:
    return ", ".join([f"{quoted(owner)} (its owner) or a member of it", *others, "or a superuser"])


def _inheriting(catalog: Catalog, role: str) -> str:
    """Return who else gets what is granted to this role: they inherit from it."""
    key, graph = ("members", role), catalog.access.graph
    if key not in catalog.known:
        others = sorted(graph.names - graph.superusers - {role})
        catalog.known[key] = [name for name in others if role in graph.privileges_of(name)]
    members = catalog.known[key]
    return f"the same to {_some(quoted(name) for name in members)}, by membership" if members else ""


def _to_strangers(catalog: Catalog, role: str, entity: Entity) -> str:
    """Return the warning that a grant to a role of strangers opens every row, where row security is off."""
    stated = [row["role_name"] for row in catalog.rows("exposed_roles")]
    strangers = stated if "exposed_roles" in catalog.frames else DEFAULT_ROLES
    is_bare = isinstance(entity, Relation) and entity.kind != "sequence" and not entity.has_row_security
    return "every row, to strangers: row security is off on it" if is_bare and role in strangers else ""


def _reachable(catalog: Catalog, role: str, schema: str) -> str:
    """Return what in the schema is granted already and waits only for USAGE."""
    key = ("reachable", role, schema)
    if key not in catalog.known:
        relations = [item for item in catalog.relations.values() if item.schema == schema]
        catalog.known[key] = [item.qualified for item in relations if _is_usable(catalog, role, item)]
    waiting = catalog.known[key]
    return f"what is granted in it already: {_some(waiting)}" if len(waiting) > 1 else ""


def _is_usable(catalog: Catalog, role: str, relation: Relation) -> bool:
    return any(
        held(catalog, role, relation, privilege) or held_on_columns(catalog, role, relation, privilege)
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")
    )


def _some(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else ""
    return ", ".join(known[:_NAMES_SHOWN]) + more


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)


def _free(name: str, taken: set[str]) -> str:
    return next(
        candidate for number in range(len(taken) + 1) if (candidate := name if number == 0 else f"{name} {number}") not in taken
    )
