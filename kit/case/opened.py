"""What a notebook holds: a case, opened from its folder, from the recorded bundle, or from a live target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from kit import checks
from kit.analyze.document import FindingsDocument, ResultEntry
from kit.case import asking, folders, telling
from kit.case.judging import Question, judged, stated
from kit.case.notes import with_notes
from kit.case.tables import DERIVED, table
from kit.errors import BundleError, UsageError
from kit.evidence import bundle
from kit.evidence.model import Capture, Frames, Source
from kit.present import displays, evidence, figures
from kit.present.displays import Display
from kit.present.evidence import EvidenceView, Listing
from kit.present.ladder import Ladder, vantages
from kit.present.story import Timeline
from kit.target import Target, resolve


@dataclass(frozen=True, slots=True)
class Case:
    """One incident under investigation: a capture and what the checks came to.

    Every method returns something to look at; `table` and `EvidenceView.frame` return plain frames.
    """

    capture: Capture
    document: FindingsDocument
    target: Target | None = None
    # What a live case was asked: the document keeps neither the thresholds nor what the target puts out of scope.
    question: Question | None = None

    @property
    def verdict(self) -> Display:
        """The verdict in one sentence."""
        return displays.VerdictView(self.document.verdict)

    @property
    def ladder(self) -> Display:
        """The picture of every layer and what is known of it, and from where it was asked."""
        return Ladder(self.document.layers, vantages(self.capture.sources))

    @property
    def identity(self) -> Display:
        """Who asked, from where, which server answered, when, and what it cost."""
        return evidence.identity_block(self.capture)

    @property
    def hypotheses(self) -> Display:
        """The suspected causes and what speaks for and against each; a refuted one stays."""
        return telling.causes(self.document)

    @property
    def breaking(self) -> Display:
        """What breaks the ladder: the critical findings of the broken layers, with what mends them."""
        return telling.breaking(self.document)

    @property
    def attempts(self) -> Display:
        """How far each failed attempt to connect came."""
        return telling.attempts(self.capture)

    @property
    def probes(self) -> Display:
        """What the probes of services saw."""
        return telling.probes(self.capture)

    @property
    def cloud(self) -> Display:
        """What the cloud exports say of services, revisions and instances."""
        return telling.cloud(self.capture)

    @property
    def notes(self) -> Display:
        """What people have noted, by time."""
        return evidence.notes(self.document.changes)

    @property
    def changes(self) -> Display:
        """What was altered, by time."""
        return Timeline(self.document.changes)

    def findings(self, area: str | None = None) -> Display:
        """Return the findings of an area (or all), the most severe first."""
        return displays.Findings(self._results(area))

    def clean(self, area: str | None = None) -> Display:
        """Return the checks that found nothing and left nothing unseen."""
        return evidence.clean(self._results(area))

    def not_examined(self, area: str | None = None) -> Display:
        """Return what could not be judged, and why."""
        return evidence.not_examined(self._results(area))

    def next_steps(self, area: str | None = None) -> Display:
        """Return the remedies of the findings, in order."""
        return displays.NextSteps(self._results(area))

    def explained(self, area: str) -> Display:
        """Return the checks of an area in words."""
        return displays.ChecksExplained(check for check in checks.registry().values() if check.area == area)

    def table(self, name: str) -> pd.DataFrame:
        """Return evidence or a derived table as a plain frame."""
        if name == "changes":
            return pd.DataFrame([change.model_dump() for change in self.document.changes])
        return table(name, self.capture.sources)

    def evidence(self, name: str, limit: int = 20) -> Display:
        """Return evidence to look at, its query one click away, the rows that findings point at marked.

        Where several sources have it, each shows its own, with the rows of its own findings.
        """
        views = tuple(self._view(name, source, limit) for source in self.capture.sources if name in source.evidence)
        if views:
            return views[0] if len(views) == 1 else evidence.Several(views)
        gaps = [source.gaps[name] for source in self.capture.sources if name in source.gaps]
        return evidence.MissingEvidence(name, gaps[0]) if gaps else displays.Sentence(f"{name}: no source holds it.")

    def _view(self, name: str, source: Source, limit: int) -> EvidenceView:
        pairs = [(result, finding) for result, finding in self.document.findings() if result.source == source.name]
        rows = {row for _, finding in pairs if finding.evidence.name == name for row in finding.evidence.rows}
        # Of the same kind: the index counts the sources that a check was made on, which is the same number.
        alike = sum(1 for other in self.capture.sources if other.kind == source.kind)
        return EvidenceView(name, source.evidence[name], source, rows, limit, is_one_of_several=alike > 1)

    def derived(self, name: str, top: int = 20) -> Display:
        """Return the first rows of a derived table to look at; where it cannot be made, the sentence that says why."""
        try:
            made, frame = DERIVED[name], self.table(name)
            if frame.empty:
                return displays.Sentence(f"{made.title}: none.")
            return Listing(made.title, frame.sort_values(made.order, ascending=False)[list(made.shown)].head(top))
        except UsageError as error:
            return displays.Sentence(error.message)

    def evidence_behind(self, area: str, *also: str, limit: int = 20) -> Display:
        """Return the evidence that the findings of an area point at, and further evidence by name."""
        named = [finding.evidence.name for result in self._results(area) for finding in result.findings]
        names = dict.fromkeys([*also, *named])
        shown = tuple(self.evidence(name, limit) for name in names)
        return evidence.Several(shown) if shown else displays.Sentence("No finding points at any evidence.")

    def access(self, role: str = "", relation: str = "", action: str = "") -> Display:
        """Return why the role may or may not: gate by gate, with the remedy and the rows that prove it.

        What is left out comes from the case's symptom, else from the first finding about a role.
        """
        return asking.story(self.capture, self.document, role, relation, action)

    def where(self, name: str = "") -> Display:
        """Return where a relation of this name (or the one of the symptom) is: other schemas, databases, spellings."""
        return asking.whereabouts_of(self.capture, self.document, name)

    def figure(self, name: str, **options: Any) -> Display:
        """Return a figure by name: `sessions`, `blocking`, `access`, `bloat`, `statements`, `changes`, `layers`."""
        figure = _FIGURES.get(name)
        if figure is None:
            raise UsageError(f"There is no figure {name!r}.", f"Known: {', '.join(_FIGURES)}.")
        try:
            return figure(self, **options)
        except UsageError as error:
            return displays.Sentence(error.message)

    def diff(self, works: str) -> Display:
        """Return in what another case, bundle or target, which works, and this case, which fails, differ, by the ladder."""
        from kit.case.differing import shown_against

        return shown_against(works, self.capture, self.document.symptom)

    def refresh(self) -> Case:
        """Return the same case captured again; UsageError where it was opened from a bundle."""
        if self.target is None or self.question is None or self.target.bundle is not None:
            raise UsageError("This case was opened from a bundle.", "Open a live target: kit.capture('T').")
        return _live(self.target, self.question)

    def _results(self, area: str | None) -> Sequence[ResultEntry]:
        if area is not None and area not in checks.AREAS:
            raise UsageError(f"There is no area {area!r}.", f"Known: {', '.join(checks.AREAS)}.")
        return [result for result in self.document.results if area in (None, result.area)]

    def frames(self, source: str = "database") -> Frames:
        """Return the frames of one source, as a check sees them."""
        return Frames(self.capture.source(source))


def open_case(name: str = folders.RECORDED) -> Case:
    """Return a case by its name: the newest capture of `reports/<name>/`, or the recorded one (`recorded`)."""
    folder = folders.opened_folder(name)
    captured = folders.captures(folder)
    if not captured:
        raise UsageError(f"The case {name!r} holds no capture.", f"Make one: kit run {name} --target T")
    return _opened(captured[-1], name, folder)


def capture(target: str, symptom: str | None = None) -> Case:
    """Return a case made of a live target (or a bundle's folder), captured now, with a progress bar."""
    found = resolve(target)
    question = Question(case="live", symptom=symptom, out_of_scope=found.out_of_scope, hypotheses=stated(found))
    if found.bundle is not None:
        taken = bundle.load(found.bundle)
        return Case(taken, judged(taken, question), found, question)
    return _live(found, question)


def show(target: str, name: str) -> pd.DataFrame:
    """Return one table of a live target, collecting only what it needs (about a second)."""
    from kit.case.collecting import collected

    return table(name, collected(resolve(target), only=_needs(name)).sources)


def _needs(name: str) -> tuple[str, ...]:
    from kit.case.tables import evidence_for

    return ("extensions", *evidence_for(name))


def _live(target: Target, question: Question) -> Case:
    from kit.case.collecting import collected

    taken = collected(target)
    return Case(taken, judged(taken, question), target, question)


def _opened(folder: Path, name: str, case_folder: Path) -> Case:
    taken = bundle.load(folder)
    document = _read_document(folder, name)
    # The recorded case is judged anew, so that the notebooks' tests see what the checks say today.
    return Case(taken, judged(taken, _question(document)) if name == folders.RECORDED else with_notes(document, case_folder))


def _read_document(folder: Path, name: str) -> FindingsDocument:
    path = folder / folders.FINDINGS
    try:
        return FindingsDocument.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"The findings of the case {name!r} cannot be read.", f"Judge it again: kit run {name}.") from error


def _question(document: FindingsDocument) -> Question:
    return Question(document.case, document.symptom, document.window.since, document.window.until)


def _change_timeline(case: Case, since: str = "", until: str = "") -> Display:
    """The window is the notebook's own, else the case's."""
    window = case.document.window
    begin = datetime.fromisoformat(since) if since else window.since
    end = datetime.fromisoformat(until) if until else window.until
    return figures.change_timeline(case.document.changes, since=begin, until=end)


_FIGURES: dict[str, Callable[..., Display]] = {
    "sessions": lambda case: figures.wait_chart(case.table("sessions")),
    "blocking": lambda case: figures.blocking_chart(case.table("blocking"), case.table("sessions")),
    "access": lambda case, action="SELECT": figures.access_by_schema(case.table("access_by_schema"), action=action),
    "bloat": lambda case, top=15: figures.table_bytes_chart(case.table("bloat").nlargest(top, "table_bytes")),
    "statements": lambda case, top=10: figures.statement_time_chart(case.table("statements"), top=top),
    "changes": _change_timeline,
    "layers": lambda case: case.ladder,
}

__all__ = ["Case", "capture", "open_case", "show"]
