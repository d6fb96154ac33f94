"""Policies without row security.

What it shows: tables that have policies while row security is not enabled on them.

Why it matters: policies are not looked at until row security is enabled. Whoever wrote them believes that rows are
protected, and every role with SELECT sees all of them.

What to do: enable row security, after making sure that the policies let through what each role needs: from that
moment on all other rows are hidden from everybody but the owner, superusers and roles with BYPASSRLS. Where no policy is
for a role that uses the table today, the remedy is in words and names the role.

Known limits: policies written in advance, to be enabled later, look the same.

References: PostgreSQL manual, 5.9 "Row Security Policies", and ALTER TABLE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, mask
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import Exposure
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.policies import truth
from kit.analyze.service_roles import positions
from kit.analyze.users import Users
from kit.checks.permissions._many import Row, listed, placed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "policies", "column_grants", "default_privileges")
SEVERITIES: tuple[Severity, ...] = ("warning",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table whose policies are not in force."""
    relations, policies = frames["relations"], frames["policies"]
    by_table = {str(oid): rows for oid, rows in policies.groupby("relation_oid")}
    tables = relations[relations["relation_oid"].isin(list(by_table))]
    yield Examined(len(tables))
    idle = tables[~tables["has_row_security"].astype(bool)]
    if len(idle):
        exposure = Exposure(frames)
        users = Users(frames, exposure).names
        for row in placed(idle):
            mine = by_table[row["relation_oid"]]
            yield _finding(row, mine, _shut_out(row, mine, users, exposure))


def _finding(row: Row, mine: pd.DataFrame, shut_out: list[str]) -> Finding:
    subject = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
    enable = f"alter table {subject.qualified} enable row level security"
    words = f"Write policies for {listed(shut_out)}, who would be left nothing by those that are there, and then: {enable}"
    return Finding(
        severity="warning",
        subject=subject,
        message=f"row security of table {subject.qualified} is not enabled, so its {len(mine)} "
        f"{'policy is' if len(mine) == 1 else 'policies are'} not in force",
        remedy=words if shut_out else enable,
        evidence=("policies", positions(mine)),
        value=float(len(mine)),
        unit="policies",
        relations=frozenset({row["relation_name"]}),
    )


def _shut_out(row: Row, policies: pd.DataFrame, users: Iterable[str], exposure: Exposure) -> list[str]:
    """Return who uses the table today, and would be left nothing for a part of what they may do."""
    found = []
    permissive = policies[policies["is_permissive"].astype(bool)].to_dict("records")
    for role in users:
        is_exempt = exposure.is_exempt(role, row["owner_name"], is_forced=bool(row["forces_row_security"]))
        held = 0 if is_exempt else int(exposure.relation_privileges(role)[row["position"]])
        for command in (name for name in DATA_PRIVILEGES if held & mask((name,))):
            if not any(_opens(policy, command, role, exposure) for policy in permissive):
                found.append(f"{quoted(role)} ({command})")
    return found


def _opens(policy: Row, command: str, role: str, exposure: Exposure) -> bool:
    is_for_it = policy["command"] in ("ALL", command) and exposure.covers(role, policy["role_names"])
    clause = "check" if command == "INSERT" and policy["has_with_check"] else "using"
    expression = policy[f"{clause}_expression"]
    has_clause = policy["has_with_check"] if clause == "check" else policy["has_using"]
    return is_for_it and bool(has_clause) and (pd.isna(expression) or truth(expression) is not False)
