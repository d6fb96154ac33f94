"""Schemas without USAGE.

What it shows: a login role that is sent to a schema, by its search_path or by privileges it holds on relations there,
and has no USAGE on that schema. The subject is the role in the schema, written schema.role.

Why it matters: without USAGE the server does not even look into the schema. A plain table name gives "relation does
not exist" (42P01) although the table is there and may be granted in full; a qualified name gives "permission
denied for schema" (42501). Migrations, which run as another role, succeed all the while.

What to do: grant USAGE on the schema to the role; then look whether the tables themselves are granted, which is
another privilege (see unreadable_tables).

Known limits: what a role is meant to reach is inferred. Critical are a search_path set for this very role, the schema
of its own name, and privileges that it holds there. A search_path set for the whole database or server counts for roles
that an access list of the database names: critical where the role can use nothing on the path or the symptom names a
table of the schema, else a warning. A path that a client sends when it connects is not seen, and where the asker has a
search_path of its own, one set in postgresql.conf is not seen either.

References: PostgreSQL manual, 5.8 "Privileges" and 5.10.3 "The Schema Search Path".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.access.privileges import Access
from kit.analyze.access.search_path import SearchPath
from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.service_roles import Intention, ServiceRoles, positions, symptom_names
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "settings", "default_privileges", "column_grants")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("42P01", "42501", "3F000")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per role and schema that the role is sent to and may not enter."""
    access = Access(frames)
    roles = ServiceRoles(frames, access)
    for role in roles:
        meant = roles.intention(role)
        yield Examined(1) if meant.path.is_known else NotExamined(role, "its search_path is masked or cannot be read")
        for schema, severity in _closed(role, meant, roles, access, frames):
            yield _finding(role, schema, severity, meant.path, roles, frames)


def _closed(role: str, meant: Intention, roles: ServiceRoles, access: Access, frames: Frames) -> Iterator[tuple[str, Severity]]:
    on_path = roles.on_path(meant.path)
    sent = dict.fromkeys((*on_path, *meant.held))
    may_enter = {schema for schema in sent if access.has_schema_privilege(role, schema, "USAGE")}
    for schema in (schema for schema in sent if schema not in may_enter):
        if schema in meant.held or schema in meant.path.own:
            yield schema, "critical"
        elif meant.uses(schema):
            useless = not any(other in meant.held for other in may_enter.intersection(on_path))
            named = symptom_names(frames, roles.relations(schema)["relation_name"])
            yield schema, "critical" if useless or named else "warning"


def _finding(role: str, schema: str, severity: Severity, path: SearchPath, roles: ServiceRoles, frames: Frames) -> Finding:
    relations, grants = roles.relations(schema), frames["schema_grants"]
    is_plain = schema in path.entries
    effect = _effect(relations, _named(frames, schema, relations), is_plain=is_plain)
    return Finding(
        severity=severity,
        subject=Subject(kind="role", name=role, schema=schema),
        message=f'role "{role}" has no USAGE on schema {quoted(schema)}, so {effect}',
        remedy=f"grant usage on schema {quoted(schema)} to {quoted(role)}",
        evidence=("schema_grants", positions(grants[grants["schema_name"] == schema])),
        value=float(len(relations)),
        unit="relations",
        relations=frozenset(relations["relation_name"]),
    )


def _effect(relations: pd.DataFrame, named: str, *, is_plain: bool) -> str:
    """Return what follows for the relations of the schema, with the one that the symptom names."""
    is_one = len(relations) == 1
    count = f"{len(relations)} {_noun(relations['kind'].tolist())}"
    which = f", {'' if is_one else 'among them '}{quoted(named)}" if named else ""
    if not is_plain:
        return f"it is denied its {count}{which}"
    words = '"does not exist" for it by its plain name' if is_one else '"do not exist" for it by their plain names'
    return f"its {count}{which}{',' if which else ''} {words}"


def _named(frames: Frames, schema: str, relations: pd.DataFrame) -> str:
    """Return the relation of this schema that the case's symptom names, or nothing."""
    if "symptom" not in frames:
        return ""
    for row in frames["symptom"].dropna(subset=["relation_name"]).itertuples():
        is_here = pd.isna(row.schema_name) or row.schema_name == schema
        if is_here and (relations["relation_name"] == row.relation_name).any():
            return str(row.relation_name)
    return ""


def _noun(kinds: list[str]) -> str:
    noun = "table" if all(kind.endswith("table") for kind in kinds) else "relation"
    return noun if len(kinds) == 1 else f"{noun}s"
