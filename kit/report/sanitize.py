"""What may enter a page from a notebook: Markdown without raw HTML, and HTML through an allow-list.

nbconvert is not used for pages. Its HTML exporter lets text/html through as it is, reads $…$ in Markdown as
mathematics, and knows no plotly outputs; with those three replaced only its loop over the cells would be left,
for 2.5 s of import. What is used are the parts: nbformat, markdown-it, bleach and pygments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from bleach.css_sanitizer import CSSSanitizer
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from kit.present.text import visible

_TAG_NAMES = (
    "a abbr b bdi blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6"
    " hr i img ins kbd li mark meter ol p pre progress q s samp small span strong sub summary sup table tbody td tfoot th"
    " thead time tr tt u ul var"
)
_EVERYWHERE = frozenset({"title", "style", "dir", "lang", "align", "aria-label"})
_BY_TAG = {
    "td": {"colspan", "rowspan", "valign"},
    "th": {"colspan", "rowspan", "valign", "scope"},
    "col": {"span"},
    "ol": {"start", "reversed"},
    "details": {"open"},
    "time": {"datetime"},
    "meter": {"value", "min", "max", "low", "high", "optimum"},
    "progress": {"value", "max"},
    "img": {"alt", "width", "height"},
    "div": {"tabindex"},
}
# No position, no background images, no z-index: nothing may lay itself over the page's own words.
_STYLE_NAMES = (
    "background-color border border-bottom border-collapse border-color border-left border-radius border-right border-spacing"
    " border-style border-top border-width color cursor font-family font-size font-style font-weight height line-height margin"
    " margin-bottom margin-left margin-right margin-top max-width min-width overflow-wrap overflow-x padding padding-bottom"
    " padding-left padding-right padding-top text-align text-decoration vertical-align white-space width word-break"
)
_CLASS = re.compile(r"(?:kit-[a-z-]+|dataframe)(?: (?:kit-[a-z-]+|dataframe))*")
_ID = re.compile(r"evidence-[A-Za-z0-9_.-]+")
_LINK = re.compile(r"(?:https?://|mailto:|#)[^\s\x00-\x20]*|[A-Za-z0-9_./#-]+")
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
# Their content is no text for people; bleach alone would take the tags and leave it standing.
_DROPPED = re.compile(r"<(style|script|title|template|noscript|iframe|svg|math)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a page, for its table of contents."""

    level: int
    id: str
    text: str


def clean_html(html: str, prefix: str = "", taken: set[str] | None = None) -> str:
    """Return HTML with nothing active in it; ids of evidence get the prefix, and each stands once."""
    filters = [partial(_Identified, prefix=prefix, taken=set() if taken is None else taken)]
    cleaner = Cleaner(
        tags=frozenset(_TAG_NAMES.split()),
        attributes=_is_allowed,
        protocols=frozenset({"http", "https", "mailto", "data"}),
        strip=True,
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLE_NAMES.split()),
        filters=filters,
    )
    return visible(cleaner.clean(_DROPPED.sub("", html)))


def markdown_html(source: str, prefix: str = "", taken: set[str] | None = None) -> tuple[str, list[Heading]]:
    """Return Markdown as HTML with its headings; raw HTML and mathematics in it stay text."""
    parser = _markdown()
    tokens = parser.parse(visible(source.replace("\r\n", "\n")))
    headings = _identify(tokens, prefix, set() if taken is None else taken)
    _relink(tokens)
    return parser.renderer.render(tokens, parser.options, {}), headings


def code_html(source: str) -> str:
    """Return Python source with its parts named by class, escaped."""
    formatter: Any = HtmlFormatter(nowrap=True)
    return str(highlight(visible(source.replace("\r\n", "\n")), PythonLexer(), formatter))


@cache
def _markdown() -> MarkdownIt:
    # Images are off: one from elsewhere would be asked for by whoever opens the report.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def _identify(tokens: Sequence[Token], prefix: str, taken: set[str]) -> list[Heading]:
    headings = []
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type != "heading_open":
            continue
        level = max(2, int(opening.tag[1]))  # the page has its own h1
        opening.tag = closing.tag = f"h{level}"
        text = "".join(child.content for child in inline.children or [])
        opening.attrSet("id", name := _unique(prefix + _slug(text), taken))
        headings.append(Heading(level, name, text))
    return headings


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "section"


def _unique(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _relink(tokens: Sequence[Token]) -> None:
    for token in [child for parent in tokens for child in parent.children or [] if child.type == "link_open"]:
        href = str(token.attrGet("href") or "")
        token.attrSet("href", re.sub(r"^([\w-]+)\.ipynb(?=#|$)", r"\1.html", href))
        token.attrSet("rel", "noreferrer noopener")


def _is_allowed(tag: str, name: str, value: str) -> bool:
    patterns = {
        "class": _CLASS,
        "id": _ID,
        "href": _LINK if tag == "a" else None,
        "src": _IMAGE if tag == "img" else None,
    }
    if name in patterns:
        pattern = patterns[name]
        return bool(pattern and pattern.fullmatch(value))
    return name in _EVERYWHERE or name in _BY_TAG.get(tag, ())


class _Identified(Filter):  # type: ignore[misc]
    """Gives ids their prefix and leaves out the second of the same."""

    def __init__(self, source: Any, prefix: str, taken: set[str]) -> None:
        super().__init__(source)
        self.prefix, self.taken = prefix, taken

    def __iter__(self) -> Iterator[Any]:
        for token in super().__iter__():
            name = token.get("data", {}).pop((None, "id"), None) if token["type"] in ("StartTag", "EmptyTag") else None
            if name and self.prefix + name not in self.taken:
                self.taken.add(self.prefix + name)
                token["data"][None, "id"] = self.prefix + name
            yield token
