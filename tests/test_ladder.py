"""The ladder as a picture: every status in a word and a sign, one break, the vantage, plain words; names are only text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from kit.analyze.document import ChangeEntry, FindingsDocument, Hypothesis, LayerEntry, LayerStatus, Verdict
from kit.analyze.findings import LADDER
from kit.case import telling
from kit.case.judging import Question, judged
from kit.case.opened import Case, capture, open_case
from kit.evidence.model import Capture, Cost
from kit.present import evidence, theme
from kit.present.displays import Sentence
from kit.present.ladder import FIRST, FIRST_LIMIT, QUESTIONS, REASON_LIMIT, TORN, Ladder, asked_by, vantages
from kit.present.story import Attempt, Hypotheses, Probes, Timeline
from kit.report.assets import write_assets
from kit.report.index import index_page
from kit.report.pages import notebook_page
from tests.browser import cut_off, look
from tests.report_sample import HOSTILE, connection_steps, document, notebook, provenance, service_probes
from tests.report_sample import capture as sample_capture
from tests.test_cloud_incidents import collected
from tests.test_pages import CONTRAST

EVERYTHING = " ".join(HOSTILE)
ENDLESS = "n" * 3000
AT = datetime(2026, 2, 14, 3, 7, 9, tzinfo=UTC)
ALL_FOUR: tuple[LayerStatus, ...] = ("cleared", "not examined", "broken", "out of scope")


def rungs(*statuses: LayerStatus, reason: str = "3 checks found nothing that breaks it") -> list[LayerEntry]:
    """Return eleven layers with these statuses, the rest cleared."""
    filled = [*statuses, *["cleared"] * (len(LADDER) - len(statuses))]
    return [LayerEntry(layer=layer, status=status, reason=reason) for layer, status in zip(LADDER, filled, strict=True)]  # type: ignore[arg-type]


class Items(HTMLParser):
    """Collects the words of each item of a list, and the styles of the boxes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.items: list[str] = []
        self.boxes: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "li":
            self.items.append("")
        if (named.get("class") or "").startswith("kit-rung"):
            self.boxes.append(named.get("style") or "")

    def handle_data(self, data: str) -> None:
        if self.items:
            self.items[-1] += data


def items(shown: Ladder) -> list[str]:
    return Items(shown.html()).items


def test_it_is_a_list_of_eleven_in_ladder_order_and_asks_in_plain_words() -> None:
    shown = Ladder(rungs(*ALL_FOUR))
    found = items(shown)
    assert [words.startswith(layer) for words, layer in zip(found, LADDER, strict=True)] == [True] * 11
    assert set(QUESTIONS) == set(LADDER)
    assert all(QUESTIONS[layer] in words for words, layer in zip(found, LADDER, strict=True))
    assert not re.search(r"\b(?:select|grant|usage|acl|schema|relation)\b", " ".join(QUESTIONS.values()), re.IGNORECASE)
    lines = shown.text().splitlines()
    assert [line.split()[2] for line in lines if re.match(r"\s+\d+ ", line)] == [layer.split()[0] for layer in LADDER]


def test_each_status_has_a_sign_a_word_and_a_line_of_its_own() -> None:
    shown = Ladder(rungs(*ALL_FOUR))
    for words, status in zip(items(shown), ALL_FOUR, strict=False):
        assert f"{theme.STATUS_SIGNS[status]} {status}" in words
        assert all(other == status or f" {theme.STATUS_SIGNS[other]} {other}" not in words for other in ALL_FOUR)
    lines = {style.partition(" #")[0] for style in Items(shown.html()).boxes[:4]}
    assert len(lines) == 4, "without colour the lines still differ"
    words = shown.text()
    assert all(f"{theme.STATUS_SIGNS[s]} {layer}" in words for layer, s in zip(LADDER, ALL_FOUR, strict=False))
    assert all(f" {status}. " in words for status in ALL_FOUR)


