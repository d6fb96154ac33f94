"""What everybody holds.

What it shows: what PUBLIC, that is every role, holds in a schema beyond the server's defaults: privileges on tables, views
and sequences, USAGE on the schema, and EXECUTE on SECURITY DEFINER functions. One finding for each schema and kind; the
subject's name is the schema.

Why it matters: every role that may connect holds it too, those of tomorrow and of other services among them, and no list of
the grants to a role shows it.

What to do: grant to the roles that need it, then revoke from PUBLIC.

Known limits: a warning where PUBLIC may look into the schema, so that the grant can be used; else, and for USAGE alone, an
observation. EXECUTE is given to PUBLIC by default, and is counted for functions that run as their owner only. USAGE on
schema public, CREATE (see public_create_on_schemas) and what extensions open are left out. A grant made by another role
than the owner must be revoked by that role.

References: PostgreSQL manual, 5.8 "Privileges" (table "Summary of Access Privileges") and REVOKE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import PUBLIC, Exposure, of_extensions, public_rows
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema, positions
from kit.checks.permissions._functions import definer_functions, evidence, revoke, signature
from kit.checks.permissions._many import grouped, listed
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = (*ACCESS_NEEDS, "column_grants", "extensions", "functions", "function_grants")
SEVERITIES: tuple[Severity, ...] = ("warning", "info")

# A statement of more names is no easier to read than ALL TABLES IN SCHEMA.
_NAMES_WRITTEN = 50


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per schema and kind of object on which PUBLIC holds more than the defaults."""
    exposure = Exposure(frames)
    yield Examined(int(in_user_schema(frames["schemas"]["schema_name"]).sum()))
    yield from _on_relations(frames, exposure)
    yield from _on_schemas(frames)
    yield from _on_functions(frames, exposure)


def _on_relations(frames: Frames, exposure: Exposure) -> Iterator[Finding]:
    relations = frames["relations"]
    grants = pd.concat(
        [public_rows(frames[name])[["relation_oid", "privileges"]] for name in ("relation_grants", "column_grants")]
    )
    held = grants.groupby("relation_oid")["privileges"].agg(lambda lists: sorted({one for some in lists for one in some}))
    open_ones = relations[relations["relation_oid"].isin(held.index) & in_user_schema(relations["schema_name"])]
    open_ones = open_ones[~of_extensions(frames)[open_ones.index]]
    for kind, rows in open_ones.groupby((open_ones["kind"] == "sequence").map({True: "sequence", False: "table"})):
        for schema, mine in rows.groupby("schema_name"):
            yield _relations_finding(str(kind), str(schema), mine, held, exposure)


def _relations_finding(kind: str, schema: str, rows: pd.DataFrame, held: pd.Series, exposure: Exposure) -> Finding:
    names = [f"{quoted(schema)}.{quoted(name)}" for name in rows["relation_name"]]
    privileges = sorted({privilege for oid in rows["relation_oid"] for privilege in held[oid]})
    nouns = f"{kind}s" if kind == "sequence" else "tables and views"
    written = f"all {kind}s in schema {quoted(schema)}" if len(names) > _NAMES_WRITTEN else f"{kind} {', '.join(names)}"
    return Finding(
        severity=_severity(schema, exposure),
        subject=Subject(kind=f"{kind}s", name=schema),
        message=f"PUBLIC holds {', '.join(privileges)} on {len(names)} {nouns} of schema {quoted(schema)}: {listed(names)}",
        remedy=f"revoke all on {written} from public",
        evidence=("relations", positions(rows)),
        value=float(len(names)),
        unit=nouns,
        relations=frozenset(rows["relation_name"]),
    )


def _on_schemas(frames: Frames) -> Iterator[Finding]:
    grants = public_rows(frames["schema_grants"])
    usual = {PUBLIC, *frames["extensions"]["schema_name"]}
    has_usage = grants["privileges"].map(lambda privileges: "USAGE" in privileges).astype(bool)
    open_ones = grants[has_usage & in_user_schema(grants["schema_name"]) & ~grants["schema_name"].isin(usual)]
    for schema, rows in open_ones.groupby("schema_name"):
        name = str(schema)
        yield Finding(
            severity="info",
            subject=Subject(kind="schema", name=name),
            message=f"PUBLIC has USAGE on schema {quoted(name)}: every role may look into it",
            remedy=f"revoke usage on schema {quoted(name)} from public",
            evidence=("schema_grants", positions(rows)),
        )


def _on_functions(frames: Frames, exposure: Exposure) -> Iterator[Finding]:
    granted = set(public_rows(frames["function_grants"])["function_oid"])
    # A trigger function runs by its trigger, whoever may execute it, and cannot be called.
    functions = [function for function in definer_functions(frames) if not function["returns_trigger"]]
    open_ones = [function for function in functions if function["has_default_acl"] or function["function_oid"] in granted]
    for group in grouped(open_ones, "schema_name"):
        schema = group[0]["schema_name"]
        written = [revoke(group[at : at + _NAMES_WRITTEN], ["public"]) for at in range(0, len(group), _NAMES_WRITTEN)]
        yield Finding(
            severity=_severity(schema, exposure),
            subject=Subject(kind="functions", name=schema),
            message=f"PUBLIC may execute {len(group)} SECURITY DEFINER functions of schema {quoted(schema)}: "
            f"{listed([signature(function) for function in group])}",
            remedy=";\n".join(written),
            evidence=evidence(group),
            value=float(len(group)),
            unit="functions",
        )


def _severity(schema: str, exposure: Exposure) -> Severity:
    return "warning" if exposure.has_usage(PUBLIC, schema) else "info"
