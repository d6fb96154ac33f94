"""What the checks of connection strings have in common: each takes the problems of its layers, by what the examiner found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kit.analyze.dsn.evidence import PROBLEMS, STRINGS
from kit.analyze.findings import SEVERITIES, Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

NEEDS = (STRINGS, PROBLEMS)
Row = tuple[int, Mapping[str, Any]]


def judge_strings(frames: Frames, layers: Collection[str]) -> Iterable[Judgement]:
    """Yield a finding for each problem of each string in these layers; a variable that is not set was not examined."""
    for string in records(frames[STRINGS]):
        name = string["variable_name"]
        yield Examined(1) if string["is_set"] else NotExamined(f"${name}", "it is not set where the kit runs")
    found: dict[tuple[str, str], list[Row]] = {}
    for position, row in enumerate(records(frames[PROBLEMS])):
        if row["layer"] in layers:
            found.setdefault((row["variable_name"], row["problem"]), []).append((position, row))
    yield from (_finding(frames, *key, entries) for key, entries in found.items())


def _finding(frames: Frames, variable: str, problem: str, entries: list[Row]) -> Finding:
    string = next(row for row in records(frames[STRINGS]) if row["variable_name"] == variable)
    worst = min((row["severity"] for _, row in entries), key=SEVERITIES.index)
    told = " ".join(dict.fromkeys(row["message"] for _, row in entries))
    corrected = "" if worst == "info" else f"\nThe whole string: {string['corrected']}"
    return Finding(
        severity=worst,
        subject=Subject("fault", problem, variable),
        message=f"The connection string in {variable}: {told} ({string['masked']})",
        remedy=" ".join(dict.fromkeys(row["remedy"] for _, row in entries)) + corrected,
        evidence=rows([position for position, _ in entries], PROBLEMS),
    )
