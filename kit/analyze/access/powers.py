"""Which login roles can become superuser or act on the server's machine, and along which path.

PostgreSQL manual: 21.3 "Role Membership", 21.5 "Predefined Roles", and GRANT. Measured on 13 to 18: SET ROLE follows
SET options only; what is inherited can use an ADMIN option but not SET ROLE any further; nobody but a superuser may
grant a superuser's role; who merely inherits the first superuser's role owns its functions, and so all it can do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from kit.evidence.model import Frames

NEEDS = ("roles", "role_memberships")
COLUMNS = ("role_name", "reaches", "how", "path")
SERVER_ROLES = ("pg_execute_server_program", "pg_write_server_files", "pg_read_server_files")

How = Literal["set role", "inherit", "admin option", "createrole"]


@dataclass(frozen=True, slots=True)
class _Place:
    """A role that was reached: by `acting` as it, or by having its privileges only."""

    role: str
    is_acting: bool


@dataclass(frozen=True, slots=True)
class _Way:
    """How a place was reached: the roles on the way, itself among them, and the steps between them."""

    roles: tuple[str, ...]
    steps: tuple[How, ...] = ()

    def on(self, role: str, step: How) -> _Way:
        return _Way((*self.roles, role), (*self.steps, step))


@dataclass(frozen=True, slots=True)
class _Membership:
    group: str
    inherits: bool
    can_set: bool
    has_admin_option: bool


def paths_to_power(frames: Frames) -> pd.DataFrame:
    """Return one row per login role and power in its reach: a superuser, or a role that acts on the server's machine.

    `path` is the shortest chain of roles, from the login role to the power, and `how` its steps: `inherit`, `set role`,
    `admin option` (it may grant the role to itself) or `createrole` (so may it any role, up to 15). Superusers who log
    in themselves are left out.
    """
    steps = _Steps(frames)
    roles = frames["roles"]
    logins = roles.loc[roles["can_login"].astype(bool) & ~roles["is_superuser"].astype(bool), "role_name"]
    ways = ((str(role), power, way) for role in logins for power, way in _reached(role, steps).items())
    rows = [(role, power, ", ".join(way.steps), list(way.roles)) for role, power, way in ways]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _reached(role: str, steps: _Steps) -> dict[str, _Way]:
    """Return the shortest way to every power that the role can reach."""
    start = _Place(role, is_acting=True)
    ways = {start: _Way((role,))}
    found: dict[str, _Way] = {}
    waiting = [start]
    for place in waiting:
        # The attribute itself is never inherited: of two ways to a superuser SET ROLE is the plain one.
        if place.role in steps.powers and (place.role not in found or _is_plainer(place, ways[place], found[place.role], steps)):
            found[place.role] = ways[place]
        if place.role in steps.superusers:
            continue
        for step, next_place in steps.of(place):
            if next_place not in ways:
                ways[next_place] = ways[place].on(next_place.role, step)
                waiting.append(next_place)
    return found


def _is_plainer(place: _Place, way: _Way, other: _Way, steps: _Steps) -> bool:
    return place.role in steps.superusers and place.is_acting and len(way.steps) == len(other.steps)


class _Steps:
    """Where one can go from a role."""

    def __init__(self, frames: Frames) -> None:
        roles = frames["roles"]
        self._names = sorted(roles["role_name"])
        self.superusers = frozenset(roles.loc[roles["is_superuser"].astype(bool), "role_name"])
        self.powers = self.superusers.union(SERVER_ROLES)
        self._creators = _creators(roles, frames)
        self._memberships = _memberships(frames["role_memberships"])

    def of(self, place: _Place) -> Iterator[tuple[How, _Place]]:
        """Yield each step and the place it leads to; what needs no further grant comes first."""
        memberships = self._memberships.get(place.role, [])
        for membership in memberships:
            yield from self._existing(membership, place)
        for membership in memberships:
            if membership.has_admin_option and membership.group not in self.superusers:
                yield "admin option", _Place(membership.group, is_acting=True)
        if place.is_acting and place.role in self._creators:
            yield from (("createrole", _Place(name, is_acting=True)) for name in self._names if name not in self.superusers)

    def _existing(self, membership: _Membership, place: _Place) -> Iterator[tuple[How, _Place]]:
        if membership.inherits:
            yield "inherit", _Place(membership.group, is_acting=False)
        if membership.can_set and place.is_acting:
            yield "set role", _Place(membership.group, is_acting=True)


def _creators(roles: pd.DataFrame, frames: Frames) -> frozenset[str]:
    """Return who may grant any role but a superuser's: from 16 on CREATEROLE gives no more than ADMIN options do."""
    version = frames.identity.server_version if frames.identity else 0
    return frozenset() if version >= 160_000 else frozenset(roles.loc[roles["can_create_role"].astype(bool), "role_name"])


def _memberships(frame: pd.DataFrame) -> Mapping[str, list[_Membership]]:
    found: dict[str, list[_Membership]] = defaultdict(list)
    for row in frame.itertuples():
        found[row.member_name].append(
            _Membership(row.role_name, bool(row.inherits), bool(row.can_set), bool(row.has_admin_option))
        )
    return found
