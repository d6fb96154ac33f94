"""The answer about access as people see it: one sentence, the chain of gates as a picture, the remedy, the proof.

The picture is text in boxes: the pages of a report drop SVG, phones are narrow, paper may be black and white, and
a screen reader reads words. A sign and the kind of the line stand beside every colour.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from kit.analyze.access.explanation import GATES, Explanation, Gate, GateStatus, Remedy
from kit.evidence.model import Frames
from kit.present import theme
from kit.present.access_proof import proof
from kit.present.access_words import NAME_LIMIT, one_line, sentence
from kit.present.displays import Display
from kit.present.markup import Markup, badge, element, folded, joined, paragraph, preformatted
from kit.present.text import counted, visible

__all__ = ["AccessChain", "AccessStory", "explanation_text", "sentence"]

CHAINS_LIMIT = 12
TEXT_WIDTH = 100
Answer = Literal["allowed", "no rows", "denied", "unknown"]

GATE_SIGNS: dict[GateStatus, str] = {"passed": "✓", "failed": "✗", "unknown": "?", "not applicable": "–"}
GATE_COLOURS: dict[GateStatus, str] = {
    "passed": theme.STATUS_COLOURS["cleared"],
    "failed": theme.STATUS_COLOURS["broken"],
    "unknown": theme.STATUS_COLOURS["not examined"],
    "not applicable": theme.STATUS_COLOURS["out of scope"],
}
# The kind of the line says the same as the colour, for paper in black and white.
_LINES: dict[GateStatus, str] = {
    "passed": "2px solid",
    "failed": "5px double",
    "unknown": "2px dashed",
    "not applicable": "1px dotted",
}
_ANSWERS: dict[Answer, GateStatus] = {"allowed": "passed", "no rows": "failed", "denied": "failed", "unknown": "unknown"}
BROKEN = "the chain breaks here"
SILENT = "no error comes, but there is nothing to see"


@dataclass(frozen=True, slots=True)
class AccessChain(Display):
    """One answer: the sentence, the ten gates in order with the broken one marked, and what mends it."""

    explanation: Explanation

    @override
    def html(self) -> Markup:
        head = paragraph(_answer_badge(self.explanation), " ", element("strong", sentence(self.explanation)), css="kit-verdict")
        return element("div", head, _chain_html(self.explanation), mending_html(self.explanation), css="kit-access")

    @override
    def text(self) -> str:
        return explanation_text(self.explanation)


@dataclass(frozen=True, slots=True)
class AccessStory(Display):
    """The answers to some questions, those that fail first; with `frames` each has its proof.

    `looked_at` says in a sentence where the questions come from, or why there is none.
    """

    explanations: tuple[Explanation, ...]
    looked_at: str = ""
    frames: Frames | None = None

    @property
    def ordered(self) -> list[Explanation]:
        """The answers, those that need a person first."""
        return sorted(self.explanations, key=lambda answer: _ORDER.index(_answer(answer)))

    @override
    def html(self) -> Markup:
        heads = [paragraph(words, css="kit-sentence") for words in self._heads()]
        return element("div", *heads, *map(self._one, self.ordered[:CHAINS_LIMIT]), *self._rest(), css="kit-access-story")

    @override
    def text(self) -> str:
        chains = [self._with_proof(answer) for answer in self.ordered[:CHAINS_LIMIT]]
        return "\n\n".join([*map(visible, self._heads()), *chains, *self._rest()])

    def _heads(self) -> list[str]:
        return [words for words in (self.looked_at or _NOTHING * (not self.explanations), self._counts()) if words]

    def _counts(self) -> str:
        if len(self.explanations) < 2:
            return ""
        found = [_answer(answer) for answer in self.explanations]
        return f"{len(found)} questions: " + ", ".join(f"{found.count(word)} {word}" for word in _ORDER if word in found) + "."

    def _one(self, answer: Explanation) -> Markup:
        parts = (AccessChain(answer).html(), self._proof_html(answer))
        if _answer(answer) == "allowed" and len(self.explanations) > 1:
            return folded(f"{GATE_SIGNS['passed']} {sentence(answer)}", *parts)
        return element("div", *parts, style="margin:12px 0")

    def _proof_html(self, answer: Explanation) -> Markup:
        if self.frames is None:
            return Markup("")
        shown = [view.html() for view in proof(answer, self.frames)]
        return element("div", paragraph(element("strong", "The proof"), css="kit-proof"), *shown) if shown else Markup("")

    def _with_proof(self, answer: Explanation) -> str:
        shown = [] if self.frames is None else [view.text() for view in proof(answer, self.frames)]
        return "\n\n".join([explanation_text(answer), *shown])

    def _rest(self) -> list[str]:
        left = len(self.explanations) - CHAINS_LIMIT
        return [f"… and {counted(left, 'more answer')}, not shown."] if left > 0 else []


def explanation_text(explanation: Explanation) -> str:
    """Return the answer for a terminal: the sentence first, then the chain with signs, then what mends it."""
    status = _ANSWERS[_answer(explanation)]
    head = f"{GATE_SIGNS[status]} {sentence(explanation)}"
    links = [line for gate in explanation.gates for line in _link_lines(explanation, gate)]
    return "\n".join([head, "", *links, *mending_lines(explanation)])


_ORDER: tuple[Answer, ...] = ("denied", "no rows", "unknown", "allowed")
_NOTHING = "No question about access was asked."
_NAME_WIDTH = max(map(len, GATES))


def _answer(explanation: Explanation) -> Answer:
    if explanation.allowed:
        return "no rows" if explanation.rows == "none" else "allowed"
    return "unknown" if explanation.allowed is None else "denied"


def _answer_badge(explanation: Explanation) -> Markup:
    answer = _answer(explanation)
    status = _ANSWERS[answer]
    return badge(GATE_SIGNS[status], answer, GATE_COLOURS[status])


def _chain_html(explanation: Explanation) -> Markup:
    links = [_link(explanation, place) for place in range(len(explanation.gates))]
    words = alternative(explanation)
    caption = paragraph(words, style="margin:8px 0 4px 0;font-size:85%", css="kit-small")
    return joined([caption, element("ol", *links, style="margin:0;padding-left:28px", css="kit-chain", aria_label=words)])


def alternative(explanation: Explanation) -> str:
    """Return what the picture shows in a sentence: how many gates passed, and where the chain breaks."""
    statuses = [gate.status for gate in explanation.gates]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in GATE_SIGNS if status in statuses)
    failed = explanation.first_failed
    tail = f"the chain breaks at gate {explanation.gates.index(failed) + 1}, {failed.name}" if failed else "no gate is shut"
    return f"The {len(statuses)} gates in the server's order: {counts}; {tail}."


def _link(explanation: Explanation, place: int) -> Markup:
    gate, rest = explanation.gates[place], explanation.gates[place + 1 :]
    line = f"border:{_LINES[gate.status]} {GATE_COLOURS[gate.status]};border-radius:10px;max-width:46em;overflow-wrap:anywhere"
    room = "1px 12px" if gate.status == "not applicable" else "4px 12px"
    box = element("div", *_words(gate), style=f"{line};padding:{room}", css="kit-link")
    torn = [_torn(gate)] if place == 0 and gate is explanation.first_failed else []
    joint = [_torn(rest[0]) if rest[0] is explanation.first_failed else _JOINT] if rest else []
    return element("li", *torn, box, *joint, style="margin:0")


def _words(gate: Gate) -> list[Markup]:
    if gate.status == "not applicable":
        words = f"{GATE_SIGNS[gate.status]} {gate.name}: not applicable, {one_line(gate.because)}"
        return [element("div", words, style="font-size:85%")]
    sign = badge(GATE_SIGNS[gate.status], gate.status, GATE_COLOURS[gate.status])
    because = element("div", one_line(gate.because), style="font-size:90%")
    return [element("div", element("strong", gate.name), " ", sign), because]


_JOINT = element("div", style=f"border-left:4px solid {theme.LINE};height:8px;margin-left:24px", css="kit-joint")


def _torn(gate: Gate) -> Markup:
    line = f"border-left:4px dotted {GATE_COLOURS['failed']};margin-left:24px;padding:1px 0 1px 10px;font-size:90%"
    return element("div", element("strong", f"╳ {_mark(gate)}"), style=line, css="kit-torn")


def _mark(gate: Gate) -> str:
    return f"{BROKEN}: {SILENT}" if gate.is_silent else BROKEN


def mending_html(explanation: Explanation) -> Markup:
    """Return the statements that mend the answer, who may run each, and what it opens."""
    parts = [_remedy_html(remedy) for remedy in explanation.remedies]
    if parts:
        parts.insert(0, paragraph(element("strong", _mending(explanation)), css="kit-mending"))
    notes = [paragraph(words) for words in _notes(explanation)]
    return joined([*parts, *notes])


def _remedy_html(remedy: Remedy) -> Markup:
    facts = [joined([element("strong", f"{name}: "), one_line(words)]) for name, words in _facts(remedy)]
    small = [paragraph(fact, style="margin:4px 0;font-size:90%", css="kit-small") for fact in facts]
    return joined([preformatted(f"{remedy.statement};", "kit-remedy"), *small])


def _mending(explanation: Explanation) -> str:
    return "What mends it" if len(explanation.remedies) == 1 else "What mends it, all of these together"


def _facts(remedy: Remedy) -> list[tuple[str, str]]:
    return [("Who may run it", remedy.run_by), ("What else it opens", remedy.opens or "nothing beyond what was asked for")]


def _notes(explanation: Explanation) -> list[str]:
    bare = [gate.name for gate in explanation.gates if gate.status == "failed" and gate.remedy is None]
    without = [f"No single statement mends {', '.join(bare)}: see the reason given there."] if bare else []
    near = [one_line(name, NAME_LIMIT) for name in explanation.near]
    return [*without, *([f"Places and names that may be meant: {', '.join(near)}."] if near else [])]


def _link_lines(explanation: Explanation, gate: Gate) -> list[str]:
    is_broken = gate is explanation.first_failed
    start = f"  {GATE_SIGNS[gate.status]} {gate.name:<{_NAME_WIDTH}}  "
    words = f"{gate.status}: {one_line(gate.because)}" if gate.status in ("unknown", "not applicable") else one_line(gate.because)
    lines = textwrap.wrap(words, TEXT_WIDTH - len(start)) or [""]
    drawn = [start + lines[0], *(f"  {' ' if is_broken else '│'}{' ' * (len(start) - 3)}{line}" for line in lines[1:])]
    mark = [f"  ╳{' ' * (len(start) - 3)}{_mark(gate)}"] if is_broken else []
    return [line.rstrip() for line in [*mark, *drawn]]


def mending_lines(explanation: Explanation) -> list[str]:
    """Return the same for a terminal, with an empty line before it."""
    lines = [f"{_mending(explanation)}:"] if explanation.remedies else []
    for remedy in explanation.remedies:
        lines += [f"    {visible(line)}" for line in f"{remedy.statement};".splitlines()]
        lines += [f"  {name}: {one_line(words)}" for name, words in _facts(remedy)]
    return ["", *lines, *_notes(explanation)] if lines or _notes(explanation) else []
