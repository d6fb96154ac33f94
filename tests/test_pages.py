"""The pages of a report in a real browser: drawn, offline, inert against hostile text, fit for a phone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, BrowserContext, Page

from kit.errors import RunError
from kit.report import single
from kit.report.assets import plotly_file, write_assets
from kit.report.cells import json_text, plain_text
from kit.report.index import index_page
from kit.report.pages import PageLink, notebook_page, notebook_title
from kit.report.sanitize import clean_html, markdown_html
from kit.report.single import Part, single_page
from tests.browser import cut_off, look
from tests.report_sample import HOSTILE, displays, document, figure_list, notebook, provenance

EVERYTHING = " ".join(HOSTILE)
ACTIVE = """
<img src=x onerror=alert(11)><img src="https://example.org/a.png"><a href="javascript:alert(12)">go</a>
<a href=" java&#x0A;script:alert(13)">go</a><a href="data:text/html,<script>alert(14)</script>">go</a>
<script>alert(15)</script><style>body{display:none}</style><svg onload=alert(16)><script>alert(17)</script></svg>
<iframe src="https://example.org"></iframe><form action="https://example.org"><input name=body></form>
<base href="https://example.org/"><meta http-equiv="refresh" content="0;url=https://example.org">
<div style="position:fixed;top:0;background-image:url(https://example.org/b.png);color:red">kept</div>
<math><mtext></mtext><mglyph><style><img src=x onerror=alert(18)></style></mglyph></math>
<details ontoggle=alert(19) open><summary>words</summary></details><p id="content">clobber</p><object data=x></object>
"""


def report(folder: Path, hostile: str = "", *extra: dict[str, Any]) -> Path:
    """Write a whole report into a folder."""
    shown = [*displays(hostile), *extra]
    books = {"triage": notebook(*shown[:4]), "bloat": notebook(*shown, words=hostile or "Which session waits?")}
    parts = [Part(name, name.capitalize() + hostile, "ok", book) for name, book in books.items()]
    links = [PageLink(part.name, part.title, part.status) for part in parts]
    judged, origin = document(hostile or None), provenance(hostile)
    write_assets(folder)
    pages = {"index": index_page(judged, provenance=origin, pages=links)}
    for part in parts:
        nav = [PageLink(link.name, link.title, link.status, link.name == part.name) for link in links]
        pages[part.name] = notebook_page(part.notebook, title=part.title, status="ok", case="case", nav=nav)
    pages["report"] = single_page(judged, provenance=origin, parts=parts)
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("plain report"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = [
        {"text/html": ACTIVE, "text/plain": "x"},
        {"image/svg+xml": "<svg onload=alert(21)></svg>", "text/plain": "a drawing"},
    ]
    outputs += [{"application/javascript": "alert(22)", "text/plain": "a script"}, {"text/markdown": EVERYTHING}]
    return report(tmp_path_factory.mktemp("hostile"), EVERYTHING, *outputs)


def test_the_first_page_says_it_at_once(context: BrowserContext, plain: Path) -> None:
    seen = look(context, plain / "index.html")
    assert "Broken: privileges" in seen.page.inner_text("h1")
    assert seen.page.locator(".rungs li").count() == 11
    words = seen.page.inner_text(".rungs")
    assert all(status in words for status in ("✓ cleared", "✗ broken", "? not examined", "– out of scope"))
    assert seen.page.locator(".finding h4").first.is_visible()
    assert "grant usage on schema auth" in seen.page.inner_text(".finding pre >> nth=0")
    top = seen.page.evaluate("document.querySelector('.rungs').getBoundingClientRect().bottom")
    assert top < 900, "verdict and ladder fit on the first screen"
    seen.assert_quiet()


def test_evidence_is_one_click_away(context: BrowserContext, plain: Path) -> None:
    seen = look(context, plain / "index.html")
    seen.page.click("text=evidence: relation_sizes, row 0 >> nth=0")
    assert seen.page.url.endswith("bloat.html#evidence-relation_sizes")
    assert seen.page.locator("#evidence-relation_sizes table").is_visible()


def test_a_remedy_can_be_copied(context: BrowserContext, plain: Path) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen = look(context, plain / "index.html")
    seen.page.click(".finding .copy >> nth=0")
    seen.page.wait_for_selector("text=Copied")
    assert "grant usage on schema auth to interspace_dev;" in seen.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_from_disk_without_a_network(browser: Browser, plain: Path, scheme: Any) -> None:
    context = cut_off(browser.new_context(color_scheme=scheme))
    seen = look(context, plain / "bloat.html")
    seen.draw_all()
    counts = seen.marks()
    assert len(counts) == len(figure_list())
    assert all(counts), counts
    assert seen.page.locator("figure.plot .canvas[role=img][aria-label]").count() == len(counts)
    seen.assert_quiet()
    context.close()


def test_the_single_file_draws_and_opens_what_is_linked(context: BrowserContext, plain: Path, tmp_path: Path) -> None:
    lonely = Path(shutil.copy(plain / "report.html", tmp_path))
    assert lonely.stat().st_size < single.BYTE_LIMIT
    seen = look(context, lonely)
    assert not seen.page.locator("#bloat .cells").is_visible()
    seen.page.click("nav >> text=Bloat")
    seen.page.wait_for_selector("#bloat .cells", state="visible")
    seen.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    seen.draw_all()
    counts = seen.marks()
    assert len(counts) == len(figure_list())
    assert all(counts)
    _assert_ids_unique(seen.page)
    seen.assert_quiet()


def test_the_single_file_follows_an_evidence_link(context: BrowserContext, plain: Path) -> None:
    seen = look(context, plain / "report.html")
    seen.page.click("text=evidence: relation_sizes, row 0 >> nth=0")
    seen.page.wait_for_selector("#bloat-evidence-relation_sizes", state="visible")


def test_ten_figures_in_one_file_stay_below_the_limit() -> None:
    figures = [*figure_list(), *figure_list()][:10]
    part = Part("bloat", "Bloat", "ok", notebook(*figures))
    page = single_page(document(), provenance=provenance(), parts=[part])
    assert page.count('<figure class="plot"') == 10
    assert len(page.encode()) < 2.5e6


def test_a_single_file_too_large_to_send_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single, "BYTE_LIMIT", 1000)
    with pytest.raises(RunError, match="Send the folder"):
        single_page(document(), provenance=provenance(), parts=[])


@pytest.mark.parametrize("name", ["index", "triage", "bloat", "report"])
def test_hostile_text_is_shown_and_does_nothing(context: BrowserContext, hostile: Path, name: str) -> None:
    seen = look(context, hostile / f"{name}.html")
    seen.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    seen.draw_all()
    seen.page.wait_for_timeout(200)
    body = seen.page.locator("body")
    assert (
        seen.page.evaluate(
            "[...document.querySelectorAll('main img[src], iframe, object, form, input, base, main style')].length"
        )
        == 0
    )
    assert seen.page.locator("main svg:not(.main-svg):not(.main-svg svg)").count() == 0
    assert seen.page.evaluate(_ACTIVE_ATTRIBUTES) == []
    text = body.inner_text()
    for piece in (
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(2)</script>",
        "{{7*7}}",
        "a[U+202E]gnp.exe[CR]",
    ):
        assert piece in text
    assert "\u202e" not in body.inner_html()
    _assert_ids_unique(seen.page)
    seen.assert_quiet()


_ACTIVE_ATTRIBUTES = """[...document.querySelectorAll('body *')].flatMap(e => [...e.attributes]
  .filter(a => a.name.startsWith('on')
    || /^\\s*(javascript|data:text|vbscript)/i.test(a.value) && ['href', 'src', 'action'].includes(a.name))
  .map(a => e.tagName + ' ' + a.name + '=' + a.value))"""


@pytest.mark.parametrize("name", ["index", "bloat", "report"])
def test_no_page_lets_a_script_in(context: BrowserContext, plain: Path, tmp_path: Path, name: str) -> None:
    """Were escaping and sanitising to fail, the policy would still stand."""
    (tmp_path / "evil.js").write_text("window.broken = 1")
    smuggled = '<script>window.broken = 1</script><script src="evil.js"></script><img src=x onerror="window.broken = 1"></main>'
    text = (plain / f"{name}.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</main>", smuggled), encoding="utf-8")
    seen = look(context, tmp_path / "page.html")
    seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.broken = 1\" id=p>x</p>'); p.click()")
    seen.page.wait_for_timeout(100)
    assert seen.page.evaluate("window.broken") is None
    assert seen.page.evaluate("window.violations.length") >= 4


@pytest.mark.parametrize("name", ["index", "triage", "bloat", "report"])
@pytest.mark.parametrize("folder", ["plain", "hostile"])
def test_a_phone_scrolls_only_downwards(browser: Browser, folder: str, name: str, request: pytest.FixtureRequest) -> None:
    context = cut_off(browser.new_context(viewport={"width": 360, "height": 740}))
    seen = look(context, request.getfixturevalue(folder) / f"{name}.html")
    seen.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    seen.draw_all()
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 360
    context.close()


def test_print_shows_what_is_folded(context: BrowserContext, plain: Path) -> None:
    seen = look(context, plain / "report.html")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("details:not([open])").count() == 0
    seen.page.emulate_media(media="print")
    seen.draw_all()
    assert all(seen.marks())
    assert seen.page.locator("#bloat table").first.is_visible()
    assert not seen.page.locator("#bloat details.code").first.is_visible()
    seen.page.emulate_media(media="screen")
    seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not seen.page.locator("#bloat .cells").is_visible()


def test_text_has_contrast_in_both_schemes(browser: Browser, plain: Path) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        poor = look(context, plain / "index.html").page.evaluate(CONTRAST)
        context.close()
        assert poor == [], scheme


CONTRAST = """() => {
  const parse = (text) => { const m = text.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c.startsWith('rgb') && parse(c)[3] === 1) return parse(c); } return [255, 255, 255]; };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const worded = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!worded || !e.checkVisibility() || e.matches('script, .skip')) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.add(e.className + ' ' + e.textContent.slice(0, 30));
  }
  return [...poor];
}"""


def _failed(status: str) -> str:
    book = notebook(*displays()[:2])
    error = new_output("error", ename="ZeroDivisionError", evalue="<b>x</b>", traceback=["\x1b[31mTraceback\x1b[0m", "</script>"])
    book.cells[3].update(outputs=[error] if status == "error" else [], execution_count=2 if status == "error" else None)
    book.cells[5].update(outputs=[], execution_count=None)
    return notebook_page(book, title="Bloat", status=status, case="c", nav=[])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "words"),
    [("error", "stopped with an error"), ("timeout", "ran out of time"), ("dead kernel", "lost its kernel")],
)
def test_a_partial_page_says_where_it_stopped(status: str, words: str) -> None:
    page = _failed(status)
    assert f"This page is incomplete: the notebook {words} in code cell 2 of 3; 1 cell after it did not run." in page
    assert 'id="stopped"' in page
    assert "This cell was not run." in page
    assert "\x1b" not in page
    assert "[31m" not in page


def test_a_notebook_that_never_ran_says_so() -> None:
    book = new_notebook(cells=[new_markdown_cell("# Triage"), new_code_cell("case.show()")])
    assert "the notebook was not run" in notebook_page(book, title="Triage", status="not run", case="c", nav=[])
    assert notebook_title(book, "triage") == "Triage"
    assert notebook_title(new_notebook(), "slow_queries") == "Slow queries"


def test_an_empty_document_has_a_page() -> None:
    bare = document().model_copy(update={"results": [], "changes": [], "hypotheses": [], "notebooks": [], "symptom": None})
    page = index_page(bare, provenance=provenance(), pages=[])
    assert "No check found a defect" in page
    assert "No change is known" in page


@pytest.mark.parametrize(
    ("symptom", "check", "layer", "evidence", "is_also_seen"),
    [
        ('relation "siwe_nonces" does not exist', "unreadable_tables", "privileges", "relations", True),
        ('relation "siwe_nonces" does not exist', "schemas_without_usage", "privileges", "schema_grants", False),
        ('relation "siwe_nonces" does not exist', "schemas_without_usage", "schema", "schema_grants", True),
        ('relation "siwe_nonces" does not exist', "refused_logins", "privileges", "connection", False),
        ('relation "siwe_nonces" does not exist', "schemas_without_usage", "service", "schema_grants", False),
        ("permission denied for table siwe_nonces", "unreadable_tables", "privileges", "relations", False),
        ("everything is on fire", "unreadable_tables", "schema", "relations", False),
        (None, "unreadable_tables", "schema", "relations", False),
    ],
)
def test_also_seen_is_what_does_not_explain_the_symptom(
    symptom: str | None, check: str, layer: Any, evidence: str, is_also_seen: bool
) -> None:
    first = document().results[0]
    [finding] = first.findings
    pointed = finding.evidence.model_copy(update={"name": evidence})
    found = finding.model_copy(update={"severity": "critical", "layer": layer, "evidence": pointed})
    result = first.model_copy(update={"check": check, "layer": layer, "findings": [found]})
    judged = document().model_copy(update={"symptom": symptom, "results": [result]})
    assert ("also seen: it does not explain" in index_page(judged, provenance=provenance(), pages=[])) == is_also_seen


def test_pages_are_the_same_each_time(tmp_path: Path, plain: Path) -> None:
    again = report(tmp_path)
    for page in again.glob("*.html"):
        assert page.read_bytes() == (plain / page.name).read_bytes()
    assert write_assets(tmp_path).name == plotly_file() == "plotly-4.1.1.min.js"


def test_the_sanitiser_keeps_tables_and_drops_the_rest() -> None:
    kept = clean_html(
        '<div class="kit-x" style="text-align:right;position:fixed"><table><tr><td colspan="2">1</td></tr></table></div>'
    )
    assert (
        kept == '<div class="kit-x" style="text-align:right;"><table><tbody><tr><td colspan="2">1</td></tr></tbody></table></div>'
    )
    assert clean_html("<script>x</script><style>y</style>z") == "z"
    assert clean_html('<p class="banner">x</p>') == "<p>x</p>"


def test_markdown_shows_html_and_dollars_as_text() -> None:
    words, headings = markdown_html(
        "## Cost $5 and $6\n\n<b>x</b> [go](javascript:alert(1)) ![i](http://e.org/i.png) [p](bloat.ipynb#a)\n\n## Cost $5 and $6"
    )
    assert "&lt;b&gt;" in words
    assert "<img" not in words
    assert 'href="javascript' not in words
    assert 'href="bloat.html#a"' in words
    assert [heading.id for heading in headings] == ["cost-5-and-6", "cost-5-and-6-2"]


def test_figure_data_cannot_end_its_element() -> None:
    assert "<" not in json_text({"a": "</script><!--", "b": float("nan")})
    assert json_text([float("inf")]) == "[null]"


def test_terminal_text_keeps_the_last_writing_of_a_line() -> None:
    assert plain_text("\x1b[1m10%\r100%\x1b[0m\nnext\r\n") == "100%\nnext\n"


def _assert_ids_unique(page: Page) -> None:
    ids = page.evaluate("[...document.querySelectorAll('[id]')].filter(e => !e.closest('.canvas > *')).map(e => e.id)")
    assert len(ids) == len(set(ids)), sorted(name for name in set(ids) if ids.count(name) > 1)