@pytest.mark.parametrize(
    ("statuses", "place"), [(["broken", "broken"], 0), (["cleared", "not examined", "broken", "broken", "broken"], 2)]
)
def test_the_first_break_is_marked_once_and_the_others_as_also_broken(statuses: list[LayerStatus], place: int) -> None:
    shown = Ladder(rungs(*statuses, reason="the host is gone"))
    html, found = shown.html(), items(shown)
    assert html.count(FIRST) == html.count(TORN) == 1
    assert shown.text().count(TORN) == 1
    assert FIRST in found[place]
    assert "No: the host is gone" in found[place]
    assert "<strong>the host is gone</strong>" in html
    assert html.index(TORN) < html.index(FIRST)
    assert [n for n, words in enumerate(found) if "✗ also broken" in words] == list(range(place + 1, len(statuses)))
    assert f"The ladder breaks at rung {place + 1}, {LADDER[place]}" in shown.summary


def test_what_was_not_seen_before_the_break_is_said() -> None:
    assert "; 1 before it could not be examined in full." in Ladder(rungs("not examined", "broken", "not examined")).summary
    assert "before it could" not in Ladder(rungs("cleared", "broken", "not examined")).summary


def test_a_whole_ladder_is_not_torn() -> None:
    shown = Ladder(rungs())
    assert shown.first_broken is None
    assert "None is broken." in shown.summary
    assert not any(word in shown.html() + shown.text() for word in (FIRST, TORN, "✗", "No: "))


def test_a_cleared_rung_claims_no_yes() -> None:
    """A critical finding that cannot explain the symptom leaves its layer cleared."""
    assert not any(" Yes" in words for words in items(Ladder(rungs())))


def test_the_vantage_is_told_and_bounded() -> None:
    shown = Ladder(rungs(), vantages(sample_capture().sources))
    told = "Asked: app as interspace_dev, from laptop. Cleared means: for who asked, from there. Elsewhere it may be otherwise."
    assert told in shown.html()
    assert shown.text().endswith(told)
    assert asked_by("db", "–", "here") == "db, from the machine that the kit ran on"
    many = Ladder(rungs(), [f"replica {n} {ENDLESS}" for n in range(30)]).text()
    assert "replica 5 " in many
    assert "replica 6 " not in many
    assert "24 more sources" in many
    assert "Asked:" not in Ladder(rungs()).text()


def test_a_reason_names_the_check_by_its_title() -> None:
    words = Ladder(rungs("not examined", reason="foreign_engines: not captured")).text()
    assert "foreign_engines" not in words
    assert "not captured" in words
    assert "host: gone" in Ladder(rungs("broken", reason="host: gone")).text()


@pytest.mark.parametrize("reason", [EVERYTHING, ENDLESS, f"{EVERYTHING}\n{ENDLESS}", "", "✗ broken the first broken layer"])
def test_hostile_and_endless_reasons_stay_text_and_are_cut(reason: str) -> None:
    shown = Ladder(rungs("broken", "broken", "not examined", reason=reason), [reason])
    html = shown.html()
    assert not re.search(r"<(?!/?(?:div|p|ol|li|strong|span)\b)", html)
    assert "\u202e" not in html + shown.text()
    assert "\r" not in html + shown.text()
    assert len(html) < 14_000
    assert max(len(line) for line in shown.text().splitlines()) < 1500
    assert html.count("╳") == 1
    first, second = items(shown)[:2]
    assert len(first) < FIRST_LIMIT + 250
    assert len(second) < REASON_LIMIT + 250


def test_there_is_one_ladder_and_the_page_opens_with_it() -> None:
    case = open_case()
    assert isinstance(case.ladder, Ladder)
    assert case.figure("layers") == case.ladder
    sample = document()
    page = index_page(sample, provenance=provenance(), pages=[])
    told = [asked_by(source.name, source.role, source.vantage) for source in provenance().sources]
    assert Ladder(sample.layers, told).html() in page
    assert page.index("kit-ladder") < page.index('id="findings"')


def test_the_recorded_case_breaks_where_its_verdict_says() -> None:
    case = open_case()
    assert isinstance(case.ladder, Ladder)
    first = case.ladder.first_broken
    assert first is not None
    assert first.layer == case.document.verdict.layer == "privileges"
    assert first.reason.rstrip(".") in case.document.verdict.summary
    assert "grant usage on schema auth to shop_api" in case.breaking.text()


