"""Display objects: what a notebook shows. Each gives HTML and plain text; findings also give their records.

They take plain records and show them; times and durations of the run stay out of the records, so that an
executed notebook can be compared with a fresh run of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from kit.analyze.document import FindingEntry, ResultEntry, Verdict, result_entries
from kit.analyze.findings import LADDER, SEVERITIES, Result, quoted
from kit.checks import SECTIONS, Check
from kit.present import theme
from kit.present.markup import Markup, badge, element, folded, joined, paragraph, preformatted
from kit.present.text import counted, number_text, visible

# More findings than this help nobody on a page; all of them stand in findings.json.
FINDINGS_LIMIT = 100
STATEMENT_LIMIT = 60
FINDINGS_MIME = "application/vnd.incident-kit.findings+json"
Results = Iterable[Result | ResultEntry]
Pair = tuple[ResultEntry, FindingEntry]


class Display:
    """Something a notebook shows: `html` for people with a browser, `text` for everyone else."""

    __slots__ = ()

    def html(self) -> Markup:
        """Return the HTML form; it survives JupyterLab's sanitiser."""
        raise NotImplementedError

    def text(self) -> str:
        """Return the plain form."""
        raise NotImplementedError

    def bundle(self) -> dict[str, Any]:
        """Return the display as data by MIME type."""
        return {"text/html": str(self.html()), "text/plain": self.text()}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.bundle()


@dataclass(frozen=True, slots=True)
class Sentence(Display):
    """One sentence, where there is nothing to draw or to list."""

    words: str

    @override
    def html(self) -> Markup:
        return paragraph(self.words, css="kit-sentence")

    @override
    def text(self) -> str:
        return visible(self.words)


@dataclass(frozen=True, slots=True, init=False)
class Findings(Display):
    """The findings of some results, the most severe first, each with its remedy."""

    results: tuple[ResultEntry, ...]

    def __init__(self, results: Results) -> None:
        object.__setattr__(self, "results", entries(results))

    def pairs(self) -> list[Pair]:
        """Return every finding with its result: by severity, then in ladder order."""
        return ordered_findings(self.results)

    @override
    def html(self) -> Markup:
        pairs = self.pairs()
        blocks = [_finding_html(result, finding) for result, finding in pairs[:FINDINGS_LIMIT]]
        return element("div", paragraph(self._summary()), *blocks, *_rest(len(pairs)), css="kit-findings")

    @override
    def text(self) -> str:
        pairs = self.pairs()
        lines = [_finding_text(*pair) for pair in pairs[:FINDINGS_LIMIT]]
        return "\n".join([visible(self._summary()), *lines, *_rest(len(pairs))])

    @override
    def bundle(self) -> dict[str, Any]:
        records = {"format": 1, "findings": [_finding_record(*pair) for pair in self.pairs()]}
        return {FINDINGS_MIME: records, **Display.bundle(self)}

    def _summary(self) -> str:
        found = [finding.severity for _, finding in self.pairs()]
        counts = [f"{found.count(severity)} {severity}" for severity in SEVERITIES if severity in found]
        unseen = sum(1 for result in self.results if result.source and result.status in ("skipped", "failed"))
        tail = f" {counted(unseen, 'check')} could not be made." if unseen else ""
        return f"{counted(len(found), 'finding')}: {', '.join(counts)}.{tail}" if found else f"No findings.{tail}"


@dataclass(frozen=True, slots=True)
class VerdictView(Display):
    """The verdict: its status in sign and word, and the one sentence."""

    verdict: Verdict

    @override
    def html(self) -> Markup:
        status = self.verdict.status
        sign = badge(theme.VERDICT_SIGNS[status], status, theme.VERDICT_COLOURS[status])
        return paragraph(sign, " ", element("strong", self.verdict.summary), css="kit-verdict")

    @override
    def text(self) -> str:
        return f"{theme.VERDICT_SIGNS[self.verdict.status]} {self.verdict.status}: {visible(self.verdict.summary)}"


@dataclass(frozen=True, slots=True, init=False)
class NextSteps(Display):
    """What to do, in order: the remedies of the findings, each once, with what it is for."""

    results: tuple[ResultEntry, ...]

    def __init__(self, results: Results) -> None:
        object.__setattr__(self, "results", entries(results))

    def steps(self) -> list[tuple[str, list[str]]]:
        """Return each remedy once with the messages of the findings it is for."""
        steps: dict[str, list[str]] = {}
        for _, finding in ordered_findings(self.results):
            if finding.remedy.strip():
                steps.setdefault(finding.remedy, []).append(finding.message)
        return list(steps.items())

    @override
    def html(self) -> Markup:
        steps = self.steps()
        if not steps:
            return paragraph("No finding asks for a step.")
        items = [
            element("li", paragraph(_reasons(messages)), preformatted(remedy, "kit-remedy"))
            for remedy, messages in steps[:FINDINGS_LIMIT]
        ]
        never = paragraph("The kit never runs a remedy.")
        return element("div", element("ol", *items), *_rest(len(steps)), never, css="kit-steps")

    @override
    def text(self) -> str:
        found = self.steps()
        shown = enumerate(found[:FINDINGS_LIMIT], 1)
        steps = [f"{n}. {visible(_reasons(why))}\n{_indented(remedy)}" for n, (remedy, why) in shown]
        return "\n".join([*steps, *_rest(len(found))]) or "No finding asks for a step."


@dataclass(frozen=True, slots=True, init=False)
class ChecksExplained(Display):
    """The checks in words: what each shows, why it matters, what to do, its limits and its thresholds."""

    checks: tuple[Check, ...]

    def __init__(self, checks: Iterable[Check]) -> None:
        object.__setattr__(self, "checks", tuple(checks))

    @override
    def html(self) -> Markup:
        return element("div", *map(_check_html, self.checks), css="kit-checks")

    @override
    def text(self) -> str:
        return "\n\n".join(_check_text(check) for check in self.checks) or "No checks."


