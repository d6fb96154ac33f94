"""Tables a service cannot read.

What it shows: tables on which a service role has no privilege at all (SELECT, INSERT, UPDATE, DELETE, of the table or a
column), in a schema that it is meant to use. The subject is the role in the schema, written schema.role.

Why it matters: a table belongs to the role that created it and to nobody else. Where a migration runs as another role
than the service, each new table is closed to the service until somebody grants it: "permission denied for table"
(42501).

What to do: grant what the remedy says; then make the grant happen by itself for future tables with default privileges
of the role that creates them (see misdirected_default_privileges).

Known limits: what a role is meant to reach is inferred. Critical: the symptom names one of the tables; the role's own
search_path names the schema and it holds nothing there; or default privileges name the role (or a role it belongs to) for
the schema and it reaches no table there, or those that are closed are younger than all it reaches and of a creator whom
these default privileges do not cover. A warning, which may be on purpose (a table of passwords kept from a role for
reports): it reaches other tables of the schema, by default privileges or with the schema on its own search_path. The age of
tables is read from their OIDs. Partitions (reached through their parent), views, and ledgers of migration tools are left
out. USAGE on the schema is another privilege (see schemas_without_usage).

References: PostgreSQL manual, 5.8 "Privileges", and ALTER DEFAULT PRIVILEGES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

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
_IF_MEANT = "If {role} is kept from them on purpose, leave it so. Of those that it is meant to use: {grant}"


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
            mine = tables[schema]
            rows = mine[closed[mine.index]]
            critical = _surely_meant(schema, rows, mine[~closed[mine.index]], role, meant, access, frames)
            granted = _wanted(schema, meant, access.relation_privileges(role, public=False)[mine.index])
            if len(critical):
                yield _finding(role, schema, critical, "critical", granted)
            elif len(rows) and (schema in meant.path.own or meant.default_bits(schema)):
                yield _finding(role, schema, rows, "warning", granted)


def _service_tables(frames: Frames) -> pd.DataFrame:
    """Return the tables that a service may be meant to use, with their places in the evidence."""
    relations = frames["relations"]
    ledgers = frames["migration_ledgers"]["relation_oid"] if "migration_ledgers" in frames else []
    is_table = relations["kind"].isin(["table", "partitioned table", "foreign table"])
    hidden = relations["is_partition"].astype(bool) | relations["relation_oid"].isin(ledgers)
    return relations[is_table & ~hidden & in_user_schema(relations["schema_name"])]


def _surely_meant(
    schema: str, closed: pd.DataFrame, reached: pd.DataFrame, role: str, meant: Intention, access: Access, frames: Frames
) -> pd.DataFrame:
    """Return the closed tables that the role is meant to use as surely as anything can be inferred."""
    if schema in meant.path.own and schema not in meant.held:
        return closed
    has_defaults = bool(meant.default_bits(schema))
    if has_defaults and reached.empty:
        return closed
    is_named = closed["relation_name"].map(lambda name: symptom_names(frames, [name])).astype(bool)
    if is_named.any() and (has_defaults or meant.uses(schema)):
        return closed[is_named]
    return closed[_is_later(closed, reached, _covered(schema, role, access, frames))] if has_defaults else closed.iloc[:0]


def _is_later(closed: pd.DataFrame, reached: pd.DataFrame, covered: Collection[str]) -> pd.Series:
    """Return which tables came after all that the role reaches, from a creator whom its default privileges do not cover."""
    newest = reached["relation_oid"].astype("int64").max()
    return (closed["relation_oid"].astype("int64") > newest) & ~closed["owner_name"].isin(covered)


def _covered(schema: str, role: str, access: Access, frames: Frames) -> frozenset[str]:
    """Return the creators whose tables default privileges open to the role by themselves."""
    entries = frames["default_privileges"]
    is_here = entries["schema_name"].isna() | (entries["schema_name"] == schema)
    is_mine = entries["grantee_name"].isin(access.memberships(role)) & (entries["object_kind"] == "table")
    return frozenset(entries.loc[is_here & is_mine, "creator_name"])


def _wanted(schema: str, meant: Intention, held: Masks) -> tuple[str, ...]:
    """Return what to grant: as on most other tables of the schema, else as default privileges say, else SELECT."""
    common = Counter(int(bits) for bits in held & mask(DATA_PRIVILEGES) if bits).most_common(1)
    if common:
        return names(common[0][0])
    return names(meant.default_bits(schema)) if meant.default_bits(schema) else ("SELECT",)


def _finding(role: str, schema: str, rows: pd.DataFrame, severity: Severity, granted: Iterable[str]) -> Finding:
    tables = [f"{quoted(schema)}.{quoted(name)}" for name in rows["relation_name"]]
    more = f" and {len(tables) - _NAMES_SHOWN} more" if len(tables) > _NAMES_SHOWN else ""
    noun = "table" if len(tables) == 1 else "tables"
    grant = f"grant {', '.join(granted).lower()} on {', '.join(tables)} to {quoted(role)}"
    owners = ", ".join(f'"{name}"' for name in rows["owner_name"].unique()[:_NAMES_SHOWN])
    return Finding(
        severity=severity,
        subject=Subject(kind="role", name=role, schema=schema),
        message=f'role "{role}" has no privilege on {len(tables)} {noun} of schema {quoted(schema)}, owned by '
        f"{owners}: {', '.join(tables[:_NAMES_SHOWN])}{more}",
        remedy=grant if severity == "critical" else _IF_MEANT.format(role=quoted(role), grant=grant),
        evidence=("relations", positions(rows)),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset(rows["relation_name"]),
    )
