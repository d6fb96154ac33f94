"""The relation that the symptom names is there, but not where it is looked for.

What it shows: the relation exists in this database under exactly its name, but in another schema than the one the error
names; or, where the error names no schema, not on the search_path of a role that may otherwise use it.

Why it matters: the migration worked, the grants are right, and the application still reads "relation does not exist": an
unqualified name is looked up along the search_path of the role that asks, and nowhere else.

What to do: put the schema on that role's search_path, or write the schema in the statement (in the ORM: its schema
setting, as in `?schema=app`).

Known limits: a search_path that the application sets itself after connecting is not seen. Only roles that the relation
was granted to by name are looked at, and its owner where no other role uses its schema; what everybody has, and
pg_read_all_data, is no sign of use.

References: https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH and
https://www.postgresql.org/docs/current/errcodes-appendix.html (42P01)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access
from kit.analyze.findings import Examined, Finding, Judgement, Subject, quoted
from kit.analyze.service_roles import ServiceRoles, in_user_schema
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "schema"
NEEDS = ("symptom", "settings", "default_privileges", *ACCESS_NEEDS)
SEVERITIES = ("critical",)
EXPLAINS = ("42P01",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each place in which the missing relation stands, out of the asker's sight."""
    relations = frames["relations"].reset_index(drop=True)
    for symptom in records(frames["symptom"]):
        if symptom["relation_name"] is None or "42P01" not in (symptom["sqlstates"] or []):
            continue
        found = relations[(relations["relation_name"] == symptom["relation_name"]) & in_user_schema(relations["schema_name"])]
        yield Examined(1)
        if symptom["schema_name"] is None:
            yield from _off_the_path(frames, found)
        elif len(found) and symptom["schema_name"] not in set(found["schema_name"]):
            yield _elsewhere(symptom["schema_name"], found)


def _off_the_path(frames: Frames, found: pd.DataFrame) -> Iterator[Finding]:
    """Yield a finding for each service role that may use the relation, where none of that name is on its path."""
    access = Access(frames)
    services = ServiceRoles(frames, access)
    for position, relation in found.iterrows():
        for role in _users(frames, access, services, relation):
            path = access.search_path(role)
            if path.is_known and not set(path.entries) & set(found["schema_name"]):
                yield _finding(role, access.database, path.entries, found.loc[[position]])


def _users(frames: Frames, access: Access, services: ServiceRoles, relation: pd.Series) -> list[str]:
    """Return the service roles that somebody granted the relation to; its owner only where nobody else uses its schema.

    Where the schema is on another service's path, or granted to one, the owner is the role that migrates.
    """
    schema, owner = relation["schema_name"], relation["owner_name"]
    grants = frames["relation_grants"]
    granted = set(grants.loc[grants["relation_oid"] == relation["relation_oid"], "grantee_name"].dropna()) - {owner}
    able = [role for role in services if access.has_schema_privilege(role, schema, "USAGE")]
    users = [role for role in able if access.memberships(role) & granted and services.intention(role).is_at_home]
    others = any(schema in services.intention(role).path.entries for role in services if role != owner)
    return users if users or others else [role for role in able if role == owner]


def _finding(role: str, database: str, path: tuple[str, ...], relation: pd.DataFrame) -> Finding:
    row = relation.iloc[0]
    schemas = ", ".join(quoted(name) for name in (row["schema_name"], *path))
    return Finding(
        severity="critical",
        subject=Subject("role", role, row["schema_name"]),
        message=(
            f"{row['relation_name']} is in schema {row['schema_name']}, which is not on the search_path of role "
            f'"{role}" ({", ".join(path) or "empty"}), though it may use it: its plain name "does not exist" for it'
        ),
        remedy=f"alter role {quoted(role)} in database {quoted(database)} set search_path = {schemas}",
        evidence=rows([relation.index[0]], "relations"),
        relations=frozenset({str(row["relation_name"])}),
    )


def _elsewhere(schema: str, found: pd.DataFrame) -> Finding:
    row = found.iloc[0]
    name = f"{quoted(row['schema_name'])}.{quoted(row['relation_name'])}"
    return Finding(
        severity="critical",
        subject=Subject("table", row["relation_name"], schema),
        message=f"Schema {quoted(schema)} has no {quoted(row['relation_name'])}, but the {row['kind']} {name} is there.",
        remedy=f"Let the application ask for {name}, or run the migration with schema {quoted(schema)} as its target.",
        evidence=rows(list(found.index), "relations"),
        relations=frozenset({str(row["relation_name"])}),
    )
