"""Sequences without USAGE.

What it shows: a role that may INSERT into a table, while a column of it takes its default from a sequence (serial,
bigserial, nextval) on which the role has neither USAGE nor UPDATE. The subject is the role that INSERT was granted to,
in the sequence's schema, written schema.role.

Why it matters: the table is granted, reads and updates work, and the first INSERT fails with "permission denied for
sequence" (42501). GRANT … ON ALL TABLES gives nothing on sequences, nor do default privileges on tables.

What to do: grant USAGE on the sequence, and set default privileges ON SEQUENCES for the role that creates the tables;
or turn the columns into identity columns.

Known limits: identity columns are no findings: the server asks for no privilege on their sequence. An INSERT that
gives the value itself does not touch the sequence. Not seen are sequences that a default reaches by their name as text,
or in a function, and INSERTs through a view, for which the view's user needs USAGE too. A warning where only PUBLIC may
INSERT. Roles are judged that log in to this database, and those that one of them can only reach by SET ROLE.

References: PostgreSQL manual, 5.8 "Privileges", GRANT, and 8.1.4 "Serial Types".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access, mask
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import ServiceRoles, in_user_schema, positions, symptom_names
from kit.checks.permissions._many import listed
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "sequence_uses", "default_privileges", "column_grants")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42501",)

_INSERT, _NEXTVAL = mask(("INSERT",)), mask(("USAGE", "UPDATE"))


@dataclass(slots=True)
class _Refusal:
    """The uses of sequences that one grantee lacks in one schema, and for whom."""

    uses: set[int] = field(default_factory=set)
    roles: dict[str, None] = field(default_factory=dict)
    is_meant: bool = False


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per grantee and schema with sequences that its inserts need and may not use."""
    access, uses = Access(frames), _uses(frames)
    grantees = _grantees(frames)
    found: dict[tuple[str, str], _Refusal] = {}
    for role in _roles(frames, access):
        yield Examined(1)
        closed, memberships = _closed(role, uses, access), access.memberships(role)
        for position, oid, schema in zip(closed.index, closed["relation_oid"], closed["sequence_schema_name"], strict=True):
            granted = grantees.get(oid, frozenset()) & memberships
            # What only PUBLIC may do is no sign that it was meant.
            for grantee in granted or {role}:
                refusal = found.setdefault((grantee, schema), _Refusal())
                refusal.uses.add(position)
                refusal.roles[role] = None
                refusal.is_meant |= bool(granted)
    for (grantee, schema), refusal in sorted(found.items()):
        yield _finding(grantee, schema, refusal, frames)


def _grantees(frames: Frames) -> dict[str, frozenset[str]]:
    """Return, by relation, the roles that INSERT was granted to, on it or a column of it; its owner among them."""
    relations = frames["relations"]
    owned = relations.loc[relations["has_default_acl"].astype(bool), ["relation_oid", "owner_name"]]
    pairs = [*zip(owned["relation_oid"], owned["owner_name"], strict=True)]
    for name in ("relation_grants", "column_grants"):
        rows = frames[name].dropna(subset=["grantee_name"])
        rows = rows[rows["privileges"].map(lambda privileges: "INSERT" in privileges).astype(bool)]
        pairs += zip(rows["relation_oid"], rows["grantee_name"], strict=True)
    found: dict[str, set[str]] = {}
    for oid, grantee in pairs:
        found.setdefault(oid, set()).add(grantee)
    return {oid: frozenset(names) for oid, names in found.items()}


def _uses(frames: Frames) -> pd.DataFrame:
    """Return the defaults that call nextval, with the places of their table and sequence among the relations."""
    uses, oids = frames["sequence_uses"], frames["relations"]["relation_oid"]
    places = {oid: place for place, oid in enumerate(oids)}
    uses = uses.assign(table=uses["relation_oid"].map(places), sequence=uses["sequence_oid"].map(places))
    # One of the two may have been made or dropped between the two queries.
    is_known = uses["table"].notna() & uses["sequence"].notna()
    uses = uses[(uses["how"] == "default") & is_known & in_user_schema(uses["schema_name"])]
    return uses.astype({"table": int, "sequence": int})


def _roles(frames: Frames, access: Access) -> list[str]:
    """Return the login roles of this database, and whom they can become by SET ROLE only."""
    services = list(ServiceRoles(frames, access))
    others = {name for role in services for name in access.settable(role) - access.memberships(role)}
    return services + sorted(name for name in others - set(services) if not _is_exempt(name, access))


def _is_exempt(role: str, access: Access) -> bool:
    return access.is_superuser(role) or role.startswith("pg_")


def _closed(role: str, uses: pd.DataFrame, access: Access) -> pd.DataFrame:
    relations = access.relation_privileges(role)
    inserts = (relations | access.column_privileges(role))[uses["table"]] & _INSERT
    closed = uses[np.not_equal(inserts, 0) & np.equal(relations[uses["sequence"]] & _NEXTVAL, 0)]
    schemas = {str(name) for name in closed["schema_name"].unique()}
    entered = {name for name in schemas if access.has_schema_privilege(role, name, "USAGE")}
    return closed[closed["schema_name"].isin(entered)]


def _finding(grantee: str, schema: str, refusal: _Refusal, frames: Frames) -> Finding:
    rows = frames["sequence_uses"].loc[sorted(refusal.uses)]
    sequences = [f"{quoted(schema)}.{quoted(name)}" for name in rows["sequence_name"].unique()]
    tables = [
        f"{quoted(row.schema_name)}.{quoted(row.relation_name)}" for row in rows.drop_duplicates("relation_oid").itertuples()
    ]
    relations = frozenset({*rows["relation_name"], *rows["sequence_name"]})
    others = [quoted(role) for role in refusal.roles if role != grantee]
    through = f" (and through it {listed(others)})" if others else ""
    return Finding(
        severity="critical" if refusal.is_meant or symptom_names(frames, relations) else "warning",
        subject=Subject(kind="role", name=grantee, schema=schema),
        message=f"role {quoted(grantee)}{through} may insert into {listed(tables)}, whose defaults take values of sequences "
        f"on which it has no USAGE: {listed(sequences)}",
        remedy=f"grant usage on sequence {', '.join(sequences)} to {quoted(grantee)}",
        evidence=("sequence_uses", positions(rows)),
        value=float(len(sequences)),
        unit="sequences",
        relations=relations,
    )
