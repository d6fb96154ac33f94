"""From a capture to the document of findings: every check once, the ladder, the verdict, the time line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kit import checks
from kit.analyze.changes import Change, changes
from kit.analyze.document import ChangeEntry, FindingsDocument, Window, result_entries
from kit.analyze.hypotheses import Stated, checked, hypotheses
from kit.analyze.symptom import located, parse_symptom, symptom_evidence
from kit.analyze.verdict import ladder, verdict
from kit.evidence.model import Capture, Frames
from kit.target import Target


@dataclass(frozen=True, slots=True)
class Question:
    """What a case asks of a capture: its name, symptom, window in UTC, thresholds, layers out of scope and stated causes."""

    case: str
    symptom: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    out_of_scope: tuple[str, ...] = ()
    hypotheses: tuple[Stated, ...] = ()


def judged(capture: Capture, question: Question) -> FindingsDocument:
    """Return the judgement of a capture; ParameterError for an unknown threshold."""
    symptom = located(parse_symptom(question.symptom), capture.sources)
    extra = {"symptom": symptom_evidence(symptom, capture.started_at)}
    results = checks.judge(capture, question.thresholds, extra)
    layers = ladder(results, symptom, question.out_of_scope)
    frames = {source.name: Frames(source) for source in capture.sources}
    return FindingsDocument(
        case=question.case,
        symptom=question.symptom,
        targets=[capture.target],
        started_at=capture.started_at,
        finished_at=capture.finished_at,
        window=Window(since=question.since, until=question.until),
        verdict=verdict(layers, results, symptom),
        layers=layers,
        results=result_entries(results),
        hypotheses=hypotheses(results, symptom, question.hypotheses),
        changes=[_change(change) for change in changes(frames) if _inside(change.at, question)],
        cost=capture.cost,
    )


def stated(target: Target) -> tuple[Stated, ...]:
    """Return the causes that the target states; ParameterError for a check that there is not."""
    return tuple(checked(statement, names, checks.registry()) for statement, names in target.hypotheses)


def _inside(at: datetime, question: Question) -> bool:
    after = question.since is None or at >= question.since
    return after and (question.until is None or at <= question.until)


def _change(change: Change) -> ChangeEntry:
    return ChangeEntry(
        at=change.at,
        effective_at=change.effective_at,
        kind=change.kind,
        summary=change.summary,
        source=change.source,
        outcome=change.outcome,
    )
