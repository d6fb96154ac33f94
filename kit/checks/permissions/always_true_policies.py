"""Policies that are always true.

What it shows: tables whose row security lets an exposed role at every row, because a permissive policy for it has a
condition that every row meets: true, 1 = 1, true OR …, a column that equals itself.

Why it matters: permissive policies are joined by OR, so one that is always true makes all others idle. The table looks
protected in every list, and is not.

What to do: write the condition that a row must meet. Where everybody is meant to read the table, leave it.

Known limits: a warning where the role may write, an observation where it may only read, which is often meant. A policy
beside a restrictive one that holds for the same role and command is left out. Conditions that are always true for a
reason of the data, or inside a function, are not seen; texts are masked, so a comparison of two constant texts is told
as not examined. Exposed roles are those of kit.toml, else PUBLIC, `anon` and `authenticated`.

References: PostgreSQL manual, CREATE POLICY; Supabase splinter, 0024 "RLS policy always true".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Masks, mask
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import Exposure
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject
from kit.analyze.policies import is_always_true
from kit.analyze.service_roles import in_user_schema
from kit.checks.permissions._many import Row, by_schema, listed, placed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "column_grants", "policies", "columns")
SEVERITIES: tuple[Severity, ...] = ("warning", "info")


@dataclass(frozen=True, slots=True)
class _Policy:
    """A policy with what its conditions always are: True, False (they depend), or None (masked or unreadable)."""

    name: str
    command: str
    is_permissive: bool
    role_names: tuple[str, ...]
    position: int
    using: bool | None
    check: bool | None

    def commands(self) -> tuple[str, ...]:
        return DATA_PRIVILEGES if self.command == "ALL" else (self.command,)

    def is_open(self, command: str) -> bool:
        """Return whether the policy lets every row through for the command, as it is or as it becomes."""
        by_clause = {"SELECT": (self.using,), "DELETE": (self.using,), "INSERT": (self.check,)}
        return True in by_clause.get(command, (self.using, self.check))


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table, or per schema with many, whose policies let an exposed role at every row."""
    exposure = Exposure(frames)
    yield from exposure.not_examined()
    tables = _protected(frames)
    policies = _policies(frames, tables)
    yield Examined(len(tables))
    yield from _unread(tables, policies)
    held = {role: exposure.relation_privileges(role) for role in exposure.roles}
    found = (_judged(row, policies[row["relation_oid"]], held, exposure) for row in placed(tables))
    yield from by_schema((finding for finding in found if finding), "tables")


def _protected(frames: Frames) -> pd.DataFrame:
    relations = frames["relations"]
    has_policy = relations["relation_oid"].isin(frames["policies"]["relation_oid"])
    return relations[relations["has_row_security"].astype(bool) & has_policy & in_user_schema(relations["schema_name"])]


def _policies(frames: Frames, tables: pd.DataFrame) -> dict[str, list[_Policy]]:
    columns, policies = frames["columns"], frames["policies"]
    known = columns[columns["is_not_null"].astype(bool) & columns["relation_oid"].isin(tables["relation_oid"])]
    not_null: dict[str, set[str]] = {}
    for oid, name in zip(known["relation_oid"], known["column_name"], strict=True):
        not_null.setdefault(oid, set()).add(name)
    found: dict[str, list[_Policy]] = {}
    for row in placed(policies):
        oid = row["relation_oid"]
        found.setdefault(oid, []).append(_policy(row, not_null.get(oid, set())))
    return found


def _policy(row: Row, not_null: set[str]) -> _Policy:
    using = _worth(row["using_expression"], bool(row["has_using"]), not_null)
    # Without a WITH CHECK, what may be written is what USING says.
    check = _worth(row["check_expression"], True, not_null) if row["has_with_check"] else using
    names = (row["policy_name"], row["command"], bool(row["is_permissive"]), tuple(row["role_names"]))
    return _Policy(*names, position=int(row["position"]), using=using, check=check)


def _worth(expression: Any, is_there: bool, not_null: set[str]) -> bool | None:
    if not is_there:
        return False
    return None if pd.isna(expression) else is_always_true(expression, not_null)


def _unread(tables: pd.DataFrame, policies: Mapping[str, Sequence[_Policy]]) -> Iterator[NotExamined]:
    for row in placed(tables):
        for policy in policies[row["relation_oid"]]:
            if policy.is_permissive and None in (policy.using, policy.check):
                subject = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
                reason = "its condition was locked, is masked, or could not be read"
                yield NotExamined(f'policy "{policy.name}" of {subject.qualified}', reason)


def _judged(row: Row, policies: Sequence[_Policy], held: Mapping[str, Masks], exposure: Exposure) -> Finding | None:
    opened: dict[str, list[str]] = {}
    guilty: dict[str, _Policy] = {}
    for role, bits in held.items():
        if exposure.is_exempt(role, row["owner_name"], is_forced=bool(row["forces_row_security"])):
            continue
        for command in DATA_PRIVILEGES:
            open_ones = _open(role, command, policies, exposure) if bits[row["position"]] & mask((command,)) else []
            if open_ones:
                opened.setdefault(role, []).append(command)
                guilty |= {policy.name: policy for policy in open_ones}
    return _finding(row, opened, list(guilty.values())) if opened else None


def _open(role: str, command: str, policies: Sequence[_Policy], exposure: Exposure) -> list[_Policy]:
    """Return the permissive policies that leave the command without any condition for the role."""
    mine = [policy for policy in policies if command in policy.commands() and exposure.covers(role, policy.role_names)]
    if any(not policy.is_permissive and not policy.is_open(command) for policy in mine):
        return []
    return [policy for policy in mine if policy.is_permissive and policy.is_open(command)]


def _finding(row: Row, opened: Mapping[str, list[str]], guilty: Sequence[_Policy]) -> Finding:
    subject = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
    is_written = any(commands != ["SELECT"] for commands in opened.values())
    told = "; ".join(f"{_who(role)} may {', '.join(commands)}" for role, commands in opened.items())
    names = [f'"{policy.name}"' for policy in guilty]
    verb = "is" if len(guilty) == 1 else "are"
    return Finding(
        severity="warning" if is_written else "info",
        subject=subject,
        message=f"on table {subject.qualified} {told} without a condition: {listed(names)} {verb} always true",
        remedy=f"For each of these policies write the condition that a row must meet: ALTER POLICY … ON {subject.qualified} "
        "USING (the rows that may be seen or changed) WITH CHECK (the rows that may be written). "
        "Or drop it, if another policy says so already. If the table is public on purpose, leave its policy for SELECT.",
        evidence=("policies", tuple(sorted(policy.position for policy in guilty))),
        value=float(len(guilty)),
        unit="policies",
        relations=frozenset({row["relation_name"]}),
    )


def _who(role: str) -> str:
    return "every role" if role == "public" else f'"{role}"'
