"""Two identities side by side, a trial on a live server, and the places of a name, as people see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from typing_extensions import override

from kit.analyze.access.comparison import Comparison, Difference
from kit.analyze.access.explanation import Explanation, Gate, GateStatus
from kit.analyze.findings import quoted
from kit.present.access import GATE_COLOURS, GATE_SIGNS, mending_html, mending_lines
from kit.present.access_words import NAME_LIMIT, one_line
from kit.present.displays import Display
from kit.present.evidence import Listing
from kit.present.markup import Markup, badge, element, folded, joined, paragraph, preformatted
from kit.present.tables import Table
from kit.present.text import counted, visible

PLACES_SHOWN = 2
_TRIAL_GATES: Mapping[str, GateStatus] = {"ok": "passed", "refused": "failed", "unknown": "unknown", "not run": "unknown"}


@dataclass(frozen=True, slots=True)
class ComparisonView(Display):
    """Why one works and the other does not: the sentence, each gate that tells them apart, what mends the one that fails."""

    comparison: Comparison

    @override
    def html(self) -> Markup:
        head = paragraph(element("strong", one_line(self.comparison.summary)), css="kit-verdict")
        gates = [self._gate_html(difference) for difference in self.comparison.differences]
        notes = [paragraph(words) for words in self._notes()]
        mending = [joined([paragraph(f"For {name}:"), mending_html(side)]) for name, side in self._stopped()]
        return element("div", head, *gates, *notes, *mending, css="kit-comparison")

    @override
    def text(self) -> str:
        gates = [line for difference in self.comparison.differences for line in self._gate_lines(difference)]
        mending = [line for name, side in self._stopped() for line in (f"\nFor {name}:", *mending_lines(side)[1:])]
        return "\n".join([one_line(self.comparison.summary), *gates, *self._notes(), *mending])

    def _sides(self, difference: Difference) -> Iterator[tuple[str, Gate]]:
        yield from zip(self._names(), (difference.a, difference.b), strict=True)

    def _names(self) -> list[str]:
        return [one_line(name, NAME_LIMIT) for name in self.comparison.names]

    def _gate_html(self, difference: Difference) -> Markup:
        sides = [
            paragraph(_sign(gate), " ", element("strong", name), f": {one_line(gate.because)}")
            for name, gate in self._sides(difference)
        ]
        head = paragraph(element("strong", difference.a.name))
        facts = Table(self._facts(difference)).html() if difference.facts else Markup("")
        edge = f"border-left:5px double {GATE_COLOURS['failed']};padding-left:12px;margin:12px 0;overflow-wrap:anywhere"
        return element("div", head, *sides, facts, style=edge, css="kit-difference")

    def _gate_lines(self, difference: Difference) -> list[str]:
        sides = [f"  {GATE_SIGNS[gate.status]} {name}: {one_line(gate.because)}" for name, gate in self._sides(difference)]
        facts = Table(self._facts(difference)).text().splitlines() if difference.facts else []
        return ["", difference.a.name, *sides, *(f"    {line}" for line in facts)]

    def _facts(self, difference: Difference) -> pd.DataFrame:
        one, other = self._names()
        rows = [[one_line(fact.name), one_line(fact.a), one_line(fact.b)] for fact in difference.facts]
        # The two may be called the same, and a frame with two equal columns is none that anybody can ask.
        return pd.DataFrame(rows, columns=["what differs", one, other if other != one else f"{other} (the other)"])

    def _notes(self) -> list[str]:
        same = f"The same for both: {', '.join(self.comparison.equal)}." if self.comparison.equal else ""
        shared = [f"Both stop at {gate.name}: {one_line(gate.because)}." for gate in self.comparison.shared]
        return [words for words in (*shared, same) if words]

    def _stopped(self) -> list[tuple[str, Explanation]]:
        sides = zip(self._names(), (self.comparison.a, self.comparison.b), strict=True)
        return [(name, side) for name, side in sides if side.first_failed]


@dataclass(frozen=True, slots=True)
class TrialView(Display):
    """What a live server did when it was tried as another role; `record` is the trial's `to_record()`."""

    record: Mapping[str, Any]

    @override
    def html(self) -> Markup:
        outcome = self.record["outcome"]
        gate = _TRIAL_GATES[outcome]
        sign = badge(GATE_SIGNS[gate], outcome, GATE_COLOURS[gate])
        head = paragraph(sign, " ", element("strong", trial_sentence(self.record)), css="kit-verdict")
        notes = [paragraph(one_line(note)) for note in self.record["notes"]]
        plan = [folded("Show the plan", preformatted(self.record["plan"], "kit-query"))] if self.record["plan"] else []
        sent = folded("Show the statements that were sent", preformatted(";\n".join(self.record["sent"]), "kit-query"))
        return element("div", head, paragraph(self._circumstances()), *notes, *plan, sent, css="kit-trial")

    @override
    def text(self) -> str:
        head = f"{GATE_SIGNS[_TRIAL_GATES[self.record['outcome']]]} {trial_sentence(self.record)}"
        plan = ["", "The plan:", *_indented(self.record["plan"])] if self.record["plan"] else []
        sent = f"{counted(len(self.record['sent']), 'line')} went to the server; --json has them all."
        return "\n".join([head, self._circumstances(), *map(one_line, self.record["notes"]), *plan, "", sent])

    def _circumstances(self) -> str:
        settings = [f"{item['name']} = {item['value']} ({item['origin']})" for item in self.record["settings"]]
        parts = [f"asked by {quoted(self.record['asker'])}", "read only"]
        parts += [f"claims in {', '.join(self.record['claims'])}" if self.record["claims"] else "without claims"]
        parts += [f"the role's settings: {', '.join(settings)}"] if settings else []
        return one_line(f"Tried: {'; '.join(parts)}.")


