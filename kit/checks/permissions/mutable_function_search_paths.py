"""SECURITY DEFINER functions without a search_path of their own.

What it shows: functions that run as their owner and look up names along the search_path of whoever calls them.

Why it matters: the caller chooses the search_path. With a table, function or operator of their own in front, they have the
function run it with the owner's rights. And where the path is short, as in a restore, it fails: "relation does not exist".

What to do: set a search_path on the function: the schemas that it uses, pg_temp last. The remedy names its own schema, those
of the relations whose names stand in its body, and those of extensions; add what else its body uses without naming the
schema, and try the function once. Where strangers may create in such a schema, set it to '' and name
every schema in the body.

Known limits: only SECURITY DEFINER functions. One that runs as its caller gives the caller nothing that the caller had
not. Left out are functions of extensions, of a provider's schemas, and compiled ones. A body in standard SQL (BEGIN ATOMIC) had
its names looked up when it was made, and would not need it. Whether a path that is set is a safe one is not judged.

References: PostgreSQL manual, CREATE FUNCTION ("Writing SECURITY DEFINER Functions Safely"); CVE-2018-1058; Supabase
splinter, 0011 "Function search path mutable".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, quoted
from kit.analyze.names import is_system_schema
from kit.checks.permissions._functions import definer_functions, evidence, signature, subject
from kit.checks.permissions._many import Row, by_schema, grouped
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = ("functions", "schemas", "extensions", "function_mentions")
SEVERITIES: tuple[Severity, ...] = ("warning",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per function name, or per schema with many, that takes the caller's search_path."""
    functions = definer_functions(frames)
    yield Examined(len(functions))
    open_ones = [function for function in functions if pd.isna(function["search_path"])]
    used = _used(frames)
    yield from by_schema((_finding(group, used) for group in grouped(open_ones, "schema_name", "function_name")), "functions")


def _used(frames: Frames) -> dict[str, list[str]]:
    """Return, by function, the schemas that its body may look into without naming them."""
    mentions, extensions = frames["function_mentions"], frames["extensions"]["schema_name"]
    helpers = [name for name in dict.fromkeys(extensions) if not is_system_schema(name)]
    found: dict[str, list[str]] = {oid: list(helpers) for oid in frames["functions"]["function_oid"]}
    for oid, schema in zip(mentions["function_oid"], mentions["schema_name"], strict=True):
        found.setdefault(oid, list(helpers)).insert(0, schema)
    return found


def _finding(functions: Sequence[Row], used: Mapping[str, list[str]]) -> Finding:
    about = subject(functions[0])
    count = f" ({len(functions)} functions of the name)" if len(functions) > 1 else ""
    return Finding(
        severity="warning",
        subject=about,
        message=f"function {about.qualified}{count} runs as {quoted(functions[0]['owner_name'])} "
        "with the search_path of whoever calls it",
        remedy=";\n".join(_remedy(function, used) for function in functions),
        evidence=evidence(functions),
        value=float(len(functions)),
        unit="functions",
    )


def _remedy(function: Row, used: Mapping[str, list[str]]) -> str:
    schemas = dict.fromkeys((function["schema_name"], *used.get(function["function_oid"], ())))
    return f"alter routine {signature(function)} set search_path = pg_catalog, {', '.join(map(quoted, schemas))}, pg_temp"
