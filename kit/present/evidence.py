"""Displays of evidence and of its limits: frames with their query, who asked, what was clean, what was not seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pandas as pd
from typing_extensions import override

from kit.analyze.document import ChangeEntry, ResultEntry
from kit.evidence.model import Capture, Evidence, Gap, Source
from kit.present.displays import Display, Results, Sentence, entries
from kit.present.markup import Markup, element, folded, paragraph, preformatted
from kit.present.tables import ROW_LIMIT, Table
from kit.present.text import counted, milliseconds_text, seconds_text, utc_text, visible


@dataclass(frozen=True, slots=True)
class EvidenceView(Display):
    """A frame as a table, with its provenance, and its query one click away; `frame` is the raw one.

    `rows` (positions) are marked and always shown.
    """

    name: str
    evidence: Evidence
    source: Source | None = None
    rows: Collection[int] = ()
    limit: int = ROW_LIMIT
    is_one_of_several: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """The frame as it was captured."""
        return self.evidence.frame

    @override
    def html(self) -> Markup:
        query = folded("Show the query", preformatted(self.evidence.provenance.text, "kit-query"))
        small = paragraph(self._origin(), style="margin:4px 0;font-size:85%", css="kit-small")
        return element("div", self._table().html(), small, query, css="kit-evidence", id=self._anchor())

    @override
    def text(self) -> str:
        return "\n".join([visible(self._caption()), self._table().text(), visible(self._origin())])

    def _anchor(self) -> str:
        return evidence_anchor(self.name, self.source.name if self.source and self.is_one_of_several else "")

    def _table(self) -> Table:
        units = {column.name: column.unit for column in self.evidence.columns}
        return Table(self.frame, units, self._caption(), self.limit, self.rows)

    def _caption(self) -> str:
        provenance = self.evidence.provenance
        return f"{provenance.title}: {provenance.grain}"

    def _origin(self) -> str:
        return " · ".join(part for part in [f"evidence: {self.name}", *self._asker(), *self._circumstances()] if part)

    def _asker(self) -> list[str]:
        if self.source is None:
            return []
        user = self.source.identity.user if self.source.identity else ""
        return [f"source: {self.source.name}", f"asked as {user}" if user else "", f"from: {self.source.vantage}"]

    def _circumstances(self) -> list[str]:
        provenance = self.evidence.provenance
        since = f"statistics since {utc_text(provenance.statistics_since)}" if provenance.statistics_since else ""
        cut = "cut off: there was more" if provenance.truncated else ""
        return [utc_text(provenance.at), seconds_text(provenance.seconds), counted(provenance.rows, "row"), cut, since]


@dataclass(frozen=True, slots=True)
class MissingEvidence(Display):
    """Evidence that was asked for and did not come, with the reason."""

    name: str
    gap: Gap

    @override
    def html(self) -> Markup:
        return paragraph(element("strong", f"? {self.name}: {self.gap.kind}."), " ", self.gap.reason, css="kit-missing")

    @override
    def text(self) -> str:
        return visible(f"? {self.name}: {self.gap.kind}. {self.gap.reason}")


@dataclass(frozen=True, slots=True)
class Several(Display):
    """Several displays, one under the other."""

    displays: tuple[Display, ...]

    @override
    def html(self) -> Markup:
        return element("div", *(display.html() for display in self.displays), css="kit-several")

    @override
    def text(self) -> str:
        return "\n\n".join(display.text() for display in self.displays)


@dataclass(frozen=True, slots=True)
class Listing(Display):
    """A heading sentence and a table of plain rows."""

    words: str
    frame: pd.DataFrame

    @override
    def html(self) -> Markup:
        table = Table(self.frame, limit=200).html() if len(self.frame) else Markup("")
        return element("div", paragraph(self.words), table, css="kit-listing")

    @override
    def text(self) -> str:
        return "\n".join([visible(self.words), *([Table(self.frame, limit=200).text()] if len(self.frame) else [])])


def evidence_anchor(name: str, source: str = "") -> str:
    """Return the id of the place where evidence is shown; `source` is given where several could hold it.

    >>> evidence_anchor("relations"), evidence_anchor("relations", "api")
    ('evidence-relations', 'evidence-api-relations')
    """
    return "-".join(part for part in ("evidence", source, name) if part)


def identity_block(capture: Capture) -> Listing:
    """Return who asked, from where, which server answered, when, and what it cost."""
    cost = capture.cost
    spent = (
        f"{counted(cost.statements, 'statement')}, {milliseconds_text(cost.server_ms)} of waiting, {counted(cost.rows, 'row')}"
    )
    digest = f" Digest {capture.digest[:16]}…" if capture.digest else ""
    words = f"Captured from {capture.target}, {utc_text(capture.started_at)}, by kit {capture.kit_version}: {spent}.{digest}"
    return Listing(words, _frame([_source_row(source) for source in capture.sources], _SOURCE_COLUMNS))


def not_examined(results: Results) -> Listing:
    """Return what could not be judged, and why; checks without a source to look at are counted only."""
    judged = entries(results)
    rows = [row for result in judged if result.source for row in unseen_rows(result)]
    unnamed = sum(1 for result in judged if not result.source and result.status == "skipped")
    tail = f" {counted(unnamed, 'check')} had no source to look at." if unnamed else ""
    words = f"Not examined: {counted(len(rows), 'subject')}.{tail}" if rows else f"Nothing was left unexamined.{tail}"
    return Listing(words, _frame(rows, ("layer", "check", "source", "subject", "reason")))


def clean(results: Results) -> Listing:
    """Return the checks that found nothing and left nothing unseen, with how much they examined."""
    rows = [(r.layer, r.check, r.source, r.examined) for r in entries(results) if r.status == "clean" and not r.not_examined]
    return Listing(f"Clean: {counted(len(rows), 'check')}.", _frame(rows, ("layer", "check", "source", "examined")))


def notes(altered: Iterable[ChangeEntry]) -> Display:
    """Return what people have noted, by time; where nobody has, the sentence that says how."""
    rows = [(c.at, c.summary) for c in sorted(altered, key=lambda change: change.at) if c.kind == "note"]
    if not rows:
        return Sentence("Nobody has noted anything. To note something: kit note CASE TEXT.")
    frame = _frame(rows, ("at", "note"))
    return Listing(f"{counted(len(rows), 'note')}.", frame.assign(at=pd.to_datetime(frame["at"], utc=True)))


def unseen_rows(result: ResultEntry) -> list[tuple[str, str, str, str, str]]:
    """Return one row per thing that this result could not judge: layer, check, source, subject, reason."""
    head: tuple[str, str, str] = (result.layer, result.check, result.source)
    rows = [(*head, unseen.subject, unseen.reason) for unseen in result.not_examined]
    whole = result.status in ("skipped", "failed") and not rows
    return [(*head, "the whole check", f"{result.status}: {result.reason or 'no reason given'}")] if whole else rows


_SOURCE_COLUMNS = ("source", "asked as", "from", "database", "server", "version", "search_path", "role is")


def _source_row(source: Source) -> tuple[str, ...]:
    who = source.identity
    if who is None:
        return (source.name, "–", source.vantage, "–", source.kind, "–", "–", "–")
    user = who.user if who.user == who.session_user else f"{who.user} (logged in as {who.session_user})"
    role = ", ".join(["superuser" if who.is_superuser else "not superuser", *(["in recovery"] if who.in_recovery else [])])
    return (source.name, user, source.vantage, who.database, who.server, who.server_version_text, who.search_path, role)


def _frame(rows: Iterable[tuple[object, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns), dtype=object)
