"""The ladder as a picture: eleven rungs in reading order, the first broken one unmistakable, each in plain words.

It is drawn downwards, configuration first: people, phones, paper and screen readers come to the top line first, and the
first broken rung is then the first that they come to. The picture is a list in boxes, for the same reasons as the chain of
gates: a sign, a word and the kind of the line stand beside every colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import override

from kit.analyze.document import LayerEntry, LayerStatus
from kit.analyze.findings import LADDER, Layer
from kit.checks import registry
from kit.evidence.model import Source
from kit.present import theme
from kit.present.displays import Display
from kit.present.markup import Markup, badge, element, paragraph
from kit.present.text import counted, visible

__all__ = ["FIRST", "QUESTIONS", "TORN", "Ladder", "asked_by", "vantages"]

# What each layer asks, for people who know no SQL. Yes is how it should be.
QUESTIONS: dict[Layer, str] = {
    "configuration": "Was the service told the right things?",
    "reachability": "Can a line to the database be opened?",
    "authentication": "Is the caller known and let in?",
    "database identity": "Is it the right database?",
    "schema": "Are the tables and columns there?",
    "privileges": "May the caller use them?",
    "row security": "Is the caller shown the rows it asks for?",
    "data integrity": "Is the data whole?",
    "capacity and performance": "Is there room, and is it fast enough?",
    "change": "Did the last changes go through as planned?",
    "service": "Does the service itself work?",
}
_PARTS: dict[Layer, str] = {
    "configuration": "On the way to the database",
    "schema": "Inside the database",
    "change": "Around the database",
}
# Cleared says no yes: a finding that cannot explain the symptom leaves its layer cleared.
_ANSWERS: dict[LayerStatus, str] = {"cleared": "", "broken": "No: ", "not examined": "Not known: ", "out of scope": "Not asked: "}
_LINES: dict[LayerStatus, str] = {
    "cleared": "2px solid",
    "broken": "5px double",
    "not examined": "2px dashed",
    "out of scope": "1px dotted",
}
_PLACES = {"here": "the machine that the kit ran on", "exports": "a folder of exports"}
FIRST, TORN = "the first broken layer", "the ladder breaks here"
FIRST_LIMIT, REASON_LIMIT, VANTAGES_SHOWN, VANTAGE_LIMIT = 600, 150, 6, 160
TEXT_WIDTH = 110
_NAME_WIDTH = max(map(len, LADDER))
_LIST = "margin:0;padding-left:28px;max-width:46em"


@dataclass(frozen=True, slots=True, init=False)
class Ladder(Display):
    """The layers from the first rung to the last, each with its status in sign and word; `asked` says by whom and from where."""

    layers: tuple[LayerEntry, ...]
    asked: tuple[str, ...]

    def __init__(self, layers: Iterable[LayerEntry], asked: Iterable[str] = ()) -> None:
        object.__setattr__(self, "layers", tuple(layers))
        object.__setattr__(self, "asked", tuple(asked))

    @property
    def first_broken(self) -> LayerEntry | None:
        """The rung that the verdict names."""
        return next((entry for entry in self.layers if entry.status == "broken"), None)

    @property
    def summary(self) -> str:
        """What the picture shows, in a sentence or two."""
        statuses = [entry.status for entry in self.layers]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in theme.STATUS_SIGNS if status in statuses)
        return f"{counted(len(statuses), 'rung')}, each needing those before it: {counts}. {self._outcome()}"

    @override
    def html(self) -> Markup:
        rungs = [self._rung(place) for place in range(len(self.layers))]
        head = element("div", *(self._before(0) if self.layers else []), style=_LIST)
        drawn = element("ol", *rungs, style=_LIST, css="kit-ladder")
        small = {"style": "margin:6px 0;font-size:85%", "css": "kit-small"}
        parts = [paragraph(self.summary, **small), head, drawn, *(paragraph(words, **small) for words in self._vantage())]
        return element("div", *parts, css="kit-picture", style="overflow-wrap:anywhere")

    @override
    def text(self) -> str:
        lines = [line for place in range(len(self.layers)) for line in self._lines(place)]
        return "\n".join([self.summary, *lines, *self._vantage()])

    def _outcome(self) -> str:
        first = self.first_broken
        if first is None:
            return "None is broken."
        place = self.layers.index(first)
        unseen = [entry for entry in self.layers[:place] if entry.status == "not examined"]
        doubt = f"; {len(unseen)} before it could not be examined in full" if unseen else ""
        return f"The ladder breaks at rung {place + 1}, {first.layer}{doubt}."

    def _vantage(self) -> list[str]:
        if not self.asked:
            return []
        shown = [_cut(words, VANTAGE_LIMIT) for words in self.asked[:VANTAGES_SHOWN]]
        more = [counted(len(self.asked) - len(shown), "more source")] if len(self.asked) > len(shown) else []
        return [f"Asked: {'; '.join([*shown, *more])}. Cleared means: for who asked, from there. Elsewhere it may be otherwise."]

    def _rung(self, place: int) -> Markup:
        entry = self.layers[place]
        room = "2px 12px" if entry.status in ("out of scope", "cleared") else "5px 12px"
        style = f"border:{_LINES[entry.status]} {theme.STATUS_COLOURS[entry.status]};border-radius:8px;padding:{room}"
        box = element("div", *self._words(entry), style=style, css=f"kit-rung kit-{entry.status.replace(' ', '-')}")
        return element("li", box, *self._after(place), style="margin:0")

    def _words(self, entry: LayerEntry) -> list[Markup]:
        is_first = entry is self.first_broken
        sign = badge(theme.STATUS_SIGNS[entry.status], self._status(entry), theme.STATUS_COLOURS[entry.status])
        mark = [" ", element("strong", FIRST)] if is_first else []
        head = element("div", element("strong", entry.layer), " ", sign, *mark)
        asked = [element("span", QUESTIONS[entry.layer], css="kit-asks"), f" {_ANSWERS[entry.status]}"]
        if not is_first:
            return [head, element("div", *asked, _because(entry, REASON_LIMIT), style="font-size:85%", css="kit-because")]
        sentence = element("strong", _because(entry, FIRST_LIMIT))
        return [head, element("div", *asked, sentence, style="margin:2px 0", css="kit-because")]

    def _status(self, entry: LayerEntry) -> str:
        return "also broken" if entry.status == "broken" and entry is not self.first_broken else entry.status

    def _after(self, place: int) -> list[Markup]:
        return self._before(place + 1) or [_JOINT] if place + 1 < len(self.layers) else []

    def _before(self, place: int) -> list[Markup]:
        """Return what stands over a rung: the part of the way that begins there, and the break."""
        entry = self.layers[place]
        part = _PARTS.get(entry.layer)
        words = element("span", part or "", style="font-size:85%", css="kit-part")
        named = [_rails(theme.LINE, "solid", words)] if part else []
        return [*named, _TORN] if entry is self.first_broken else named

    def _lines(self, place: int) -> list[str]:
        entry = self.layers[place]
        part = [f"  {_PARTS[entry.layer]}"] if entry.layer in _PARTS else []
        torn = [f"  ╳  {TORN}"] if entry is self.first_broken else []
        start = f"  {place + 1:>2} {theme.STATUS_SIGNS[entry.status]} {entry.layer:<{_NAME_WIDTH}} "
        limit = FIRST_LIMIT if entry is self.first_broken else REASON_LIMIT
        answer = f"{self._status(entry)}. {QUESTIONS[entry.layer]} {_ANSWERS[entry.status]}{_because(entry, limit)}"
        words = textwrap.wrap(answer, TEXT_WIDTH - len(start))
        return [*part, *torn, start + words[0], *(" " * len(start) + line for line in words[1:])]


def vantages(sources: Iterable[Source]) -> list[str]:
    """Return by whom and from where each source was asked, in words."""
    return [asked_by(source.name, source.identity.user if source.identity else "", source.vantage) for source in sources]


def asked_by(name: str, role: str, vantage: str) -> str:
    """Return by whom and from where a source was asked.

    >>> asked_by("app", "shop_api", "this machine"), asked_by("cloud", "", "exports")
    ('app as shop_api, from this machine', 'cloud, from a folder of exports')
    """
    place = _PLACES.get(vantage, vantage)
    return f"{name} as {role}, from {place}" if role.strip("–") else f"{name}, from {place}"


def _because(entry: LayerEntry, limit: int) -> str:
    """Return the reason, with the title of the check that gave it in place of its name."""
    name, _, words = entry.reason.partition(": ")
    check = registry().get(name)
    return _cut(f"{check.title}: {words}" if check else entry.reason, limit)


def _cut(text: str, limit: int) -> str:
    """Return text on one line with nothing hidden in it, cut at its end where it is longer than the limit."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def _rails(colour: str, kind: str, *words: Markup) -> Markup:
    side = f"4px {kind} {colour}"
    room = "padding:1px 10px" if words else "height:6px"
    return element("div", *words, style=f"margin:0 24px;border-left:{side};border-right:{side};{room}", css="kit-joint")


_JOINT = _rails(theme.LINE, "solid")
_TORN = _rails(theme.STATUS_COLOURS["broken"], "dotted", element("strong", f"╳ {TORN}", style="font-size:90%", css="kit-torn"))
