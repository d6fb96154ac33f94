"""A real browser with the network cut: what the tests look at pages with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
ARGUMENTS = _FLAGS.split()
MARKS = ".barlayer .point path, .scatterlayer path.point, .heatmaplayer image"


def chromium() -> str:
    """Return the browser's path, or skip loudly."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("NO BROWSER: chromium is not installed, so no page of the report was looked at")
    return found


_DRAW_ALL = """async () => {
  for (const plot of document.querySelectorAll('figure.plot')) {
    plot.scrollIntoView();
    const isMissing = () => plot.checkVisibility() && !plot.querySelector('.main-svg .hoverlayer');
    while (isMissing()) await new Promise(next => setTimeout(next, 10));
  }
}"""


@dataclass
class Seen:
    """A page that was opened, and all that went wrong on it."""

    page: Page
    dialogs: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def draw_all(self) -> None:
        """Scroll to every chart, as a reader would, and wait until it is there."""
        self.page.evaluate(_DRAW_ALL)

    def marks(self) -> list[int]:
        """Return how many marks each chart shows."""
        count = f"plot => plot.querySelectorAll('{MARKS}').length"
        return list(self.page.evaluate(f"[...document.querySelectorAll('figure.plot')].map({count})"))

    def assert_quiet(self) -> None:
        violations = self.page.evaluate("window.violations")
        assert (self.dialogs, self.messages, self.requests, violations) == ([], [], [], [])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield cut_off(made)
    made.close()


def cut_off(context: BrowserContext) -> BrowserContext:
    """Take the network away from a browser's context, and note every violation of the pages' policy."""
    context.set_offline(True)
    context.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI))"
    )
    return context


def look(context: BrowserContext, path: Path, fragment: str = "") -> Seen:
    """Open a page from disk, recording everything that it should not do."""
    seen = Seen(context.new_page())
    seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    seen.page.on("console", lambda message: seen.messages.append(message.text))
    seen.page.on("pageerror", lambda error: seen.messages.append(str(error)))
    seen.page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else seen.requests.append(r.url))
    seen.page.goto(path.as_uri() + fragment)
    return seen
