"""Schemas whose tables belong to several roles.

What it shows: schemas in which some tables belong to another role than the one that migrates the schema, and that role
(or one that logs in to act as it) is no member of the others: three of forty tables that a person made as postgres, say.

Why it matters: only the owner of a table, or who inherits the owner's role, may alter it. The next migration that
touches such a table fails with "must be owner of table" (42501), often halfway. A partition of another owner stops an
ALTER TABLE of its parent too.

What to do: let one role own all tables of the schema. A change of the owner takes away what the old one could do with
the table: the remedy grants it again where the old owner is a role that logs in.

Known limits: who migrates is read from who owns the migration ledger of the schema, else from who owns the most
tables; where that is a superuser, which may alter everything, nothing is found unless the symptom names a table. Two
teams may share a schema on purpose. Only tables are judged, not views, functions, types and sequences. What a migration
may do after SET ROLE is not counted. Tables of extensions, and of a hosted database's provider, are left out.

References: PostgreSQL manual, 5.8 "Privileges" (ownership), and ALTER TABLE (OWNER TO).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import in_own_schema, positions, symptom_names
from kit.checks.permissions._many import listed
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "extension_relations")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42501",)


@dataclass(frozen=True, slots=True)
class _Mixture:
    """The tables of one schema, who is to own them, and which belong to others that its migrators are no members of."""

    home: str
    migrators: tuple[str, ...]
    tables: pd.DataFrame
    strays: pd.DataFrame


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per schema with tables that its own migrations may not alter."""
    access = Access(frames)
    tables = _tables(frames)
    yield Examined(tables["schema_name"].nunique())
    mixtures = {str(schema): _mixture(rows, frames, access) for schema, rows in tables.groupby("schema_name")}
    found = [_finding(schema, mixture, frames, access) for schema, mixture in mixtures.items() if mixture]
    yield from found
    if not any(finding.severity == "critical" for finding in found):
        yield from _unexplained(tables, frames)


def _unexplained(tables: pd.DataFrame, frames: Frames) -> Iterator[NotExamined]:
    """Yield the tables that the symptom says one must own, where no mixture of owners explains it."""
    if "symptom" in frames and _names_owned(frames, tables["relation_name"]):
        named = frames["symptom"]["relation_name"].dropna()
        for row in tables[tables["relation_name"].isin(named)].itertuples():
            name = f"{quoted(row.schema_name)}.{quoted(row.relation_name)}"
            yield NotExamined(name, f"it belongs to {quoted(row.owner_name)}, and which role was refused is not known")


def _tables(frames: Frames) -> pd.DataFrame:
    relations = frames["relations"]
    is_table = relations["kind"].isin(["table", "partitioned table", "foreign table"])
    is_foreign = relations["relation_oid"].isin(frames["extension_relations"]["relation_oid"])
    # A temporary table may stand in a schema's list for as long as its session lasts.
    is_kept = (relations["persistence"] != "temporary").fillna(True).astype(bool)
    return relations[is_table & is_kept & ~is_foreign & in_own_schema(frames, relations["schema_name"])]


def _mixture(tables: pd.DataFrame, frames: Frames, access: Access) -> _Mixture | None:
    home = _home(tables, frames, access) if tables["owner_name"].nunique() > 1 else None
    if home is None or access.is_superuser(home):
        return None
    migrators = _migrators(home, frames, access)
    foreign = {owner for owner in set(tables["owner_name"]) if any(not _may_alter(m, owner, home, access) for m in migrators)}
    if not foreign:
        return None
    lacking = tuple(m for m in migrators if any(not _may_alter(m, owner, home, access) for owner in foreign))
    return _Mixture(home, lacking, tables, tables[tables["owner_name"].isin(foreign)])


def _home(tables: pd.DataFrame, frames: Frames, access: Access) -> str:
    """Return who is to own the tables: the one owner of migration ledgers here, else who owns the most."""
    ledgers = frames["migration_ledgers"]["relation_oid"] if "migration_ledgers" in frames else []
    owners = set(tables.loc[tables["relation_oid"].isin(ledgers), "owner_name"])
    if len(owners) == 1 and not access.is_superuser(next(iter(owners))):
        return str(owners.pop())
    roots = tables[~tables["is_partition"].astype(bool)]
    counts = Counter(roots["owner_name"] if len(roots) else tables["owner_name"])
    bound = Counter({owner: count for owner, count in counts.items() if not access.is_superuser(owner)})
    chosen = bound if bound and _names_owned(frames, tables["relation_name"]) else counts
    return str(max(sorted(chosen), key=lambda owner: (chosen[owner], not access.is_superuser(owner))))


def _migrators(home: str, frames: Frames, access: Access) -> list[str]:
    """Return the login roles that may act as the owner, itself among them; the owner alone where there is none."""
    roles = frames["roles"]
    bound = roles.loc[roles["can_login"].astype(bool) & ~roles["is_superuser"].astype(bool), "role_name"]
    return [role for role in bound if home in access.memberships(role) | access.settable(role)] or [home]


def _may_alter(role: str, owner: str, home: str, access: Access) -> bool:
    return owner in access.memberships(role) | access.memberships(home)


def _names_owned(frames: Frames, names: Iterable[str]) -> bool:
    """Return whether the symptom says "must be owner of" one of the relations."""
    if "symptom" not in frames:
        return False
    says = frames["symptom"]["text"].str.contains("must be owner", case=False, regex=False)
    return bool(says.any()) and symptom_names(frames, names)


def _finding(schema: str, mixture: _Mixture, frames: Frames, access: Access) -> Finding:
    tables, strays = mixture.tables, mixture.strays
    # A superuser is never told that it must be the owner; the others are, of the tables of the first.
    others = not all(access.is_superuser(owner) for owner in strays["owner_name"].unique())
    refused = tables if others else strays
    names = [f"{quoted(schema)}.{quoted(name)}" for name in strays["relation_name"]]
    return Finding(
        severity="critical" if _names_owned(frames, refused["relation_name"]) else "warning",
        subject=Subject(kind="schema", name=schema),
        message=f"{len(strays)} of {len(tables)} tables of schema {quoted(schema)} belong to {_shown(strays['owner_name'])}, "
        f"not to {quoted(mixture.home)}: a migration by {_shown(mixture.migrators)} that alters {listed(names)} fails "
        'with "must be owner of table"',
        remedy=_remedy(schema, mixture, frames, access),
        evidence=("relations", positions(strays)),
        value=float(len(strays)),
        unit="tables",
        relations=frozenset(refused["relation_name"]),
    )


def _remedy(schema: str, mixture: _Mixture, frames: Frames, access: Access) -> str:
    roles = frames["roles"]
    logins = set(roles.loc[roles["can_login"].astype(bool) & ~roles["is_superuser"].astype(bool), "role_name"])
    statements = []
    for row in mixture.strays.itertuples():
        name = f"{quoted(schema)}.{quoted(row.relation_name)}"
        statements.append(f"alter table {name} owner to {quoted(mixture.home)}")
        if row.owner_name in logins and not row.is_partition:
            statements.append(f"grant select, insert, update, delete on {name} to {quoted(row.owner_name)}")
    is_own = _names_owned(frames, mixture.tables.drop(mixture.strays.index)["relation_name"])
    advice = f"-- and run all migrations of the schema as {quoted(mixture.home)}\n" if is_own else ""
    return advice + ";\n".join(statements)


def _shown(names: Iterable[str]) -> str:
    return listed([quoted(name) for name in sorted(set(names))])
