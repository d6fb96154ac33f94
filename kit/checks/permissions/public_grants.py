"""What everybody holds.

What it shows: what PUBLIC, that is every role, holds in a schema beyond the server's defaults: privileges on tables, views
and sequences, USAGE on the schema, and EXECUTE on SECURITY DEFINER functions. One finding for each schema and kind; the
subject's name is the schema.

Why it matters: every role that may connect holds it too, those of tomorrow and of other services among them, and no list of
the grants to a role shows it.

What to do: the remedy first grants the same by name to the roles that have it through PUBLIC alone and may use it today
(the exposed roles, and those that log in or that these may become), then revokes it from PUBLIC. Strike out the names of
those that were never meant to have it. Where they are many, the remedy is in words.

Known limits: a warning where PUBLIC may look into the schema, so that the grant can be used; else, and for USAGE alone, an
observation. EXECUTE is given to PUBLIC by default, and is counted for functions that run as their owner only. USAGE on
schema public, CREATE (see public_create_on_schemas), what extensions open, and the schemas of a provider of hosted databases
are left out. A grant made by another role
than the owner must be revoked by that role.

References: PostgreSQL manual, 5.8 "Privileges" (table "Summary of Access Privileges") and REVOKE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import PUBLIC, Exposure, of_extensions, public_rows
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_own_schema, positions
from kit.checks.permissions._by_name import ByName
from kit.checks.permissions._functions import definer_functions, evidence, signature
from kit.checks.permissions._many import grouped, listed
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "column_grants", "extensions", "functions", "function_grants", "default_privileges")
SEVERITIES: tuple[Severity, ...] = ("warning", "info")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per schema and kind of object on which PUBLIC holds more than the defaults."""
    exposure = Exposure(frames)
    schemas = frames["schemas"]["schema_name"]
    own = set(schemas[in_own_schema(frames, schemas)])
    by_name = ByName(frames, exposure)
    yield Examined(len(own))
    yield from _on_relations(frames, exposure, by_name, own)
    yield from _on_schemas(frames, by_name, own)
    yield from _on_functions(frames, exposure, by_name, own)


def _on_relations(frames: Frames, exposure: Exposure, by_name: ByName, own: set[str]) -> Iterator[Finding]:
    relations = frames["relations"]
    grants = pd.concat([public_rows(frames[name])["relation_oid"] for name in ("relation_grants", "column_grants")])
    open_ones = relations[relations["relation_oid"].isin(grants) & relations["schema_name"].isin(own)]
    open_ones = open_ones[~of_extensions(frames)[open_ones.index]]
    for kind, rows in open_ones.groupby((open_ones["kind"] == "sequence").map({True: "sequence", False: "table"})):
        for schema, mine in rows.groupby("schema_name"):
            yield _relations_finding(str(kind), str(schema), mine, by_name, exposure)


def _relations_finding(kind: str, schema: str, rows: pd.DataFrame, by_name: ByName, exposure: Exposure) -> Finding:
    called = [f"{quoted(schema)}.{quoted(name)}" for name in rows["relation_name"]]
    privileges = by_name.public_privileges(rows["relation_oid"])
    nouns = f"{kind}s" if kind == "sequence" else "tables and views"
    return Finding(
        severity=_severity(schema, exposure),
        subject=Subject(kind=f"{kind}s", name=schema),
        message=f"PUBLIC holds {', '.join(privileges)} on {len(called)} {nouns} of schema {quoted(schema)}: {listed(called)}",
        remedy=by_name.relations(kind, schema, rows),
        evidence=("relations", positions(rows)),
        value=float(len(called)),
        unit=nouns,
        relations=frozenset(rows["relation_name"]),
    )


def _on_schemas(frames: Frames, by_name: ByName, own: set[str]) -> Iterator[Finding]:
    grants = public_rows(frames["schema_grants"])
    usual = {PUBLIC, *frames["extensions"]["schema_name"]}
    has_usage = grants["privileges"].map(lambda privileges: "USAGE" in privileges).astype(bool)
    open_ones = grants[has_usage & grants["schema_name"].isin(own - usual)]
    for schema, rows in open_ones.groupby("schema_name"):
        name = str(schema)
        yield Finding(
            severity="info",
            subject=Subject(kind="schema", name=name),
            message=f"PUBLIC has USAGE on schema {quoted(name)}: every role may look into it",
            remedy=by_name.schema(name),
            evidence=("schema_grants", positions(rows)),
        )


def _on_functions(frames: Frames, exposure: Exposure, by_name: ByName, own: set[str]) -> Iterator[Finding]:
    granted = set(public_rows(frames["function_grants"])["function_oid"])
    # A trigger function runs by its trigger, whoever may execute it, and cannot be called.
    functions = [f for f in definer_functions(frames) if not f["returns_trigger"] and f["schema_name"] in own]
    open_ones = [function for function in functions if function["has_default_acl"] or function["function_oid"] in granted]
    for group in grouped(open_ones, "schema_name"):
        schema = group[0]["schema_name"]
        yield Finding(
            severity=_severity(schema, exposure),
            subject=Subject(kind="functions", name=schema),
            message=f"PUBLIC may execute {len(group)} SECURITY DEFINER functions of schema {quoted(schema)}: "
            f"{listed([signature(function) for function in group])}",
            remedy=by_name.functions(schema, group),
            evidence=evidence(group),
            value=float(len(group)),
            unit="functions",
        )


def _severity(schema: str, exposure: Exposure) -> Severity:
    return "warning" if exposure.has_usage(PUBLIC, schema) else "info"
