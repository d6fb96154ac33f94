"""What a service expects of the schema, and is not there.

What it shows: tables, columns and extensions of the file named `expected_schema` in kit.toml that this database lacks, and
columns in the way of every INSERT; as a warning, other types, NULL where it is not expected, missing indexes, and tables
that are there but not on the search_path of whoever looked.

Why it matters: a service whose migration did not run here may start, answer its health check, and fail only in the one
request that needs the column, with a message that says nothing. What is missing shows only to who knows what is expected.

What to do: look into the migration ledger for why it did not run here, after checking that this is the right database; run
it; ask `kit expect` with the service's role before traffic is shifted.

Known limits: names without a schema are looked for on the search_path of the role that captured, not of the service's.
What the service may do with a table is asked by `kit expect --as ROLE`. Constraints, functions and triggers are not compared.

References: https://www.postgresql.org/docs/current/errcodes-appendix.html (42P01, 42703, 23502)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Severity, Subject
from kit.analyze.schema.comparison import NOT_EXAMINED, Difference, compare
from kit.analyze.schema.evidence import NAME, expected_in
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "schema"
NEEDS = ("relations", "columns", "extensions", NAME)
GIVEN = (NAME,)
CRITICAL = {("table", "missing"), ("column", "missing"), ("column", "in the way"), ("extension", "missing")}
SEVERITIES = ("critical", "warning")
EXPLAINS = ("42P01", "42703", "23502")

Key = tuple[str, str | None, str]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each thing that is not as expected, several about one thing in one."""
    expected = expected_in(frames)
    yield Examined(len(expected.relations) + len(expected.extensions))
    found: dict[Key, list[Difference]] = {}
    for difference in compare(frames, expected):
        if difference.difference == NOT_EXAMINED:
            yield NotExamined(difference.relation or difference.kind, difference.because)
        else:
            found.setdefault(_key(difference), []).append(difference)
    yield from (_finding(frames, expected.origin, key, differences) for key, differences in found.items())


def _key(item: Difference) -> Key:
    """Return kind, schema and name of what differs; a column and an index stand under their table."""
    if item.kind == "column":
        return "column", item.relation, item.column or ""
    if item.kind == "index":
        return "index", item.relation, item.expected or ""
    return item.kind, item.schema, item.relation or (item.expected or "").partition(" ")[0]


def _finding(frames: Frames, origin: str, key: Key, differences: list[Difference]) -> Finding:
    kind, parent, name = key
    worst = min((_severity(item) for item in differences), key=SEVERITIES.index)
    remedies = list(dict.fromkeys(item.remedy for item in differences if item.remedy))
    return Finding(
        severity=worst,
        subject=Subject(kind, name, parent),
        message=f"{' '.join(dict.fromkeys(item.because for item in differences))} (Expected by {origin}.)",
        remedy=";\n".join(remedies) or "Run the migration that makes it in this database, or correct the expectation.",
        evidence=rows(_positions(frames, differences[0], name), NAME),
        relations=frozenset({item.relation for item in differences if item.relation}),
    )


def _severity(item: Difference) -> Severity:
    return "critical" if (item.kind, item.difference) in CRITICAL else "warning"


def _positions(frames: Frames, item: Difference, name: str) -> list[int]:
    """Return where it is expected: the row of the column or extension, else that of its relation."""
    own = [(at, row) for at, row in enumerate(records(frames[NAME])) if _is_of(row, item)]
    return [at for at, row in own if row["name"] == name] or [at for at, _ in own][:1] or [0]


def _is_of(row: Mapping[str, Any], item: Difference) -> bool:
    return row["relation_name"] == item.relation and row["schema_name"] in (None, item.schema)
