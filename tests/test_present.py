"""Tables, displays and figures: what they say, that they are the same each time, and that no name is more than text."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects
import pytest

from kit.analyze.findings import Finding, Result, Subject
from kit.checks import SECTIONS, Threshold
from kit.evidence.model import Gap
from kit.present import evidence, figures, text
from kit.present.displays import FINDINGS_MIME, ChecksExplained, Display, Findings, NextSteps, Sentence, subject_text
from kit.present.plots import PLOTLY_MIME, Figure
from kit.present.tables import Table, html_table, text_table
from tests.report_sample import (
    AT,
    HOSTILE,
    blocking,
    capture,
    displays,
    document,
    evidence_of,
    figure_list,
    sessions,
    source,
    statements,
)

EVERYTHING = " ".join(HOSTILE)
# The tags that JupyterLab 4.6 keeps, as far as the displays use them.
_TAGS = "p div span strong table caption thead tbody tr th td details summary pre ul ol li meter"
LAB_TAGS = frozenset(_TAGS.split())
_STYLES = (
    "background-color border border-bottom border-collapse border-left border-radius border-right color cursor font-family"
    " font-size font-weight height margin margin-left max-width min-width overflow-wrap overflow-x padding padding-left"
    " text-align vertical-align white-space"
)
LAB_STYLES = frozenset(_STYLES.split())


class Reader(HTMLParser):
    """Collects the tags, attributes and styles of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        declared = [
            part.partition(":")[0].strip() for name, value in attrs if name == "style" for part in (value or "").split(";")
        ]
        self.styles |= {name for name in declared if name}


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("hostile", ["", EVERYTHING])
def test_displays_use_only_what_jupyterlab_keeps(hostile: str) -> None:
    for display in displays(hostile):
        seen = read(display.bundle().get("text/html", ""))
        assert seen.tags <= LAB_TAGS, display
        assert seen.styles <= LAB_STYLES, display
        assert seen.attributes <= {"style", "class", "id", "scope", "tabindex"}


@pytest.mark.parametrize("display", displays(EVERYTHING), ids=lambda display: type(display).__name__)
def test_hostile_text_is_visible_text(display: Display) -> None:
    bundle = display.bundle()
    for kind in ("text/html", "text/plain"):
        shown = bundle.get(kind, "")
        assert "\u202e" not in shown
        assert "\r" not in shown
        assert kind == "text/plain" or not {"img", "script", "svg"} & read(shown).tags


def test_displays_are_the_same_each_time() -> None:
    assert [json.dumps(d.bundle()) for d in displays()] == [json.dumps(d.bundle()) for d in displays()]


def test_every_display_has_both_forms() -> None:
    for display in displays():
        bundle = display._repr_mimebundle_()
        assert bundle["text/plain"].strip()
        assert {"text/html", PLOTLY_MIME} & set(bundle)


def test_findings_come_by_severity_and_as_records() -> None:
    bundle = Findings(document().results).bundle()
    assert bundle["text/plain"].startswith("3 findings: 1 critical, 1 warning, 1 info. 1 check could not be made.")
    records = bundle[FINDINGS_MIME]["findings"]
    assert [record["severity"] for record in records] == ["critical", "warning", "info"]
    assert records[0]["fingerprint"] == "schema_without_usage:schema:auth"
    assert "seconds" not in json.dumps(records)


def test_findings_take_results_as_the_registry_gives_them() -> None:
    finding = Finding(
        "warning",
        Subject("table", "Odd name", "app"),
        "55 % of it is empty.",
        "vacuum it",
        ("sizes", (0, 1)),
        0.55,
        0.5,
        "fraction",
    )
    result = Result("table_bloat", "bloat", "capacity and performance", "app", "findings", findings=(finding,))
    words = Findings([result]).text()
    assert 'table app."Odd name"' in words
    assert "55 %, threshold 50 %" in words
    assert "evidence: sizes, rows 0, 1" in words