@pytest.mark.parametrize(
    ("name", "variant"), [("c", "failing"), ("d", "before_grant"), ("d", "after_grant"), ("d", "socket_mended"), ("e", "failing")]
)
def test_a_staged_incident_is_drawn_with_every_broken_layer(name: str, variant: str) -> None:
    judged_case = judged(Capture("t", AT, AT, "0", (collected(name, variant),), Cost()), Question(name))
    found = items(Ladder(judged_case.layers))
    broken = [LADDER[place] for place, words in enumerate(found) if "✗ broken" in words or "✗ also broken" in words]
    assert broken[0] == judged_case.verdict.layer
    assert broken == [entry.layer for entry in judged_case.layers if entry.status == "broken"]
    assert sum("✗ broken" in words for words in found) == 1


def test_a_server_that_is_not_there_breaks_the_second_rung() -> None:
    case = capture("postgresql://nobody@127.0.0.1:9/x")
    assert isinstance(case.ladder, Ladder)
    assert case.ladder.first_broken is not None
    assert case.ladder.first_broken.layer == "reachability"
    words = case.ladder.text()
    assert "✗ reachability" in words
    assert "? schema" in words
    assert "– service" in words
    assert "✗ tcp: ECONNREFUSED" in case.attempts.text()
    assert "it stopped at tcp" in case.attempts.text()


def made(sample: FindingsDocument, *changes: ChangeEntry) -> Case:
    """Return a case of one database, with these changes alone."""
    return Case(sample_capture(), sample.model_copy(update={"changes": list(changes), "hypotheses": []}))


def test_a_section_with_nothing_to_show_says_one_sentence() -> None:
    healthy = document().model_copy(
        update={"layers": rungs(), "verdict": Verdict(status="healthy", summary="No broken layer."), "results": []}
    )
    case = made(healthy)
    sections = [case.breaking, case.notes, case.attempts, case.probes, case.cloud]
    assert all(isinstance(shown, Sentence) for shown in sections)
    sentences = [*[shown.text() for shown in sections], case.hypotheses.text(), case.changes.text()]
    assert all(words.endswith(".") and "\n" not in words and len(words) < 100 for words in sentences), sentences
    unseen = made(healthy.model_copy(update={"layers": rungs("not examined")}))
    assert "as far as could be examined" in unseen.breaking.text()


def test_what_breaks_it_is_told_in_ladder_order_without_its_records() -> None:
    sample = document()
    shown = telling.breaking(sample)
    assert set(shown.bundle()) == {"text/html", "text/plain"}
    assert "no USAGE on schema auth" in shown.text()
    assert "table_bloat" not in shown.text()


def test_a_refuted_cause_stays_with_its_evidence() -> None:
    stated = (
        Hypothesis(statement="It is MySQL", status="refuted", against=["foreign_engines: clean, 1 examined", "sql_instances"]),
        Hypothesis(statement="The role is shut out", status="supported", for_=["a:b:c"] * 6),
        Hypothesis(statement="Sunspots", status="open"),
    )
    words = Hypotheses(stated, {"a:b:c": "no USAGE on schema auth"}).text()
    assert words.startswith("3 suspected causes: 1 supported, 1 refuted, 1 open.")
    assert "✗ refuted: It is MySQL" in words
    assert "Against: foreign_engines: clean, 1 examined; the evidence sql_instances" in words
    assert words.count("no USAGE on schema auth") == 4
    assert "and 2 more" in words
    assert "For and against: nothing was seen" in words


def test_changes_and_notes_are_told_in_their_order_in_time() -> None:
    late = ChangeEntry(at=AT, kind="note", summary="rolled back", source="notes.md")
    early = ChangeEntry(
        at=AT.replace(hour=1), kind="deploy", summary="revision 33", source="cloud", outcome="failed", effective_at=AT
    )
    lines = Timeline([late, early]).text().splitlines()
    assert lines[0] == "2 changes, the oldest first."
    assert "01:07:09 UTC deploy revision 33 ✗ failed · took effect 2026-02-14 03:07:09 UTC · source: cloud" in lines[1]
    notes = evidence.notes([late, early]).text()
    assert "rolled back" in notes
    assert "revision 33" not in notes
    assert "The first 40 are not shown" in Timeline([late] * 100).text()


