"""Misdirected default privileges.

What it shows: default privileges on tables that were set for a creator who owns no table there, while the tables are
created by another role, for which nothing is set. The subject is the grantee in the schema, written schema.role.

Why it matters: ALTER DEFAULT PRIVILEGES without FOR ROLE speaks only of tables that the role who types it will create
later. Typed by an administrator, it has no effect on what the migrator creates, and gives no warning: each
migration closes its new tables to the service again.

What to do: set the same for the role that creates the tables. Default privileges change nothing that exists: grant the
existing tables too (see unreadable_tables).

Known limits: who will create tables is read from who owns the tables of today; a creator who has made none yet is
taken for a wrong one. Only default privileges on tables are judged, not on sequences, functions, types or schemas.

References: PostgreSQL manual, ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema, positions
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = ("roles", "relations", "default_privileges")
SEVERITIES: tuple[Severity, ...] = ("warning",)
EXPLAINS = ("42501",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per grantee and schema whose default privileges wait for the wrong creator."""
    entries = _grants(frames)
    for (grantee, place), rows in entries.groupby(["grantee", "place"]):
        yield Examined(1)
        owners = _owners(str(place), frames)
        creators = set(rows["creator_name"])
        missing = owners - {str(grantee)} - _creators(str(grantee), str(place), entries)
        if missing and creators.isdisjoint(owners):
            yield _finding(str(grantee), str(place), rows, sorted(missing))


def _grants(frames: Frames) -> pd.DataFrame:
    """Return the entries that mean to give somebody something on tables."""
    roles, entries = frames["roles"], frames["default_privileges"]
    superusers = roles.loc[roles["is_superuser"].astype(bool), "role_name"]
    # PUBLIC gets the name that no role can have; a creator's own rights are no grant to anybody.
    entries = entries.assign(grantee=entries["grantee_name"].fillna("public"), place=entries["schema_name"].fillna(""))
    is_grant = (entries["object_kind"] == "table") & (entries["creator_name"] != entries["grantee"])
    is_empty = entries["privileges"].map(len).astype(int) == 0
    return entries[is_grant.astype(bool) & ~is_empty & ~entries["grantee"].isin(superusers)]


def _owners(place: str, frames: Frames) -> set[str]:
    """Return who owns the tables of the schema, or of all schemas of the users."""
    relations = frames["relations"]
    chosen = relations["schema_name"] == place if place else in_user_schema(relations["schema_name"])
    is_table = relations["kind"].isin(["table", "partitioned table"])
    return set(relations.loc[chosen.astype(bool) & is_table, "owner_name"])


def _creators(grantee: str, place: str, entries: pd.DataFrame) -> set[str]:
    """Return for whom default privileges of the grantee are set in this schema; those for all schemas count too."""
    covering = (entries["grantee"] == grantee) & entries["place"].isin([place, ""])
    return set(entries.loc[covering.astype(bool), "creator_name"])


def _finding(grantee: str, place: str, rows: pd.DataFrame, owners: list[str]) -> Finding:
    creators, makers = _listed(rows["creator_name"]), _listed(owners)
    privileges = ", ".join(sorted({name.lower() for names in rows["privileges"] for name in names}))
    where = f" in schema {quoted(place)}" if place else ""
    remedies = [
        f"alter default privileges for role {quoted(owner)}{where} grant {privileges} on tables to {quoted(grantee)}"
        for owner in owners
    ]
    return Finding(
        severity="warning",
        subject=Subject(kind="role", name=grantee, schema=place or None),
        message=f'default privileges{where} for role "{grantee}" hold for tables created by {creators}, but the tables '
        f"there are created by {makers}, so they have no effect",
        remedy=";\n".join(remedies),
        evidence=("default_privileges", positions(rows)),
    )


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f'"{name}"' for name in sorted(set(names)))
