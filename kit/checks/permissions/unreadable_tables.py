"""Tables a service cannot read.

What it shows: tables on which a service role has no privilege at all (SELECT, INSERT, UPDATE, DELETE, of the table or a
column), in a schema that it is meant to use. The subject is the role in the schema, written schema.role.

Why it matters: a table belongs to the role that created it and to nobody else. Where a migration runs as another role
than the service, each new table is closed to the service until somebody grants it: "permission denied for table"
(42501).

What to do: grant what the remedy says; then make the grant happen by itself for future tables with default privileges
of the role that creates them (see misdirected_default_privileges).

Known limits: what a role is meant to reach is inferred. Critical: default privileges name the role (or a role it
belongs to) for the schema, or its own search_path names the schema and it holds nothing there, or the symptom names one
of the tables. A warning: its own search_path names the schema and it holds privileges on other tables in it, which may
be on purpose. Partitions (reached through their parent), views, and ledgers of migration tools are left out. USAGE on
the schema is another privilege (see schemas_without_usage).

References: PostgreSQL manual, 5.8 "Privileges", and ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access import DATA_PRIVILEGES, Access, mask, names
from kit.analyze.access import NEEDS as ACCESS_NEEDS
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import ServiceRoles, in_user_schema, positions, symptom_names
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "settings", "default_privileges", "column_grants")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42501",)

_NAMES_SHOWN = 5


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per role and schema with tables that are closed to the role."""
    access = Access(frames)
    roles = ServiceRoles(frames, access)
    tables = _service_tables(frames)
    for role in roles:
        path = access.search_path(role)
        yield Examined(1) if path.is_known else NotExamined(role, "its search_path is masked or cannot be read")
        closed = tables[access.unreachable(role)[tables.index]]
        for schema, rows in closed.groupby("schema_name"):
            severity = _severity(role, str(schema), rows, roles, access, frames)
            if severity:
                yield _finding(role, str(schema), rows, severity, access, frames)


def _service_tables(frames: Frames) -> pd.DataFrame:
    """Return the tables that a service may be meant to use, with their places in the evidence."""
    relations = frames["relations"]
    ledgers = frames["migration_ledgers"]["relation_oid"] if "migration_ledgers" in frames else []
    is_table = relations["kind"].isin(["table", "partitioned table", "foreign table"])
    hidden = relations["is_partition"].astype(bool) | relations["relation_oid"].isin(ledgers)
    return relations[is_table & ~hidden & in_user_schema(relations["schema_name"])]


def _severity(role: str, schema: str, rows: pd.DataFrame, roles: ServiceRoles, access: Access, frames: Frames) -> Severity | None:
    path, holds_others = access.search_path(role), roles.held(role).get(schema, 0) > 0
    is_own = schema in path.own
    is_used = is_own or holds_others or (path.is_shared and schema in path.entries and roles.is_at_home(role))
    if _default_privileges(role, schema, access, frames, everywhere=is_used):
        return "critical"
    if is_own and not holds_others:
        return "critical"
    if is_used and symptom_names(frames, rows["relation_name"]):
        return "critical"
    return "warning" if is_own else None


def _finding(role: str, schema: str, rows: pd.DataFrame, severity: Severity, access: Access, frames: Frames) -> Finding:
    tables = [f"{quoted(schema)}.{quoted(name)}" for name in rows["relation_name"]]
    more = f" and {len(tables) - _NAMES_SHOWN} more" if len(tables) > _NAMES_SHOWN else ""
    noun = "table" if len(tables) == 1 else "tables"
    owners = ", ".join(f'"{name}"' for name in rows["owner_name"].unique()[:_NAMES_SHOWN])
    granted = ", ".join(privilege.lower() for privilege in _wanted(role, schema, access, frames))
    return Finding(
        severity=severity,
        subject=Subject(kind="role", name=role, schema=schema),
        message=f'role "{role}" has no privilege on {len(tables)} {noun} of schema {quoted(schema)}, owned by '
        f"{owners}: {', '.join(tables[:_NAMES_SHOWN])}{more}",
        remedy=f"grant {granted} on {', '.join(tables)} to {quoted(role)}",
        evidence=("relations", positions(rows)),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset(rows["relation_name"]),
    )


def _wanted(role: str, schema: str, access: Access, frames: Frames) -> tuple[str, ...]:
    """Return what to grant: as default privileges say, else as on most other tables of the schema, else SELECT."""
    stated = _default_privileges(role, schema, access, frames, everywhere=True)
    if stated:
        return names(stated)
    tables = _service_tables(frames)
    bits = access.relation_privileges(role, public=False)[tables.index[tables["schema_name"] == schema]]
    held = Counter(int(item) for item in bits & mask(DATA_PRIVILEGES) if item)
    return names(held.most_common(1)[0][0]) if held else ("SELECT",)


def _default_privileges(role: str, schema: str, access: Access, frames: Frames, *, everywhere: bool) -> int:
    """Return what default privileges give the role on tables of the schema, or `everywhere`, as bits."""
    entries = frames["default_privileges"]
    is_mine = entries["grantee_name"].isin(list(access.memberships(role)))
    entries = entries[(entries["object_kind"] == "table") & is_mine]
    is_here = (entries["schema_name"] == schema).fillna(False).astype(bool)
    chosen = entries[is_here | (entries["schema_name"].isna() & everywhere)]
    own = (chosen["creator_name"] == chosen["grantee_name"]).astype(bool)
    return mask(name for privileges in chosen.loc[~own, "privileges"] for name in privileges) & mask(DATA_PRIVILEGES)
