"""What row security leaves of a relation for a role, from its policies.

PostgreSQL manual, 5.9 "Row Security Policies" and CREATE POLICY (table "Policies Applied by Command Type"); in the
source `check_enable_rls` (rls.c) and `get_row_security_policies` (rowsecurity.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explanation import Rows
from kit.analyze.policies import truth

Clause = Literal["using", "check"]
# Role, relation's OID and event of a policy that is not there yet.
Added = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it applies to one role; a truth is None where the condition is one of the row.

    `is_unread` says that its table was locked, so that nobody knows the condition.
    """

    name: str
    command: str
    is_permissive: bool
    has_using: bool
    has_check: bool
    using_truth: bool | None
    check_truth: bool | None
    is_unread: bool = False

    def has(self, clause: Clause) -> bool:
        """Return whether the policy says anything here; a missing WITH CHECK is its USING."""
        return self.has_using or (clause == "check" and self.has_check)

    def truth(self, clause: Clause) -> bool | None:
        """Return what the policy's condition always is, or None."""
        return self.check_truth if clause == "check" and self.has_check else self.using_truth


_OPEN = Policy("", "ALL", is_permissive=True, has_using=True, has_check=True, using_truth=True, check_truth=True)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a relation, and why.

    `policies` are those that the server writes into the statement; `folded` names the ones whose conditions it
    then never evaluates, since they are constant or stand beside a constant.
    """

    rows: Rows
    because: str
    policies: tuple[Policy, ...] = ()
    folded: frozenset[str] = frozenset()


def exemption(catalog: Catalog, role: str, relation: Relation) -> str | None:
    """Return why row security does not bind the role on this relation, or None where it does."""
    graph = catalog.access.graph
    if not relation.has_row_security or relation.kind not in ("table", "partitioned table"):
        return f"row security is not enabled on {relation.qualified}"
    if role in graph.superusers:
        return "row security does not bind superusers"
    if role in _bypassing(catalog):
        return "the role has BYPASSRLS"
    if relation.owner in graph.privileges_of(role) and not relation.forces_row_security:
        owner = "it" if relation.owner == role else "a role it is a member of"
        return f"{relation.qualified} belongs to {owner}, and row security is not forced"
    return None


def left(
    catalog: Catalog, role: str, relation: Relation, event: str, clause: Clause = "using", added: frozenset[Added] = frozenset()
) -> Left:
    """Return what row security leaves of the relation to the role for SELECT, INSERT, UPDATE or DELETE.

    `added` are policies that are not there yet and let everything through.
    """
    key = ("left", role, relation.oid, event, clause, (role, relation.oid, event) in added)
    if key not in catalog.known:
        catalog.known[key] = _left(catalog, role, relation, event, clause, added)
    found: Left = catalog.known[key]
    return found


def _left(catalog: Catalog, role: str, relation: Relation, event: str, clause: Clause, added: frozenset[Added]) -> Left:
    exempt = exemption(catalog, role, relation)
    if exempt:
        return Left("all", exempt)
    applying = [policy for policy in policies(catalog, role, relation, event) if policy.has(clause)]
    applying += [_OPEN] if (role, relation.oid, event) in added else []
    rows = combined(applying, clause)
    return Left(rows, _because(rows, applying, relation, event, clause), *_in_force(applying, clause))


def policies(catalog: Catalog, role: str, relation: Relation, event: str) -> list[Policy]:
    """Return the policies of the relation that are for the event and for the role or one it inherits from."""
    roles = {*catalog.access.graph.privileges_of(role), "public"}
    rows = catalog.indexed("policies", "relation_oid").get((relation.oid,), [])
    return [_policy(row) for row in rows if row["command"] in ("ALL", event) and roles.intersection(row["role_names"])]


def could_open(catalog: Catalog, role: str, relation: Relation, event: str, clause: Clause) -> bool:
    """Return whether one more permissive policy would let anything through: no restrictive one forbids everything."""
    applying = policies(catalog, role, relation, event)
    return not any(policy.has(clause) and not policy.is_permissive and policy.truth(clause) is False for policy in applying)


def combined(applying: Iterable[Policy], clause: Clause) -> Rows:
    """Return what the policies leave: any permissive one, and every restrictive one."""
    applying = list(applying)
    permissive = [policy.truth(clause) for policy in applying if policy.is_permissive]
    restrictive = [policy.truth(clause) for policy in applying if not policy.is_permissive]
    if not any(truth is not False for truth in permissive) or False in restrictive:
        return "none"
    return "all" if True in permissive and all(restrictive) else "filtered"


def _in_force(applying: Sequence[Policy], clause: Clause) -> tuple[tuple[Policy, ...], frozenset[str]]:
    # Without a permissive policy the server puts a plain `false` there, and none of the conditions.
    if not any(policy.is_permissive for policy in applying):
        return (), frozenset()
    is_open = any(policy.is_permissive and policy.truth(clause) for policy in applying)
    folded = {policy.name for policy in applying if policy.truth(clause) is not None or (policy.is_permissive and is_open)}
    return tuple(applying), frozenset(folded)


def _bypassing(catalog: Catalog) -> frozenset[str]:
    rows = catalog.indexed("roles", "bypasses_row_security").get((True,), [])
    return frozenset(row["role_name"] for row in rows)


def _policy(row: Mapping[str, Any]) -> Policy:
    return Policy(
        row["policy_name"],
        row["command"],
        bool(row["is_permissive"]),
        bool(row["has_using"]),
        bool(row["has_with_check"]),
        _truth(row.get("using_expression")),
        _truth(row.get("check_expression")),
        bool(row.get("is_locked")),
    )


def _truth(expression: str | None) -> bool | None:
    return truth(expression) if expression else None


def _because(rows: Rows, applying: list[Policy], relation: Relation, event: str, clause: Clause) -> str:
    permissive = [policy for policy in applying if policy.is_permissive]
    restrictive = [policy for policy in applying if not policy.is_permissive]
    names = ", ".join(f'"{policy.name}"' for policy in applying)
    if not permissive:
        only = f"only restrictive policies ({names})" if restrictive else "no policy"
        return f"row security is enabled on {relation.qualified} and {only} for {event} applies to the role"
    if rows == "none":
        return f"the policies on {relation.qualified} for {event} ({names}) let nothing through"
    if rows == "all":
        return f"the policies on {relation.qualified} for {event} ({names}) let every row through"
    what = "rows to be written" if clause == "check" else "rows"
    return f"only {what} that meet the policies on {relation.qualified} for {event} ({names})"
