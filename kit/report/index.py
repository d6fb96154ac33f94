"""The first page of a report: the verdict in five seconds, and where everything else stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from kit import checks
from kit.analyze.document import ChangeEntry, FindingEntry, FindingsDocument, ResultEntry
from kit.analyze.findings import SEVERITIES, Layer, Severity
from kit.analyze.symptom import parse_symptom
from kit.evidence.model import Cost
from kit.present.displays import evidence_text, measured_text, subject_text
from kit.present.evidence import evidence_anchor, unseen_rows
from kit.present.ladder import Ladder, asked_by
from kit.report.assets import folder_policy, render
from kit.report.pages import PageLink

SHOWN_FINDINGS = 12


@dataclass(frozen=True, slots=True)
class AskedSource:
    """One source as the report names it: the server that answered, the role that asked, and from where."""

    name: str
    server: str
    role: str
    vantage: str


@dataclass(frozen=True, slots=True)
class ReportProvenance:
    """What the report rests on: the kit, the sources, and the capture with its digest and cost."""

    kit_version: str
    git_revision: str | None
    sources: Sequence[AskedSource]
    digest: str
    captured_at: datetime
    cost: Cost


@dataclass(frozen=True, slots=True)
class Card:
    """A finding as the page shows it."""

    id: str
    finding: FindingEntry
    result: ResultEntry
    subject: str
    measured: str
    evidence: str
    evidence_at: str
    also_seen: bool


def index_page(document: FindingsDocument, *, provenance: ReportProvenance, pages: Sequence[PageLink]) -> str:
    """Return `index.html`; it holds no chart and loads nothing."""
    values = index_values(document, provenance, pages, single=False)
    return render("index.html.jinja", policy=folder_policy(), plotly="", nav=pages, single=False, **values)


def index_values(
    document: FindingsDocument, provenance: ReportProvenance, pages: Sequence[PageLink], *, single: bool
) -> dict[str, Any]:
    """Return what the template of the first page shows."""
    cards = _cards(document, {page.name for page in pages}, single=single)
    outside = sum(1 for result in document.results if result.status == "skipped" and not result.source)
    return {
        "document": document,
        "provenance": provenance,
        "case": document.case,
        "ladder": Markup(_ladder(document, provenance).html()),
        "groups": _groups(cards),
        "counts": {severity: sum(1 for card in cards if card.finding.severity == severity) for severity in SEVERITIES},
        "unseen": [
            row for result in document.results if result.source or result.status != "skipped" for row in unseen_rows(result)
        ],
        "outside": outside,
        "clean": [result for result in document.results if result.status == "clean" and not result.not_examined],
        "changes": sorted(document.changes, key=_change_order),
        "notebooks": _notebooks(document, pages),
        "places": {card.finding.fingerprint: card.id for card in cards},
    }


def _ladder(document: FindingsDocument, provenance: ReportProvenance) -> Ladder:
    """Return the picture that the triage notebook opens with."""
    return Ladder(document.layers, [asked_by(source.name, source.role, source.vantage) for source in provenance.sources])


def _cards(document: FindingsDocument, pages: set[str], *, single: bool) -> list[Card]:
    states, cleared = _symptom_states(document), _without_cause(document)
    return [
        Card(
            id=f"finding-{number}",
            finding=finding,
            result=result,
            subject=subject_text(finding),
            measured=measured_text(finding),
            evidence=evidence_text(finding),
            evidence_at=_evidence_address(finding, result, document, single=single) if result.area in pages else "",
            also_seen=finding.severity == "critical" and bool(states) and not _may_explain(finding, result, states, cleared),
        )
        for number, (result, finding) in enumerate(document.findings(), 1)
    ]


def _symptom_states(document: FindingsDocument) -> frozenset[str]:
    symptom = parse_symptom(document.symptom)
    return symptom.sqlstates if symptom else frozenset()


def _without_cause(document: FindingsDocument) -> set[Layer]:
    """Return the layers in which nothing explains the symptom; of those out of scope nobody has said so."""
    return {entry.layer for entry in document.layers if entry.status not in ("broken", "out of scope")}


def _may_explain(finding: FindingEntry, result: ResultEntry, states: frozenset[str], cleared: set[Layer]) -> bool:
    """Return whether the finding could explain a symptom of these SQLSTATEs, as far as the document tells.

    The document does not hold what a check explains: the registry does, and the ladder has looked at the relations.
    """
    if finding.evidence.name == "connection":
        return True
    check = checks.registry().get(result.check)
    return finding.layer not in cleared and (check is None or not states.isdisjoint(check.explains))


def _evidence_address(finding: FindingEntry, result: ResultEntry, document: FindingsDocument, *, single: bool) -> str:
    sources = {other.source for other in document.results if other.check == result.check}
    page = f"#{result.area}-" if single else f"{result.area}.html#"
    return page + evidence_anchor(finding.evidence.name, result.source if len(sources) > 1 else "")


def _groups(cards: Sequence[Card]) -> list[tuple[Severity, list[Card], list[Card]]]:
    """Return per severity the findings shown at once and those folded away."""
    groups = [(severity, [card for card in cards if card.finding.severity == severity]) for severity in SEVERITIES]
    return [(severity, mine[:SHOWN_FINDINGS], mine[SHOWN_FINDINGS:]) for severity, mine in groups if mine]


def _change_order(change: ChangeEntry) -> tuple[datetime, str, str]:
    return change.at, change.kind, change.summary


def _notebooks(document: FindingsDocument, pages: Sequence[PageLink]) -> list[dict[str, Any]]:
    seconds = {entry.name: entry.seconds for entry in document.notebooks}
    paged: list[dict[str, Any]] = [
        {"name": p.name, "title": p.title, "status": p.status, "seconds": seconds.get(p.name), "has_page": True} for p in pages
    ]
    named = {page.name for page in pages}
    lost = [e for e in document.notebooks if e.name not in named]
    return paged + [{"name": e.name, "title": e.name, "status": e.status, "seconds": e.seconds, "has_page": False} for e in lost]
