"""Tables without policies.

What it shows: tables with row security enabled and no permissive policy, on which roles hold privileges that row
security applies to.

Why it matters: without a permissive policy the default is to deny. A query gives zero rows and no error; an INSERT
fails with "new row violates row-level security policy" (42501). A service then looks healthy and finds nothing.

What to do: decide which rows each role may see, and write a policy that says so. Where nobody but the owner is meant to
use the table, revoke the privileges, so that a mistake is an error instead of silence.

Known limits: a warning, because it may be on purpose; critical where the symptom names the table. Whether a policy
that exists lets the right rows through is not judged. Owners, superusers and roles with BYPASSRLS are not counted. Schemas
that belong to a role of a provider (supabase_admin, supabase_storage_admin, rdsadmin and their kin: auth, storage, realtime
on Supabase) are the provider's to judge, and left out.

References: PostgreSQL manual, 5.9 "Row Security Policies", and CREATE POLICY.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Access, mask
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject
from kit.analyze.service_roles import in_own_schema, positions, symptom_names
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "policies")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42501", "02000")

_NAMES_SHOWN = 5


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table that shows nothing to roles which may query it."""
    relations, policies = frames["relations"], frames["policies"]
    protected = relations[relations["has_row_security"].astype(bool) & in_own_schema(frames, relations["schema_name"])]
    permissive = policies.loc[policies["is_permissive"].astype(bool), "relation_oid"]
    silent = protected[~protected["relation_oid"].isin(permissive)]
    yield Examined(len(protected))
    if len(silent):
        access = Access(frames)
        roles = _bound_roles(frames)
        for position, row in silent.iterrows():
            blind = [role for role in roles if _is_blind(role, int(str(position)), row, access)]
            if blind:
                yield _finding(row, blind, silent.loc[[position]], frames)


def _bound_roles(frames: Frames) -> list[str]:
    roles = frames["roles"]
    bypassing = roles["bypasses_row_security"].astype(bool) | roles["is_superuser"].astype(bool)
    bypassing |= roles["role_name"].str.startswith("pg_").astype(bool)
    return list(roles.loc[~bypassing, "role_name"])


def _is_blind(role: str, position: int, row: pd.Series, access: Access) -> bool:
    is_exempt = row["owner_name"] in access.memberships(role) and not row["forces_row_security"]
    holds = access.relation_privileges(role)[position] & mask(DATA_PRIVILEGES)
    return bool(holds) and not is_exempt and access.has_schema_privilege(role, row["schema_name"], "USAGE")


def _finding(row: pd.Series, blind: list[str], rows: pd.DataFrame, frames: Frames) -> Finding:
    policies = frames["policies"]
    restrictive = int((policies["relation_oid"] == row["relation_oid"]).sum())
    subject = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
    shown = ", ".join(f'"{name}"' for name in blind[:_NAMES_SHOWN])
    more = f" and {len(blind) - _NAMES_SHOWN} more roles" if len(blind) > _NAMES_SHOWN else ""
    why = f"only restrictive policies ({restrictive})" if restrictive else "no policy"
    return Finding(
        severity="critical" if symptom_names(frames, [row["relation_name"]]) else "warning",
        subject=subject,
        message=f"table {subject.qualified} has row security and {why}: {shown}{more} may query it and get zero rows",
        remedy=f"Decide which rows each role may see, then write CREATE POLICY … ON {subject.qualified} FOR SELECT TO "
        "the role USING (the condition), and one WITH CHECK for what it may write. Do not disable row security instead.",
        evidence=("relations", positions(rows)),
        value=float(len(blind)),
        unit="roles",
        relations=frozenset({row["relation_name"]}),
    )
