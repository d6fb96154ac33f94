"""What the story of an incident is told with, as lists in plain words: causes, changes, and how far an attempt came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from typing_extensions import override

from kit.analyze.document import ChangeEntry, Hypothesis
from kit.present import theme
from kit.present.displays import Display
from kit.present.markup import Markup, badge, element, joined, paragraph
from kit.present.text import counted, seconds_text, utc_text, visible

PROOFS_SHOWN = 4
CHANGES_SHOWN = 60
_OVERFLOW = "overflow-wrap:anywhere"


@dataclass(frozen=True, slots=True)
class Hypotheses(Display):
    """The stated causes, each with its status and why; a refuted one stays. `messages` are findings by fingerprint."""

    stated: tuple[Hypothesis, ...]
    messages: Mapping[str, str] = field(default_factory=dict)

    @override
    def html(self) -> Markup:
        items = [element("li", *self._item(one), style=f"margin:8px 0;{_OVERFLOW}") for one in self.stated]
        listed = [element("ul", *items, style="padding-left:20px;margin:0", css="kit-causes")] if items else []
        return element("div", paragraph(self._counts()), *listed, css="kit-listing")

    @override
    def text(self) -> str:
        lines = [self._counts()]
        for one in self.stated:
            lines.append(f"{theme.HYPOTHESIS_SIGNS[one.status]} {one.status}: {visible(one.statement)}")
            lines += [f"    {word}: {words}" for word, words in self._proofs(one)]
        return "\n".join(lines)

    def _counts(self) -> str:
        found = [one.status for one in self.stated]
        words = ", ".join(f"{found.count(status)} {status}" for status in theme.HYPOTHESIS_SIGNS if status in found)
        return f"{counted(len(found), 'suspected cause')}: {words}." if found else "No cause was suspected."

    def _item(self, one: Hypothesis) -> list[Markup]:
        sign = badge(theme.HYPOTHESIS_SIGNS[one.status], one.status, theme.HYPOTHESIS_COLOURS[one.status])
        head = element("div", sign, " ", element("strong", one.statement))
        return [head, *(element("div", f"{word}: {words}", style="font-size:90%") for word, words in self._proofs(one))]

    def _proofs(self, one: Hypothesis) -> list[tuple[str, str]]:
        pairs = [("For", one.for_), ("Against", one.against)]
        return [(word, self._listed(names)) for word, names in pairs if names] or [("For and against", "nothing was seen")]

    def _listed(self, names: list[str]) -> str:
        shown = [self._proof(name) for name in names[:PROOFS_SHOWN]]
        return "; ".join([*shown, *([f"and {len(names) - PROOFS_SHOWN} more"] if len(names) > PROOFS_SHOWN else [])])

    def _proof(self, name: str) -> str:
        return visible(self.messages.get(name, f"the evidence {name}" if name.isidentifier() else name))


@dataclass(frozen=True, slots=True, init=False)
class Timeline(Display):
    """The changes and notes, the oldest first, each with its time, its kind, and how it ended."""

    changes: tuple[ChangeEntry, ...]

    def __init__(self, changes: Iterable[ChangeEntry]) -> None:
        object.__setattr__(self, "changes", tuple(sorted(changes, key=lambda change: (change.at, change.kind, change.summary))))

    @override
    def html(self) -> Markup:
        items = [element("li", *_change(one), style=f"margin:6px 0;{_OVERFLOW}") for one in self._shown()]
        listed = [element("ol", *items, style="padding-left:32px;margin:0", css="kit-timeline")] if items else []
        return element("div", paragraph(self._head()), *listed, css="kit-listing")

    @override
    def text(self) -> str:
        return "\n".join([self._head(), *(visible(" ".join(_told_change(one))) for one in self._shown())])

    def _shown(self) -> tuple[ChangeEntry, ...]:
        return self.changes[-CHANGES_SHOWN:]

    def _head(self) -> str:
        left = len(self.changes) - CHANGES_SHOWN
        more = f" The first {left} are not shown; findings.json holds all." if left > 0 else ""
        return f"{counted(len(self.changes), 'change')}, the oldest first.{more}" if self.changes else "No change is known."


@dataclass(frozen=True, slots=True)
class Attempt(Display):
    """How far one source's attempt to connect came, step by step; the frame is that of `connection_steps`."""

    source: str
    steps: pd.DataFrame

    @override
    def html(self) -> Markup:
        parts = [paragraph(element("strong", self._head()))]
        for endpoint, rows in self._places():
            parts += [paragraph(endpoint, style="margin:6px 0 0 0;font-size:90%")] if endpoint else []
            parts.append(element("ol", *map(_step, rows), style="margin:0;padding-left:28px", css="kit-steps"))
        return element("div", *parts, style=_OVERFLOW, css="kit-listing")

    @override
    def text(self) -> str:
        lines = [visible(self._head())]
        for endpoint, rows in self._places():
            lines += [f"  {visible(endpoint)}"] if endpoint else []
            lines += [visible(f"    {theme.STEP_SIGNS.get(row['status'], '?')} {row['step']}: {_told(row)}") for row in rows]
        return "\n".join(lines)

    def _head(self) -> str:
        failed = self.steps[self.steps["status"] == "failed"]
        end = f"it stopped at {failed['step'].iloc[0]}" if len(failed) else "no step failed"
        return f"The attempt to connect to {self.source}, tried again step by step: {end}."

    def _places(self) -> Iterable[tuple[str, list[Mapping[Any, Any]]]]:
        rows = _rows(self.steps)
        for endpoint in dict.fromkeys(row["endpoint"] or "" for row in rows):
            yield endpoint, [row for row in rows if (row["endpoint"] or "") == endpoint]