@pytest.mark.parametrize(
    ("subject", "message", "words"),
    [
        (Subject("role", "shop_api", "auth"), "it has no USAGE", "role shop_api on schema auth"),
        (Subject("role", "Shop api", "Odd schema"), "it has no USAGE", 'role "Shop api" on schema "Odd schema"'),
        (Subject("role", "shop_api", "auth", "shop"), "it has no USAGE", "role shop_api on schema auth in shop"),
        (Subject("role", "shop_api"), "its password expired", "role shop_api"),
        (Subject("statement", "-77"), "select 1 takes 5.0 ms on average", "statement select 1"),
        (Subject("statement", "-77"), "select takes from t takes 5.0 ms on average", "statement select takes from t"),
        (Subject("statement", "-77"), f"select {'x' * 70} takes 5.0 ms", f"statement select {'x' * 52}…"),
        (Subject("statement", "-77"), "of an unknown shape", "statement -77"),
    ],
)
def test_subjects_are_named_as_people_write_them(subject: Subject, message: str, words: str) -> None:
    found = Finding("warning", subject, message, "mend it", ("frame", (0,)))
    result = Result("a_check", "triage", "privileges", "app", "findings", findings=(found,))
    [(_, entry)] = Findings([result]).pairs()
    assert subject_text(entry) == words
    assert f" · {words}\n" in Findings([result]).text()


def test_no_findings_does_not_claim_that_all_is_well() -> None:
    skipped = Result("locks", "triage", "capacity and performance", "app", "skipped", reason="not permitted")
    assert Findings([skipped]).text() == "No findings. 1 check could not be made."
    assert Findings([]).text() == "No findings."


def test_next_steps_name_each_remedy_once() -> None:
    results = document().results
    steps = NextSteps([*results, *results]).steps()
    assert [len(reasons) for _, reasons in steps] == [2, 2, 2]
    assert NextSteps([]).text() == "No finding asks for a step."


def test_what_was_not_examined_comes_with_its_reason() -> None:
    listing = evidence.not_examined(document().results)
    assert listing.words == "Not examined: 2 subjects. 1 check had no source to look at."
    assert list(listing.frame["reason"]) == ["skipped: policies: not permitted", "locked by another session"]


def test_clean_leaves_out_what_was_left_unseen() -> None:
    assert list(evidence.clean(document().results).frame["check"]) == ["wraparound"]


def test_evidence_shows_its_query_and_marks_its_rows() -> None:
    view = evidence.EvidenceView("relation_sizes", evidence_of(), source(), rows=[2], limit=2)
    html = view.html()
    assert "<details" in html
    assert "from pg_catalog.pg_class" in html
    assert 'id="evidence-relation_sizes"' in html
    assert "siwe_nonces" in html, "a marked row is shown wherever it stands"
    assert "… and 1 more row" in html
    assert "asked as interspace_dev" in view.text()
    assert "2026-02-14 03:07:09 UTC" in view.text()
    assert view.frame["table_bytes"].iloc[0] == 734003200, "the frame stays raw"


def test_missing_evidence_says_why() -> None:
    assert (
        evidence.MissingEvidence("locks", Gap(kind="not permitted", reason="no pg_monitor")).text()
        == "? locks: not permitted. no pg_monitor"
    )


def test_identity_names_who_asked_and_the_cost() -> None:
    words = evidence.identity_block(capture()).text()
    assert "61 statements, 412 ms of waiting, 8,123 rows" in words
    assert "interspace_dev" in words
    assert "not superuser" in words


def test_checks_are_explained_by_their_docstrings() -> None:
    sections = {section: f"words of {section}" for section in SECTIONS}
    threshold = Threshold("wasted_bytes", 104857600, "bytes", "a page of it is noise", "experience")
    check: Any = SimpleNamespace(id="bloat", title="Bloat", sections=sections, thresholds=(threshold,))
    words = ChecksExplained([check]).text()
    assert all(section in words for section in SECTIONS)
    assert "wasted_bytes = 100 MiB: a page of it is noise" in words
    assert "words of Known limits" in ChecksExplained([check]).html()


def test_a_table_formats_by_unit_and_keeps_numbers_to_the_right() -> None:
    frame = pd.DataFrame(
        {
            "size_bytes": [1536],
            "mean_exec_ms": [1200.0],
            "calls": [1234567],
            "ok": [True],
            "at": [AT],
            "word": ["False"],
        }
    )
    words = text_table(frame)
    assert all(part in words for part in ("1.5 KiB", "1.2 s", "1,234,567", "yes", "2026-02-14 03:07:09 UTC", "False"))
    assert html_table(frame).count("text-align:right") == 6