def _rest(count: int) -> list[str]:
    """Return the sentence that says how many more there are, if there are."""
    return [f"… and {count - FINDINGS_LIMIT} more; findings.json holds all."] if count > FINDINGS_LIMIT else []


def entries(results: Results) -> tuple[ResultEntry, ...]:
    """Return judged results in the document's form; those that have it already stay as they are."""
    return tuple(r if isinstance(r, ResultEntry) else result_entries([r])[0] for r in results)


def ordered_findings(results: Sequence[ResultEntry]) -> list[Pair]:
    """Return every finding with its result: by severity, then in ladder order, then by fingerprint."""
    pairs = [(result, finding) for result in results for finding in result.findings]
    return sorted(pairs, key=lambda p: (SEVERITIES.index(p[1].severity), LADDER.index(p[1].layer), p[1].fingerprint))


def subject_text(finding: FindingEntry) -> str:
    """Return the subject as people write it: `table app."Odd Name"`, with the database where it is given.

    A role in a schema is `role api on schema app`; a statement is its first words, since its id says nothing.
    """
    subject = finding.subject
    return f"{subject.kind} {_name_text(finding)}" + (f" in {subject.database}" if subject.database else "")


def _name_text(finding: FindingEntry) -> str:
    subject = finding.subject
    if subject.kind == "role" and subject.schema_ is not None:
        return f"{quoted(subject.name)} on schema {quoted(subject.schema_)}"
    if subject.kind == "statement":
        return _statement_text(finding)
    parts = [part for part in (subject.schema_, subject.name) if part is not None]
    return ".".join(quoted(part) if subject.kind in _NAMED_IN_SQL else part for part in parts)


def _statement_text(finding: FindingEntry) -> str:
    """Return the beginning of the statement, with which the message of such a finding opens; else its id."""
    text = " ".join(finding.message.rpartition(" takes ")[0].split()) or finding.subject.name
    return text if len(text) <= STATEMENT_LIMIT else f"{text[: STATEMENT_LIMIT - 1]}…"


def measured_text(finding: FindingEntry) -> str:
    """Return `612.0 MiB, threshold 100.0 MiB`, or nothing where the finding has no number."""
    if finding.value is None:
        return ""
    limit = "" if finding.threshold is None else f", threshold {number_text(finding.threshold, finding.unit)}"
    return number_text(finding.value, finding.unit) + limit


def evidence_text(finding: FindingEntry) -> str:
    """Return where the evidence stands: the frame's name and the rows by position."""
    rows = finding.evidence.rows
    shown = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
    return finding.evidence.name + (f", {'row' if len(rows) == 1 else 'rows'} {shown}" if rows else "")


_NAMED_IN_SQL = frozenset(
    {"materialized view"} | set("table view index schema role database sequence column relation policy constraint".split())
)


def _finding_html(result: ResultEntry, finding: FindingEntry) -> Markup:
    sign = badge(theme.SEVERITY_SIGNS[finding.severity], finding.severity, theme.SEVERITY_COLOURS[finding.severity])
    head = paragraph(sign, " ", element("strong", subject_text(finding)), f" · {finding.layer}")
    small = paragraph(_origin(result, finding), style="margin:4px 0;font-size:85%", css="kit-small")
    remedy = preformatted(finding.remedy, "kit-remedy") if finding.remedy.strip() else Markup("")
    edge = f"border-left:4px solid {theme.SEVERITY_COLOURS[finding.severity]};padding-left:12px;margin:12px 0"
    return element("div", head, paragraph(finding.message), remedy, small, style=edge, css="kit-finding")


def _finding_text(result: ResultEntry, finding: FindingEntry) -> str:
    head = f"{theme.SEVERITY_SIGNS[finding.severity]} {finding.severity} · {finding.layer} · {subject_text(finding)}"
    lines = [
        visible(head),
        visible(f"  {finding.message}"),
        _indented(finding.remedy),
        visible(f"  {_origin(result, finding)}"),
    ]
    return "\n".join(line for line in lines if line.strip())


def _origin(result: ResultEntry, finding: FindingEntry) -> str:
    parts = [
        measured_text(finding),
        f"evidence: {evidence_text(finding)}",
        f"check: {result.check}",
        result.source and f"source: {result.source}",
    ]
    return " · ".join(part for part in parts if part)


def _finding_record(result: ResultEntry, finding: FindingEntry) -> dict[str, Any]:
    return {"check": result.check, "source": result.source, **finding.model_dump(mode="json", by_alias=True)}


def _reasons(messages: Sequence[str]) -> str:
    return messages[0] if len(messages) == 1 else f"{messages[0]} (and {counted(len(messages) - 1, 'more finding')})"


def _check_html(check: Check) -> Markup:
    parts = [joined([element("strong", name + ". "), check.sections[name]]) for name in SECTIONS]
    numbers = [element("li", line) for line in _threshold_lines(check)]
    listed = [element("ul", *numbers)] if numbers else []
    return folded(f"{check.title} ({check.id})", *[paragraph(part) for part in parts], *listed)


def _check_text(check: Check) -> str:
    sections = [f"  {name}: {check.sections[name]}" for name in SECTIONS]
    return "\n".join([f"{check.title} ({check.id})", *sections, *(f"  {line}" for line in _threshold_lines(check))])


def _threshold_lines(check: Check) -> list[str]:
    return [f"{t.name} = {number_text(t.default, t.unit)}: {t.reason} ({t.source})" for t in check.thresholds]


def _indented(text: str) -> str:
    return "\n".join(f"    {visible(line)}" for line in text.splitlines())
