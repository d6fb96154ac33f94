"""Who uses what today: what must be granted by name before a grant to PUBLIC, or the rights of a view's owner, go away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace

import numpy as np

from kit.analyze.access.catalog import Catalog, Relation
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, Gate, Question
from kit.analyze.access.privileges import DATA_PRIVILEGES, Access, mask
from kit.analyze.exposure import PUBLIC, Exposure
from kit.analyze.findings import quoted
from kit.analyze.service_roles import MONITORS, PROVIDER_ROLES, ServiceRoles
from kit.evidence.model import Frames

# What the explainer needs beyond what a check asks for anyway; without one of them nobody's needs are known.
EXPLAINER_NEEDS = ("columns", "policies", "functions", "function_grants", "function_uses", "relation_uses", "view_changes")
_DATA = mask(DATA_PRIVILEGES)
# Nobody reads a statement for more of them.
_HOLDERS_ASKED = 20


class Users:
    """The roles that somebody works as in a database, and are bound by their privileges."""

    def __init__(self, frames: Frames, exposure: Exposure) -> None:
        self._frames, self._exposure, self._access = frames, exposure, exposure.access
        self.names = self._names()

    def lacking(self, schema: str, held: int, own: Mapping[str, int], needed: int) -> dict[int, tuple[str, ...]]:
        """Return, by what they would lack, the users who hold something through PUBLIC only and may enter the schema.

        `held` is what PUBLIC holds, `own` what each has without it, both as bits; only `needed` counts.
        """
        found: dict[int, list[str]] = {}
        for role in self.names:
            lacks = held & needed & ~own.get(role, 0)
            if lacks and self._exposure.has_usage(role, schema):
                found.setdefault(lacks, []).append(role)
        return {lacks: self.smallest(roles) for lacks, roles in found.items()}

    def smallest(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Return the roles without those that inherit from another of them."""
        roles = list(dict.fromkeys(roles))
        others = {role: self._access.memberships(role).intersection(roles) - {role} for role in roles}
        return tuple(role for role in roles if not others[role])

    def _names(self) -> tuple[str, ...]:
        access = self._access
        services = [role for role in ServiceRoles(self._frames, access) if not access.memberships(role) & MONITORS]
        reached = [other for role in services for other in sorted(access.settable(role) - access.memberships(role))]
        found = dict.fromkeys((*(role for role in self._exposure.roles if role != PUBLIC), *services, *reached))
        return tuple(role for role in found if self._is_bound(role))

    def _is_bound(self, role: str) -> bool:
        return not (self._access.is_superuser(role) or role.startswith("pg_") or role in PROVIDER_ROLES)


class Invoking:
    """What the readers of a view would need if it read as whoever asks."""

    def __init__(self, frames: Frames, users: Users, access: Access) -> None:
        self._users, self._access = users, access
        self._catalog = Catalog(frames, access) if all(name in frames for name in EXPLAINER_NEEDS) else None

    def grants(self, oid: str, place: int) -> list[str] | None:
        """Return the grants that keep everybody who reads or writes it today; None where grants are not known to do."""
        catalog = self._catalog
        if catalog is None:
            return None
        view = catalog.relations[oid]
        then = _altered(catalog, replace(view, is_security_invoker=True))
        found: dict[str, list[str]] = {}
        holders = self._holders(place)
        if len(holders) > _HOLDERS_ASKED:
            return None
        for role, bits in holders.items():
            for action in (name for name in DATA_PRIVILEGES if bits & mask((name,))):
                needed = _needed(catalog, then, _question(catalog, role, action, view))
                if needed is None:
                    return None
                for statement in needed:
                    found.setdefault(statement.removesuffix(f" to {quoted(role)}"), []).append(quoted(role))
        return [f"{grant} to {', '.join(dict.fromkeys(roles))}" for grant, roles in found.items()]

    def _holders(self, place: int) -> dict[str, int]:
        """Return who holds what on the view: roles by themselves or through others, and through PUBLIC the users only."""
        access, found = self._access, {}
        for role in sorted(access.graph.names):
            is_public = role in self._users.names
            if access.is_superuser(role) or role.startswith("pg_") or role in PROVIDER_ROLES:
                continue
            bits = access.relation_privileges(role, public=is_public) | access.column_privileges(role, public=is_public)
            if int(bits[place]) & _DATA:
                found[role] = int(bits[place])
        return {role: bits for role, bits in found.items() if not self._is_covered(role, bits, found)}

    def _is_covered(self, role: str, bits: int, found: Mapping[str, int]) -> bool:
        """Return whether other roles among these, whose privileges the role inherits, hold all that it holds."""
        others = self._access.memberships(role).intersection(found) - {role}
        # Two roles cannot inherit from each other, so that one of them always stays.
        return not bits & _DATA & ~int(np.bitwise_or.reduce([found[other] for other in others] or [0]))


def _altered(catalog: Catalog, view: Relation) -> Catalog:
    altered = copy(catalog)
    altered.relations = {**catalog.relations, view.oid: view}
    altered.by_name = {**catalog.by_name, (str(view.schema), view.name): view}
    altered.known = {}
    return altered


def _question(catalog: Catalog, role: str, action: str, view: Relation) -> Question:
    columns = tuple(catalog.columns.get(view.oid, ())) if action in ("INSERT", "UPDATE") else None
    return Question(role, action, view.qualified, columns=("*",) if action == "SELECT" else columns)


def _needed(today: Catalog, then: Catalog, question: Question) -> list[str] | None:
    """Return the grants that the question would need; none where it is refused today, and None where grants do not do."""
    if any(gate.status == "failed" and not gate.is_silent for gate in _behind_login(explained(today, question))):
        return []
    answer = explained(then, question)
    gates = _behind_login(answer)
    failed = [gate for gate in gates if gate.status == "failed"]
    # A policy is for people to think about.
    is_granted = all(gate.remedy and gate.name != "row security" for gate in failed)
    if not is_granted or any(gate.status == "unknown" for gate in gates):
        return None
    return [part for gate in failed if gate.remedy for part in gate.remedy.statement.split(";\n")]


def _behind_login(answer: Explanation) -> list[Gate]:
    """Return the gates of the object: a role may be acted as without a login of its own."""
    return [gate for gate in answer.gates if gate.name not in ("login", "connect")]
