"""Memberships without inheritance.

What it shows: a role with the INHERIT attribute that is a member of another role by a grant WITH INHERIT FALSE, while
that other role holds privileges on relations and schemas which the member lacks. Only PostgreSQL 16 and later have such
grants.

Why it matters: from 16 on each grant says whether it inherits; the attribute of the role matters only at the moment of
the grant. A role that was NOINHERIT then (or came so through an upgrade) gets nothing from a later ALTER ROLE … INHERIT,
which up to 15 was enough: "permission denied" (42501) for what the roles' lists seem to give. createrole_self_grant =
'set' makes such grants too.

What to do: grant the membership again WITH INHERIT TRUE; or, where the privileges are meant for SET ROLE only, say so
by ALTER ROLE … NOINHERIT on the member.

Known limits: a grant that leaves out inheritance on purpose looks the same: a warning, unless the symptom names the
member, or a relation that was granted to the other role by somebody (not one that it owns: to act as an owner by SET
ROLE is a usual design). Left out are the grants of a creator on the roles it made (ADMIN only, neither INHERIT nor SET),
memberships in superusers, and privileges on functions, types and databases. What an upgrade of 13 to 15 will change is
not forecast: memberships arrive as the attribute stands.

References: PostgreSQL manual, GRANT ("GRANT on Roles"), createrole_self_grant, and the release notes of 16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access, Flags, Masks
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema, positions, symptom_names
from kit.checks.permissions._many import listed
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "column_grants")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42501", "42P01")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per role that has to SET ROLE for what it seems to inherit."""
    access = Access(frames)
    memberships = frames["role_memberships"]
    yield Examined(len(memberships))
    for member, rows in memberships[_is_bare(frames)].groupby("member_name"):
        lost = dict(_lost(str(member), rows, frames, access))
        if lost:
            yield _finding(str(member), lost, rows[rows["role_name"].isin(lost)], frames)


def _is_bare(frames: Frames) -> pd.Series:
    """Return which memberships give nothing by themselves, though the member is one that inherits."""
    roles, memberships = frames["roles"], frames["role_memberships"]
    inheriting = roles["inherits"].astype(bool) & ~roles["is_superuser"].astype(bool)
    is_member = memberships["member_name"].isin(roles.loc[inheriting, "role_name"])
    # The creator's own grant, by which it administers what it has made.
    is_admin_only = memberships["has_admin_option"].astype(bool) & ~memberships["can_set"].astype(bool)
    return is_member & ~memberships["inherits"].astype(bool) & ~is_admin_only


def _lost(member: str, rows: pd.DataFrame, frames: Frames, access: Access) -> Iterator[tuple[str, Flags]]:
    """Yield each group that has more than its member, and on which relations; none where it is only schemas."""
    is_user = in_user_schema(frames["relations"]["schema_name"]).to_numpy(dtype=np.bool_)
    for group in (str(name) for name in rows["role_name"].unique()):
        # Inherited by another way, or a superuser's, whose privileges would be everything.
        if group in access.memberships(member) or access.is_superuser(group):
            continue
        relations = _more(_relation_bits(group, access), _relation_bits(member, access)) & is_user
        if relations.any() or _more(access.schema_privileges(group), access.schema_privileges(member)).any():
            yield group, relations


def _relation_bits(role: str, access: Access) -> Masks:
    return access.relation_privileges(role) | access.column_privileges(role)


def _more(bits: Masks, others: Masks) -> Flags:
    flags: Flags = np.not_equal(bits & ~others, 0)
    return flags


def _finding(member: str, lost: Mapping[str, Flags], rows: pd.DataFrame, frames: Frames) -> Finding:
    relations = frames["relations"]
    hidden = relations[np.logical_or.reduce(list(lost.values()))]
    # What a group owns is often kept for SET ROLE on purpose.
    granted = hidden[~hidden["owner_name"].isin(lost)]
    groups = listed([quoted(name) for name in lost])
    held = f"{len(hidden)} {'relation' if len(hidden) == 1 else 'relations'}" if len(hidden) else "schemas"
    return Finding(
        severity="critical" if symptom_names(frames, [member, *granted["relation_name"]]) else "warning",
        subject=Subject(kind="role", name=member),
        message=f"role {quoted(member)} has INHERIT, but its membership in {groups} was granted without: what {groups} may do "
        f"with {held} is out of its reach without SET ROLE",
        remedy=";\n".join(f"grant {quoted(name)} to {quoted(member)} with inherit true" for name in lost),
        evidence=("role_memberships", positions(rows)),
        value=float(len(hidden)),
        unit="relations",
        relations=frozenset(hidden["relation_name"]),
    )