def test_an_attempt_and_the_probes_say_where_they_died() -> None:
    steps = Attempt("app", connection_steps()).text()
    assert "it stopped at tcp" in steps
    assert "✓ name resolution: 10.0.0.9" in steps
    assert "✗ tcp: ECONNREFUSED: refused (3.1 s)" in steps
    assert "? greeting: not reached" in steps
    probes = Probes(service_probes()).text()
    assert probes.startswith("3 services asked, 1 answered well.")
    assert "✓ auth: HTTP status 200" in probes
    assert "✗ backend: it took the request and did not answer: timed out" in probes
    assert "✗ websocket: HTTP status 503" in probes


def pages(folder: Path, reason: str, asked: Sequence[str]) -> Path:
    """Write the first page and a notebook's page with a ladder of every status."""
    layers = rungs("cleared", "not examined", "broken", "out of scope", "broken", reason=reason)
    sample = document().model_copy(update={"layers": layers})
    (folder / "index.html").write_text(index_page(sample, provenance=provenance(), pages=[]), encoding="utf-8")
    book = notebook(
        Ladder(layers, asked), Attempt("app", connection_steps(reason)), Probes(service_probes(reason)), Timeline(sample.changes)
    )
    page = notebook_page(book, title="Triage", status="ok", case="case", nav=[])
    (folder / "triage.html").write_text(page, encoding="utf-8")
    write_assets(folder)
    return folder


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", ["index", "triage"])
def test_nothing_of_it_overflows(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    folder = pages(tmp_path, f"{EVERYTHING} {ENDLESS}", [f"{ENDLESS} as {EVERYTHING}"])
    context = cut_off(browser.new_context(viewport={"width": width, "height": 740}))
    seen = look(context, folder / f"{name}.html")
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.page.evaluate(OVERFLOWING) == []
    assert seen.page.locator(".kit-ladder > li").count() == 11
    seen.assert_quiet()
    context.close()


OVERFLOWING = """() => [...document.querySelectorAll('.kit-picture, .kit-picture *')]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
  .map(e => e.className + ' ' + e.textContent.slice(0, 40))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "triage"])
def test_its_text_has_contrast(browser: Browser, tmp_path: Path, name: str, scheme: Any) -> None:
    context = cut_off(browser.new_context(color_scheme=scheme))
    seen = look(context, pages(tmp_path, "the host is gone", ["app, from here"]) / f"{name}.html")
    assert seen.page.evaluate(CONTRAST) == []
    context.close()


@pytest.mark.parametrize("name", ["index", "triage"])
def test_on_paper_it_is_whole_and_needs_no_colour(context: BrowserContext, tmp_path: Path, name: str) -> None:
    seen = look(context, pages(tmp_path, "the host is gone", ["app, from here"]) / f"{name}.html")
    seen.page.emulate_media(media="print")
    words = seen.page.inner_text(".kit-picture")
    assert all(word in words for word in ("✓ cleared", "✗ broken", "✗ also broken", "? not examined", "– out of scope", TORN))
    # A badge is white on its ground: the ground must be printed, or the word is lost.
    kept = "[...document.querySelectorAll('.kit-picture .kit-badge')].map(e => getComputedStyle(e).printColorAdjust)"
    assert set(seen.page.evaluate(kept)) == {"exact"}
    lines = "[...document.querySelectorAll('.kit-rung')].map(e => getComputedStyle(e).borderTopStyle)"
    assert set(seen.page.evaluate(lines)) == {"solid", "dashed", "double", "dotted"}
    assert seen.page.evaluate("getComputedStyle(document.querySelector('.kit-ladder > li')).breakInside") == "avoid"


def test_a_screen_reader_hears_a_list_of_eleven(context: BrowserContext, tmp_path: Path) -> None:
    seen = look(context, pages(tmp_path, "the host is gone", ["app, from here"]) / "triage.html")
    heard = seen.page.locator(".kit-picture").aria_snapshot()
    assert heard.count("- listitem") == 11
    assert heard.index("The ladder breaks at rung 3") < heard.index("- list:")
    assert "the first broken layer" in heard


def test_a_capture_without_sources_has_a_ladder() -> None:
    bare = Capture("dev", AT, AT, "0.1.0", (), Cost(), "")
    assert isinstance(Case(bare, document()).ladder, Ladder)
    assert "Asked:" not in Case(bare, document()).ladder.text()
