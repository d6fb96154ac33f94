"""Paths to superuser.

What it shows: login roles that are no superusers and can become one, or can run programs or read and write files on the
server's machine (pg_execute_server_program, pg_write_server_files, pg_read_server_files), along any chain of inherited
memberships, SET ROLE, ADMIN options and, up to PostgreSQL 15, CREATEROLE.

Why it matters: whoever gets hold of such a role's password, or of the service that uses it, has the whole server. A
chain of three grants, each harmless in itself, is seen by nobody.

What to do: cut the chain where it is not meant to go on. The remedy cuts its last link, which every role on the chain
loses; often it is the first that should go. An administrator's CREATEROLE, up to PostgreSQL 15, is such a power by its
nature: leave it, and let no service log in as that role.

Known limits: only the shortest path to each power is told; after the cut there may be another. Not followed: functions
with the rights of a superuser that owns them, foreign servers, untrusted languages, and passwords that a role with
CREATEROLE may change. Providers of hosted databases forbid some steps (granting pg_execute_server_program, for example)
by changes of their own, which no catalog shows: where a provider's role exists (rdsadmin, cloudsqladmin, supabase_admin and
their kin), a path by CREATEROLE, or by a membership that such a role gave, is an observation.

References: PostgreSQL manual, 21.3 "Role Membership", 21.5 "Predefined Roles", and the release notes of 16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pandas as pd

from kit.analyze.access.powers import NEEDS as POWER_NEEDS
from kit.analyze.access.powers import SERVER_ROLES, paths_to_power
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import PROVIDER_ROLES, is_hosted, positions
from kit.evidence.model import Frames
from kit.evidence.records import Record, records

LAYER: Layer = "privileges"
NEEDS = POWER_NEEDS
SEVERITIES: tuple[Severity, ...] = ("warning", "info")

_SHOWN = {"inherit": "inherits", "set role": "SET ROLE", "admin option": "may grant itself, by ADMIN OPTION"}
_CREATEROLE = (
    "Up to PostgreSQL 15 whoever has CREATEROLE can give itself these powers. If {role} is the administrator, leave it as it is, "
    "keep its password from services and people who do not administer, and have services log in as a role of their own. If "
    "{role} is a service, have another role create roles, and then take CREATEROLE from it."
)
_SHOWN["createrole"] = "may grant itself, by CREATEROLE"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per login role with such a path, about the greatest power in its reach."""
    roles = frames["roles"]
    yield Examined(int((roles["can_login"].astype(bool) & ~roles["is_superuser"].astype(bool)).sum()))
    for role, rows in paths_to_power(frames).groupby("role_name"):
        yield _finding(str(role), sorted(records(rows), key=_greatest), frames)


def _greatest(row: Record) -> tuple[int, int]:
    """Return the order of the powers: superusers first, then by what can be done; the shorter path first."""
    return SERVER_ROLES.index(row["reaches"]) + 1 if row["reaches"] in SERVER_ROLES else 0, len(row["path"])


def _finding(role: str, paths: list[Record], frames: Frames) -> Finding:
    # What the provider keeps from the role is no path to begin with.
    paths = sorted(paths, key=lambda row: is_hosted(frames) and _is_provided(row, frames))
    first, *more = paths
    steps = first["how"].split(", ")
    others = ", ".join(quoted(row["reaches"]) for row in more)
    return Finding(
        severity="info" if is_hosted(frames) and all(_is_provided(row, frames) for row in paths) else "warning",
        subject=Subject(kind="role", name=role),
        message=f"login role {quoted(role)} reaches {_power(first['reaches'])}: {_chain(first['path'], steps)}"
        + (f"; it also reaches {others}" if others else ""),
        remedy=_remedy(first["path"], steps, frames),
        evidence=_evidence(first["path"], frames),
        value=float(len(steps)),
        unit="steps",
    )


def _is_provided(row: Record, frames: Frames) -> bool:
    """Return whether the path is one that a provider gives its customer's administrator, and closes by other means."""
    grantors = _links(row["path"][-2:], frames)["grantor_name"]
    return "createrole" in row["how"].split(", ") or (len(grantors) > 0 and bool(grantors.isin(PROVIDER_ROLES).all()))


def _power(name: str) -> str:
    return quoted(name) if name in SERVER_ROLES else f"superuser {quoted(name)}"


def _chain(path: list[str], steps: list[str]) -> str:
    links = [f" -> {quoted(name)} ({_SHOWN[step]})" for name, step in zip(path[1:], steps, strict=True)]
    return quoted(path[0]) + "".join(links)


def _remedy(path: list[str], steps: list[str], frames: Frames) -> str:
    """Return what takes away the last link, from every role that has granted it; words where an administrator may need it."""
    member, group = path[-2:]
    step = steps[-1]
    if "createrole" in steps:
        member = path[steps.index("createrole")]
        return _CREATEROLE.format(role=quoted(member))
    option = "admin option for " if step == "admin option" else ""
    revoke = f"revoke {option}{quoted(group)} from {quoted(member)}"
    version = frames.identity.server_version if frames.identity else 0
    rows = _links([member, group], frames)
    grantors = rows["grantor_name"].dropna().tolist() if version >= 160_000 else []
    # From 16 on each grantor's membership is one of its own, and REVOKE takes away a single one.
    return ";\n".join(f"{revoke} granted by {quoted(name)}" for name in grantors) or revoke


def _links(path: list[str], frames: Frames) -> pd.DataFrame:
    """Return the memberships that the path goes along."""
    memberships = frames["role_memberships"]
    pairs = set(pairwise(path))
    on_path = [pair in pairs for pair in zip(memberships["member_name"], memberships["role_name"], strict=True)]
    return memberships[pd.Series(on_path, index=memberships.index, dtype=bool)]


def _evidence(path: list[str], frames: Frames) -> tuple[str, tuple[int, ...]]:
    links = _links(path, frames)
    if len(links):
        return "role_memberships", positions(links)
    roles = frames["roles"]
    return "roles", positions(roles[roles["role_name"] == path[0]])
