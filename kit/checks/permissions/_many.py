"""Many subjects: rows as plain records, and findings that stay readable, one for a schema where they are many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from kit.analyze.findings import SEVERITIES, Finding, Subject, quoted

# Each wants a decision of its own; more than so many in one schema come of one habit, and are one decision.
LISTED = 20
NAMES_SHOWN = 5


Row = dict[str, Any]


def placed(rows: pd.DataFrame) -> list[Row]:
    """Return the rows chosen from a frame of evidence as records, each with its place in it as `position`.

    A Series for each of ten thousand rows would take seconds.
    """
    records: list[Row] = rows.assign(position=rows.index).to_dict("records")
    return records


def grouped(rows: Iterable[Row], *keys: str) -> list[list[Row]]:
    """Return the records in groups that agree in the keys, in the order of their first ones."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.values())


def by_schema(findings: Iterable[Finding], nouns: str) -> Iterator[Finding]:
    """Yield the findings; more than LISTED of one schema as one that counts them, named by `nouns`."""
    schemas: dict[str, list[Finding]] = {}
    for finding in findings:
        schemas.setdefault(finding.subject.schema or "", []).append(finding)
    for schema, mine in schemas.items():
        if len(mine) > LISTED:
            yield _summed(schema, mine, nouns)
        else:
            yield from mine


def listed(names: Sequence[str]) -> str:
    """Return the names in one line, only the first few of many."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _summed(schema: str, findings: list[Finding], nouns: str) -> Finding:
    worst = min(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    names = listed([finding.subject.qualified for finding in findings])
    return Finding(
        severity=worst.severity,
        subject=Subject(kind="schema", name=schema),
        message=f"{len(findings)} {nouns} of schema {quoted(schema)} have this defect: {names}. One of them: {worst.message}",
        remedy=_remedy(worst, findings),
        evidence=(worst.evidence[0], tuple(sorted({row for finding in findings for row in finding.evidence[1]}))),
        value=float(len(findings)),
        unit=nouns,
        relations=frozenset().union(*(finding.relations for finding in findings)),
    )


def _remedy(worst: Finding, findings: list[Finding]) -> str:
    remedies = list(dict.fromkeys(finding.remedy for finding in findings))
    if not all(remedy[0].islower() for remedy in remedies):  # words, not statements
        return f"{worst.remedy} And so for each of the {len(findings)}."
    rest = f";\n-- and so on: {len(remedies) - LISTED} more like these" if len(remedies) > LISTED else ""
    return ";\n".join(remedies[:LISTED]) + rest