def test_a_table_says_how_many_rows_it_leaves_out() -> None:
    frame = pd.DataFrame({"n": range(60)})
    assert "… and 10 more rows" in html_table(frame)
    assert "… and 55 more rows" in text_table(frame, limit=5)
    assert html_table(frame.head(0), caption="Locks") == '<p class="kit-empty">Locks: no rows.</p>'
    with pytest.raises(ValueError, match="at least one"):
        Table(frame, limit=0)


def test_a_table_shows_nothing_known_as_such() -> None:
    frame = pd.DataFrame({"a": [None, pd.NA, float("nan"), pd.NaT], "b": [["x", None], [], ["y"], ["<b>"]]}, dtype=object)
    words = text_table(frame)
    assert words.splitlines()[1].split() == ["–", "x,", "–"]
    assert "<b>" not in html_table(frame)


@pytest.mark.parametrize("hostile", ["", EVERYTHING])
def test_figures_are_valid_plain_and_small(hostile: str) -> None:
    for figure in figure_list(hostile):
        assert isinstance(figure, Figure)
        bundle = figure.bundle()
        assert set(bundle) == {PLOTLY_MIME, "text/plain"}
        written = json.dumps(bundle[PLOTLY_MIME], allow_nan=False)
        assert "bdata" not in written
        assert len(written) < 6000 + 40 * len(hostile)
        plotly.graph_objects.Figure({key: figure.json[key] for key in ("data", "layout")})


def test_names_in_figures_are_escaped_and_cut() -> None:
    for figure in figure_list(EVERYTHING):
        written = json.dumps(figure.bundle()[PLOTLY_MIME], ensure_ascii=False).replace("<br>", "")
        assert "<" not in written
        assert "\u202e" not in written
        for axis in ("xaxis", "yaxis"):
            assert all(len(label) < 44 * 5 for label in figure.json["layout"][axis].get("ticktext", []))  # type: ignore[union-attr]


def test_times_in_figures_carry_no_offset() -> None:
    timeline = figures.change_timeline(document().changes)
    assert isinstance(timeline, Figure)
    assert timeline.json["data"][-1]["x"][0] == "2026-02-14 01:17:09.000"
    assert timeline.json["layout"]["xaxis"]["title"]["text"] == "UTC"


def test_nothing_to_draw_is_a_sentence() -> None:
    empty = [
        figures.wait_chart(sessions().head(0)),
        figures.blocking_chart(blocking().head(0)),
        figures.table_bytes_chart(evidence_of().frame.head(0)),
        figures.statement_time_chart(statements().head(0)),
        figures.access_by_schema(
            pd.DataFrame(columns=["role", "schema", "action", "relations", "allowed", "after_set_role", "filtered", "hidden"])
        ),
        figures.change_timeline([]),
    ]
    assert all(isinstance(shown, Sentence) and shown.words.endswith(".") for shown in empty)


def test_blocking_counts_whole_queues_and_survives_circles() -> None:
    chart = figures.blocking_chart(blocking(), sessions())
    assert isinstance(chart, Figure)
    assert chart.json["data"][0]["x"] == [2.0, 1.0]
    assert "pid 101 · app · idle in transaction" in chart.alt
    circle = pd.DataFrame({"blocked_pid": [1, 2], "blocking_pids": [["2"], ["1"]]})
    assert isinstance(figures.blocking_chart(circle), Figure)


def test_waiting_sessions_are_told_from_idle_ones() -> None:
    chart = figures.wait_chart(sessions())
    assert chart.text() == "5 client sessions by state; waiting for a lock: 2."


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0, "bytes", "0 B"),
        (2048, "bytes", "2 KiB"),
        (59.5, "seconds", "1 min"),
        (90000, "s", "1 d 1 h"),
        (0.5, "fraction", "50 %"),
        (12, "rows", "12 rows"),
        (1234.5, None, "1,234"),
        (float("inf"), "bytes", "inf"),
    ],
)
def test_numbers_are_said_in_their_unit(value: float, unit: str | None, words: str) -> None:
    assert text.number_text(value, unit) == words


def test_presenting_imports_no_heavy_package() -> None:
    heavy = {"plotly", "nbconvert", "papermill", "bleach"}
    code = f"import sys, kit.present.figures, kit.present.evidence; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
