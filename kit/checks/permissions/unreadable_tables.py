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
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Access, Masks, mask, names
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import Intention, ServiceRoles, in_user_schema, positions, symptom_names
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
    tables = {str(schema): rows for schema, rows in _service_tables(frames).groupby("schema_name")}
    for role in roles:
        meant = roles.intention(role)
        yield Examined(1) if meant.path.is_known else NotExamined(role, "its search_path is masked or cannot be read")
        closed = access.unreachable(role)
        for schema in sorted(meant.schemas() & tables.keys()):
            rows = tables[schema][closed[tables[schema].index]]
            severity = _severity(schema, rows, meant, frames) if len(rows) else None
            if severity:
                granted = _wanted(schema, meant, access.relation_privileges(role, public=False)[tables[schema].index])
                yield _finding(role, schema, rows, severity, granted)


def _service_tables(frames: Frames) -> pd.DataFrame:
    """Return the tables that a service may be meant to use, with their places in the evidence."""
    relations = frames["relations"]
    ledgers = frames["migration_ledgers"]["relation_oid"] if "migration_ledgers" in frames else []
    is_table = relations["kind"].isin(["table", "partitioned table", "foreign table"])
    hidden = relations["is_partition"].astype(bool) | relations["relation_oid"].isin(ledgers)
    return relations[is_table & ~hidden & in_user_schema(relations["schema_name"])]


def _severity(schema: str, rows: pd.DataFrame, meant: Intention, frames: Frames) -> Severity | None:
    is_own = schema in meant.path.own
    if meant.default_bits(schema) or (is_own and schema not in meant.held):
        return "critical"
    if meant.uses(schema) and symptom_names(frames, rows["relation_name"]):
        return "critical"
    return "warning" if is_own else None


def _wanted(schema: str, meant: Intention, held: Masks) -> tuple[str, ...]:
    """Return what to grant: as default privileges say, else as on most other tables of the schema, else SELECT."""
    if meant.default_bits(schema):
        return names(meant.default_bits(schema))
    common = Counter(int(bits) for bits in held & mask(DATA_PRIVILEGES) if bits).most_common(1)
    return names(common[0][0]) if common else ("SELECT",)


def _finding(role: str, schema: str, rows: pd.DataFrame, severity: Severity, granted: Iterable[str]) -> Finding:
    tables = [f"{quoted(schema)}.{quoted(name)}" for name in rows["relation_name"]]
    more = f" and {len(tables) - _NAMES_SHOWN} more" if len(tables) > _NAMES_SHOWN else ""
    noun = "table" if len(tables) == 1 else "tables"
    owners = ", ".join(f'"{name}"' for name in rows["owner_name"].unique()[:_NAMES_SHOWN])
    return Finding(
        severity=severity,
        subject=Subject(kind="role", name=role, schema=schema),
        message=f'role "{role}" has no privilege on {len(tables)} {noun} of schema {quoted(schema)}, owned by '
        f"{owners}: {', '.join(tables[:_NAMES_SHOWN])}{more}",
        remedy=f"grant {', '.join(granted).lower()} on {', '.join(tables)} to {quoted(role)}",
        evidence=("relations", positions(rows)),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset(rows["relation_name"]),
    )
