"""The document `findings.json`: the published contract of a judged capture, and the way results become it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kit.analyze import findings as judged
from kit.analyze.findings import Layer, ResultStatus, Severity
from kit.evidence.model import Cost

FORMAT = 1

LayerStatus = Literal["cleared", "broken", "not examined", "out of scope"]
VerdictStatus = Literal["broken", "healthy", "open"]
NotebookStatus = Literal["ok", "error", "timeout", "dead kernel", "not run"]


class Model(BaseModel):
    """A frozen part of the document: no unknown keys, no NaN, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Window(Model):
    """The window of the incident in UTC."""

    since: datetime | None = None
    until: datetime | None = None


class Verdict(Model):
    """The first broken layer, or why there is none."""

    status: VerdictStatus
    layer: Layer | None = None
    summary: str


class LayerEntry(Model):
    """One rung of the ladder."""

    layer: Layer
    status: LayerStatus
    reason: str


class SubjectEntry(Model):
    """What a finding is about."""

    kind: str
    database: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    name: str


class EvidenceReference(Model):
    """The frame, and its rows by position, that show a defect."""

    name: str
    rows: list[int]


class FindingEntry(Model):
    """One defect of one subject."""

    fingerprint: str
    severity: Severity
    layer: Layer
    subject: SubjectEntry
    message: str
    value: float | None = None
    threshold: float | None = None
    unit: str | None = None
    remedy: str
    evidence: EvidenceReference


class NotExaminedEntry(Model):
    """A subject that could not be judged."""

    subject: str
    reason: str


class ResultEntry(Model):
    """What one check came to on one source."""

    check: str
    area: str
    layer: Layer
    source: str
    status: ResultStatus
    reason: str | None = None
    examined: int = 0
    not_examined: list[NotExaminedEntry] = []
    seconds: float = 0.0
    thresholds: dict[str, float] = {}
    findings: list[FindingEntry] = []


class Hypothesis(Model):
    """A stated cause, with fingerprints or evidence names for and against it."""

    statement: str
    status: Literal["supported", "refuted", "open"]
    for_: list[str] = Field(default=[], alias="for")
    against: list[str] = []


class ChangeEntry(Model):
    """Something altered at a time."""

    at: datetime
    effective_at: datetime | None = None
    kind: str
    summary: str
    source: str
    outcome: str | None = None


class NotebookEntry(Model):
    """How the run of one notebook ended."""

    name: str
    status: NotebookStatus
    seconds: float


class FindingsDocument(Model):
    """The whole of `findings.json`."""

    format: int = FORMAT
    case: str
    symptom: str | None = None
    targets: list[str]
    started_at: datetime
    finished_at: datetime
    window: Window = Window()
    verdict: Verdict
    layers: list[LayerEntry]
    results: list[ResultEntry]
    hypotheses: list[Hypothesis] = []
    changes: list[ChangeEntry] = []
    notebooks: list[NotebookEntry] = []
    cost: Cost = Cost()

    def findings(self) -> list[tuple[ResultEntry, FindingEntry]]:
        """Return every finding with its result, the most severe first, then in ladder order."""
        pairs = [(result, finding) for result in self.results for finding in result.findings]
        return sorted(pairs, key=lambda pair: _rank(pair[1]))

    def to_json(self) -> str:
        """Return the document as JSON text, by the published names."""
        return self.model_dump_json(indent=1, by_alias=True) + "\n"


def result_entries(results: Iterable[judged.Result]) -> list[ResultEntry]:
    """Return judged results in the document's form."""
    return [_entry(result) for result in results]


def json_schema() -> dict[str, object]:
    """Return the JSON schema of `findings.json`."""
    return FindingsDocument.model_json_schema(by_alias=True)


def _rank(finding: FindingEntry) -> tuple[int, int, str]:
    severity = judged.SEVERITIES.index(finding.severity)
    return severity, judged.LADDER.index(finding.layer), finding.fingerprint


def _entry(result: judged.Result) -> ResultEntry:
    return ResultEntry(
        check=result.check,
        area=result.area,
        layer=result.layer,
        source=result.source,
        status=result.status,
        reason=result.reason,
        examined=result.examined,
        not_examined=[NotExaminedEntry(subject=n.subject, reason=n.reason) for n in result.not_examined],
        seconds=round(result.seconds, 4),
        thresholds=result.thresholds,
        findings=[_finding(finding) for finding in result.findings],
    )


def _finding(finding: judged.Finding) -> FindingEntry:
    subject = finding.subject
    name, rows = finding.evidence
    return FindingEntry(
        fingerprint=finding.fingerprint,
        severity=finding.severity,
        layer=finding.layer,
        subject=SubjectEntry(kind=subject.kind, database=subject.database, schema_=subject.schema, name=subject.name),
        message=finding.message,
        value=finding.value,
        threshold=finding.threshold,
        unit=finding.unit,
        remedy=finding.remedy,
        evidence=EvidenceReference(name=name, rows=list(rows)),
    )