@dataclass(frozen=True, slots=True)
class Probes(Display):
    """How each probed service answered, or where its answer died; the frame is that of `service_probes`."""

    answers: pd.DataFrame

    @override
    def html(self) -> Markup:
        items = [element("li", *_answer(row), style=f"margin:6px 0;{_OVERFLOW}") for row in _rows(self.answers)]
        listed = element("ul", *items, style="padding-left:20px;margin:0", css="kit-probes")
        return element("div", paragraph(self._head()), listed, css="kit-listing")

    @override
    def text(self) -> str:
        told = [(theme.STEP_SIGNS[_answer_status(row)], row["service_name"], _answer_words(row)) for row in _rows(self.answers)]
        return "\n".join([self._head(), *(visible(f"{sign} {name}: {words}") for sign, name, words in told)])

    def _head(self) -> str:
        good = sum(_answer_status(row) == "ok" for row in _rows(self.answers))
        return f"{counted(len(self.answers), 'service')} asked, {good} answered well."


def _answer(row: Mapping[Any, Any]) -> list[Markup]:
    status = _answer_status(row)
    head = [badge(theme.STEP_SIGNS[status], status, theme.STEP_COLOURS[status]), " ", element("strong", row["service_name"])]
    fields = ", ".join(map(str, row["body_fields"] if row["body_fields"] is not None else []))
    small = [element("div", f"It said: {fields}", style="font-size:85%", css="kit-small")] if fields else []
    return [element("div", *head, f": {_answer_words(row)}"), *small]


def _answer_status(row: Mapping[Any, Any]) -> str:
    return "ok" if not row["died_at"] and (row["http_status"] or 0) < 400 else "failed"


def _answer_words(row: Mapping[Any, Any]) -> str:
    words = _DIED.get(row["died_at"], f"it died at {row['died_at']}") if row["died_at"] else f"HTTP status {row['http_status']}"
    return f"{words}: {row['message']}" if row["message"] else words


# How far a request came, for people.
_DIED = {
    "name": "its name leads to no address",
    "tcp": "no line to it could be opened",
    "tls": "the line could not be encrypted",
    "answer": "it took the request and did not answer",
    "body": "its answer broke off",
}


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def _change(one: ChangeEntry) -> list[Markup]:
    at, kind, summary, *rest = _told_change(one)
    head = element("div", at, " · ", element("strong", kind), f" {summary}")
    return [head, *(element("div", words, style="font-size:85%", css="kit-small") for words in rest)]


def _told_change(one: ChangeEntry) -> list[str]:
    at, effective = utc_text(one.at), utc_text(one.effective_at) if one.effective_at else ""
    late = f"took effect {effective}" if effective not in ("", at) else ""
    ended = f"✗ {one.outcome}" if (one.outcome or "").startswith("failed") else one.outcome or ""
    after = " · ".join(words for words in (ended, late, f"source: {one.source}") if words)
    return [at, one.kind, one.summary.removeprefix(f"{one.kind} "), after]


def _step(row: Mapping[Any, Any]) -> Markup:
    status = str(row["status"])
    sign = badge(theme.STEP_SIGNS.get(status, "?"), status, theme.STEP_COLOURS.get(status, theme.STEP_COLOURS["skipped"]))
    words = element("strong", _told(row)) if status == "failed" else _told(row, with_status=False)
    return element("li", joined([element("span", row["step"]), " ", sign, " ", words]), style="margin:2px 0")


def _told(row: Mapping[Any, Any], *, with_status: bool = True) -> str:
    seconds = f" ({seconds_text(row['seconds'])})" if row["seconds"] and row["seconds"] >= 1 else ""
    code = f"{row['error_code']}: " if row["error_code"] else ""
    words = f"{code}{row['message'] or ''}{seconds}".strip()
    return words or (str(row["status"]) if with_status else "")
