"""The relation that the symptom names is in another database of this server.

What it shows: no schema of this database has the relation, and another database of the same server has one of exactly
that name. The databases are named with the owner of the relation and the last entry of their migration ledger.

Why it matters: catalogs belong to one database each. The migrations ran, and succeeded, in another database than the one
that the service connects to: one of the two connection strings names the wrong one, or names none, so that the driver
took the user's name or `postgres`.

What to do: compare the database name in the connection string of the service with that of the migration job, and
correct the wrong one. Where both are meant, run the migrations in this database too.

Known limits: a name that several applications use ("users") may stand in a database that has nothing to do with this
one. Databases that refuse the asker, and those beyond the first twenty, are not looked at, nor are other servers. Where
this database has the name in other letters, that is taken for the cause (see missing_relations). The databases that a
provider keeps for itself are not counted among the unseen.

References: PostgreSQL manual, 23.1 "Managing Databases", and
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-DBNAME
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema, positions
from kit.evidence.model import Frames
from kit.evidence.records import Record, records

LAYER: Layer = "database identity"
# What other databases hold is asked for only where the symptom names a relation that is missing here.
NEEDS = ("relations", "symptom")
SEVERITIES: tuple[Severity, ...] = ("critical",)
EXPLAINS = ("42P01",)
EXPLAINS_ABSENCE = True

_DATABASES_SHOWN = 3
# No application's migrations run in these, and they let nobody in.
PROVIDERS = frozenset({"cloudsqladmin", "rdsadmin", "azure_maintenance", "azure_sys"})


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding if the relation that the symptom misses is in other databases only."""
    here = frames["relations"]["relation_name"].str.lower()
    for symptom in records(frames["symptom"]):
        name = symptom["relation_name"]
        if name is None or "42P01" not in (symptom["sqlstates"] or []) or (here == name.lower()).any():
            continue
        found = _elsewhere(name, symptom["schema_name"], frames)
        if len(found):
            yield _finding(name, symptom["schema_name"], found, frames)
        yield from _examined(frames, is_found=bool(len(found)))


def _elsewhere(name: str, schema: str | None, frames: Frames) -> pd.DataFrame:
    """Return the relations of that name in the other databases; of the schema too, where the symptom names one."""
    if "relations_elsewhere" not in frames:
        return pd.DataFrame()
    relations = frames["relations_elsewhere"]
    chosen = (relations["relation_name"] == name) & in_user_schema(relations["schema_name"])
    return relations[chosen & ((relations["schema_name"] == schema) if schema else True)]


def _examined(frames: Frames, *, is_found: bool) -> Iterable[Judgement]:
    """Yield how many databases were read; what was not read matters only where nothing was found."""
    if "other_databases" not in frames:
        gap = frames.gaps.get("other_databases")
        return [NotExamined("other databases", gap.reason if gap else "not captured")]
    databases = [row for row in records(frames["other_databases"]) if row["database_name"] not in PROVIDERS]
    unread = [row for row in databases if row["status"] != "read" and not is_found]
    # This database is one of those that were looked at.
    read = 1 + sum(row["status"] == "read" for row in databases)
    return [Examined(read), *(NotExamined(f"database {quoted(row['database_name'])}", _reason(row)) for row in unread)]


def _reason(row: Record) -> str:
    return f"{row['status']}: {row['reason']}" if row["reason"] else str(row["status"])


def _finding(name: str, schema: str | None, found: pd.DataFrame, frames: Frames) -> Finding:
    here = quoted(frames.identity.database) if frames.identity else "this database"
    names = list(dict.fromkeys(found["database_name"]))
    places = [_place(rows, frames) for _, rows in found.groupby("database_name", sort=False)]
    more = f"; and in {len(places) - _DATABASES_SHOWN} more" if len(places) > _DATABASES_SHOWN else ""
    where = " or ".join(quoted(other) for other in names[:_DATABASES_SHOWN])
    return Finding(
        severity="critical",
        subject=Subject("table", name, schema),
        message=f"Database {here} has no relation {quoted(name)}, but another database of this server has: "
        f"{'; '.join(places[:_DATABASES_SHOWN])}{more}. {_ledgers_here(frames)}".strip(),
        remedy=f"Compare the database names in the connection strings of the service and of the migration job: one says {here}, "
        f"the other {where}. Correct the wrong one; or, if the service is to use {here}, run the migrations there.",
        evidence=("relations_elsewhere", positions(found)),
        value=float(len(names)),
        unit="databases",
        relations=frozenset({name}),
    )


def _place(rows: pd.DataFrame, frames: Frames) -> str:
    row, database = rows.iloc[0], str(rows.iloc[0]["database_name"])
    relation = f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])}"
    ledgers = [_ledger(entry) for entry in _ledgers(frames) if entry["database_name"] == database]
    return f"{quoted(database)} ({row['kind']} {relation}, owned by {quoted(row['owner_name'])}{''.join(ledgers[:1])})"


def _ledgers(frames: Frames) -> Sequence[Record]:
    """Return the ledgers of other databases, the one that moved last first."""
    if "ledgers_elsewhere" not in frames:
        return []
    return records(frames["ledgers_elsewhere"].sort_values("last_at", ascending=False, na_position="last", kind="stable"))


def _ledger(entry: Record) -> str:
    if entry["last_migration"] is None:
        return f", with a ledger of {entry['tool']}"
    at = f" of {entry['last_at']:%Y-%m-%d %H:%M} UTC" if entry["last_at"] else ""
    return f", last migration by {entry['tool']}: {quoted(entry['last_migration'])}{at}"


def _ledgers_here(frames: Frames) -> str:
    if "migration_ledgers" in frames and frames["migration_ledgers"].empty:
        return "This database has no migration ledger."
    return ""