def trial_sentence(record: Mapping[str, Any]) -> str:
    """Return what a trial came to: `anon sees 3 rows of app.orders; row security hides 2 rows from it.`"""
    role, name = quoted(record["role"]), ".".join(map(quoted, record["relation"]))
    said = one_line(record["message"] or "without a reason").rstrip(".")
    state = f" ({record['sqlstate']})" if record["sqlstate"] else ""
    sentences = {
        "not run": f"Nothing was run as {role}: {said}.",
        "refused": f"The server refused {record['action']} on {name} to {role}{state}: {said}.",
        "unknown": f"Whether {role} may {record['action']} on {name} was not found out{state}: {said}.",
        # EXPLAIN shows no more of a change than that.
        "ok": f"The server plans {record['action']} on {name} for {role}; whether a row would pass was not tried.",
    }
    if record["outcome"] == "ok" and record["visible_rows"] is not None:
        return one_line(f"{role} sees {_number(record, 'visible')} of {name}; {_hidden(record)}.")
    return one_line(sentences[record["outcome"]])


@dataclass(frozen=True, slots=True)
class Whereabouts(Display):
    """Where a name was found, the most useful place first, and which databases were looked at.

    `found` is the frame of `whereabouts.search`, `databases` that of `whereabouts.databases`.
    """

    name: str
    found: pd.DataFrame
    databases: pd.DataFrame

    @property
    def words(self) -> str:
        """The one sentence: where it is, or that it is nowhere; and where nobody looked."""
        exact = self.found[self.found["match"] == "exact"]
        name = one_line(self.name, NAME_LIMIT)
        if len(exact):
            shown = " and ".join(one_line(_place(row), 2 * NAME_LIMIT) for row in exact.head(PLACES_SHOWN).to_dict("records"))
            more = f" and in {counted(len(exact) - PLACES_SHOWN, 'more place')}" if len(exact) > PLACES_SHOWN else ""
            return f"{name} is {shown}{more}.{self._unseen()}"
        near = f", but {counted(len(self.found), 'name')} like it" if len(self.found) else ""
        return f"Nothing that was looked at is called {name}{near}.{self._unseen()}"

    @override
    def html(self) -> Markup:
        head = paragraph(element("strong", self.words), css="kit-sentence")
        return element("div", head, *(listing.html() for listing in self._listings()), css="kit-whereabouts")

    @override
    def text(self) -> str:
        return "\n".join([self.words, *(listing.text() for listing in self._listings())])

    def _listings(self) -> list[Listing]:
        known = self.found.dropna(axis="columns", how="all")
        places = [Listing(f"{counted(len(known), 'place')}, the most useful first:", known)] if len(known) else []
        databases = self.databases.dropna(axis="columns", how="all")
        return [*places, *([Listing("The databases of the instance:", databases)] if len(databases) > 1 else [])]

    def _unseen(self) -> str:
        unseen = self.databases[self.databases["status"] != "looked at"]
        return f" {counted(len(unseen), 'database')} could not be looked at." if len(unseen) else ""


def _place(row: Mapping[Any, Any]) -> str:
    parts = [row["schema_name"], row["relation_name"], row["column_name"]]
    name = ".".join(quoted(part) for part in parts if not pd.isna(part))
    return f"{name}, a {row['kind']} of {quoted(row['owner_name'])} in database {quoted(row['database_name'])}"


def _sign(gate: Gate) -> Markup:
    return badge(GATE_SIGNS[gate.status], gate.status, GATE_COLOURS[gate.status])


def _number(record: Mapping[str, Any], which: str) -> str:
    rows = counted(record[f"{which}_rows"], "row")
    return f"at least {rows}" if record[f"{which}_is_cut"] else rows


def _hidden(record: Mapping[str, Any]) -> str:
    if record["hidden_rows"] is None:
        because = record["hidden_unknown_because"]
        return "how many rows row security hides from it is not known" + (f": {because.rstrip('.')}" if because else "")
    return (
        f"row security hides {_number(record, 'hidden')} from it" if record["hidden_rows"] else "row security hides none from it"
    )


def _indented(text: str) -> list[str]:
    return [f"    {visible(line)}" for line in text.splitlines()]
