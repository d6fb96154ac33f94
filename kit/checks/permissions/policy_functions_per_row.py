"""Policy functions called for each row.

What it shows: policies that call `current_setting`, or a function outside pg_catalog such as `auth.uid()`, with nothing
of the row as an argument, and not inside a sub-select of its own.

Why it matters: the answer is the same for the whole statement, yet the server asks again for every row that it looks at:
of a table of a million rows, a million times. Written as `(select auth.uid())` it is asked once. A policy that wraps one
call and forgets another pays in full.

What to do: wrap the calls, as the remedy does. Nothing else about the policy changes.

Known limits: a warning from a number of rows on, else an observation. What a call costs is not known: `current_setting`
alone is a tenth of what Supabase's `auth.uid()` takes. A volatile function whose answer is meant to
differ from row to row must not be wrapped; immutable ones are left out. An index on the column that is compared spares the
calls too. Texts in policies are masked: where one stands in the way, the remedy is in words.

References: PostgreSQL manual, 38.7 "Function Volatility Categories"; Supabase splinter, 0003 "Auth RLS init plan".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Layer, NotExamined, Severity, Subject, quoted
from kit.analyze.policies import Call, calls_per_row, wrapped
from kit.analyze.service_roles import in_user_schema
from kit.checks import Threshold
from kit.checks.permissions._many import Row, by_schema, listed, placed
from kit.evidence.model import Frames

LAYER: Layer = "capacity and performance"
NEEDS = ("relations", "policies", "functions")
SEVERITIES: tuple[Severity, ...] = ("warning", "info")
THRESHOLDS = (
    Threshold(
        "rows",
        10_000,
        "rows",
        "from here on the calls cost a scan of the table ten milliseconds, and more than all the rest of it",
        "measured on PostgreSQL 18: auth.uid() as Supabase defines it took 117 ms for 100,000 rows, wrapped 9 ms",
    ),
)

_CLAUSES = (("using", "using_expression"), ("with check", "check_expression"))


@dataclass(frozen=True, slots=True)
class _Clause:
    """A condition with calls per row: its table, its policy and its place, its keyword, its text, the calls."""

    relation_oid: str
    policy: str
    position: int
    keyword: str
    expression: str
    calls: tuple[Call, ...]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table, or per schema with many, whose policies call functions for each row."""
    relations, policies, immutable = frames["relations"], frames["policies"], _immutable(frames["functions"])
    protected = relations[relations["has_row_security"].astype(bool) & in_user_schema(relations["schema_name"])]
    mine = placed(policies[policies["relation_oid"].isin(protected["relation_oid"])])
    yield Examined(len(mine))
    clauses: dict[str, list[_Clause]] = {}
    for row in mine:
        for clause in _clauses(row, immutable):
            if isinstance(clause, NotExamined):
                yield clause
            else:
                clauses.setdefault(clause.relation_oid, []).append(clause)
    tables = protected.set_index("relation_oid").to_dict("index")
    yield from by_schema((_finding(tables[oid], group, thresholds["rows"]) for oid, group in clauses.items()), "tables")


def _immutable(functions: pd.DataFrame) -> frozenset[tuple[str, str]]:
    """Return the names under which there are immutable functions only: the planner calls these once."""
    names = list(zip(functions["schema_name"], functions["function_name"], strict=True))
    varying = {name for name, volatility in zip(names, functions["volatility"], strict=True) if volatility != "immutable"}
    return frozenset(names) - varying


def _clauses(row: Row, immutable: frozenset[tuple[str, str]]) -> Iterator[_Clause | NotExamined]:
    about = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
    if row["is_locked"]:
        yield NotExamined(f'policy "{row["policy_name"]}" of {about.qualified}', "another session had locked what it reads")
        return
    for keyword, column in _CLAUSES:
        calls = () if pd.isna(row[column]) else calls_per_row(row[column], immutable)
        if calls is None:
            yield NotExamined(f'policy "{row["policy_name"]}" of {about.qualified}', "its condition could not be read")
        elif calls:
            yield _Clause(row["relation_oid"], row["policy_name"], int(row["position"]), keyword, row[column], calls)


def _finding(table: Row, clauses: Sequence[_Clause], many_rows: float) -> Finding:
    subject = Subject(kind="table", name=table["relation_name"], schema=table["schema_name"])
    rows = None if pd.isna(table["estimated_rows"]) else float(table["estimated_rows"])
    guilty = list(dict.fromkeys(quoted(clause.policy) for clause in clauses))
    called = list(dict.fromkeys(_shown(call) for clause in clauses for call in clause.calls))
    size = "rows not counted yet" if rows is None else f"about {rows:,.0f} rows"
    return Finding(
        severity="warning" if rows is not None and rows >= many_rows else "info",
        subject=subject,
        message=f"on table {subject.qualified} ({size}) the policies {listed(guilty)} call {listed(called)} for each row",
        remedy=_remedy(subject, clauses),
        evidence=("policies", tuple(sorted({clause.position for clause in clauses}))),
        value=rows,
        threshold=many_rows,
        unit="rows",
        relations=frozenset({table["relation_name"]}),
    )


def _shown(call: Call) -> str:
    return ".".join(quoted(part) for part in (call.schema, call.name) if part is not None) + "()"


def _remedy(subject: Subject, clauses: Sequence[_Clause]) -> str:
    written = [(clause, wrapped(clause.expression, clause.calls)) for clause in clauses]
    if any(text is None for _, text in written):
        called = ", ".join(dict.fromkeys(_shown(call) for clause in clauses for call in clause.calls))
        names = listed(list(dict.fromkeys(quoted(clause.policy) for clause in clauses)))
        return (
            f"Alter on {subject.qualified} the policies {names}: the same conditions, with each call of {called} in a "
            "sub-select of its own, as in (select current_setting('app.tenant')). (Their texts are masked here.)"
        )
    return ";\n".join(
        f"alter policy {quoted(clause.policy)} on {subject.qualified} {clause.keyword} ({text})" for clause, text in written
    )
