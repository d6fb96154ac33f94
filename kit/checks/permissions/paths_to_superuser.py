"""Paths to superuser.

What it shows: login roles that are no superusers and can become one, or can run programs or read and write files on the
server's machine (pg_execute_server_program, pg_write_server_files, pg_read_server_files), along any chain of inherited
memberships, SET ROLE, ADMIN options and, up to PostgreSQL 15, CREATEROLE.

Why it matters: whoever gets hold of such a role's password, or of the service that uses it, has the whole server. A
chain of three grants, each harmless in itself, is seen by nobody.

What to do: cut the chain where it is not meant to go on. The remedy cuts its last link, which every role on the chain
loses; often it is the first that should go.

Known limits: only the shortest path to each power is told; after the cut there may be another. Not followed: functions
with the rights of a superuser that owns them, foreign servers, untrusted languages, and passwords that a role with
CREATEROLE may change. Providers of hosted databases forbid some steps (granting pg_execute_server_program, for example)
by changes of their own, which no catalog shows.

References: PostgreSQL manual, 21.3 "Role Membership", 21.5 "Predefined Roles", and the release notes of 16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pandas as pd

from kit.analyze.access.powers import NEEDS as POWER_NEEDS
from kit.analyze.access.powers import SERVER_ROLES, paths_to_power
from kit.analyze.changes import Record, records
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import positions
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = POWER_NEEDS
SEVERITIES: tuple[Severity, ...] = ("warning",)

_SHOWN = {"inherit": "inherits", "set role": "SET ROLE", "admin option": "may grant itself, by ADMIN OPTION"}
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
    first, *more = paths
    steps = first["how"].split(", ")
    others = ", ".join(quoted(row["reaches"]) for row in more)
    return Finding(
        severity="warning",
        subject=Subject(kind="role", name=role),
        message=f"login role {quoted(role)} reaches {_power(first['reaches'])}: {_chain(first['path'], steps)}"
        + (f"; it also reaches {others}" if others else ""),
        remedy=_remedy(first["path"], steps[-1], frames),
        evidence=_evidence(first["path"], frames),
        value=float(len(steps)),
        unit="steps",
    )


def _power(name: str) -> str:
    return quoted(name) if name in SERVER_ROLES else f"superuser {quoted(name)}"


def _chain(path: list[str], steps: list[str]) -> str:
    links = [f" -> {quoted(name)} ({_SHOWN[step]})" for name, step in zip(path[1:], steps, strict=True)]
    return quoted(path[0]) + "".join(links)


def _remedy(path: list[str], step: str, frames: Frames) -> str:
    """Return what takes away the last link, from every role that has granted it."""
    member, group = path[-2:]
    if step == "createrole":
        return f"alter role {quoted(member)} nocreaterole"
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
