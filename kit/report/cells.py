"""The cells of an executed notebook as HTML: words, folded code, and what came out, with nothing active in it."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.present.plots import PLOTLY_MIME
from kit.present.text import escaped, visible
from kit.report.sanitize import Heading, clean_html, code_html, markdown_html

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_IMAGES = ("image/png", "image/jpeg")
_DROPPED_TAG = "papermill-error-cell-tag"
_CODE_NAMES = {"parameters": "Show the default parameters", "injected-parameters": "Show the parameters of this run"}


@dataclass
class Writer:
    """Writes cells one after the other: it numbers figures, and keeps ids unique on the page."""

    prefix: str = ""
    headings: list[Heading] = field(default_factory=list)
    figures: int = 0
    taken: set[str] = field(default_factory=set)

    def cell(self, cell: Mapping[str, Any], *, stopped: bool = False) -> str:
        """Return one cell as HTML; `stopped` marks the cell at which the run ended."""
        if _DROPPED_TAG in cell.get("metadata", {}).get("tags", []):
            return ""
        inner = {"markdown": self._markdown, "code": self._code}.get(cell["cell_type"], self._raw)(cell)
        mark = f' id="{self.prefix}stopped"' if stopped else ""
        return f'<section class="cell {escaped(cell["cell_type"])}"{mark}>{inner}</section>\n' if inner or stopped else ""

    def _markdown(self, cell: Mapping[str, Any]) -> str:
        words, headings = markdown_html(cell["source"], self.prefix, self.taken)
        self.headings.extend(headings)
        return words

    def _raw(self, cell: Mapping[str, Any]) -> str:
        return f"<pre>{escaped(cell['source'])}</pre>" if cell["source"].strip() else ""

    def _code(self, cell: Mapping[str, Any]) -> str:
        outputs = "".join(self._output(output) for output in cell.get("outputs", []))
        if not cell["source"].strip():
            return outputs
        note = '<p class="not-run">– This cell was not run.</p>' if is_unrun(cell) else ""
        return note + outputs + _folded_code(cell)

    def _output(self, output: Mapping[str, Any]) -> str:
        kind = output["output_type"]
        if kind == "stream":
            return _stream(output)
        return _error(output) if kind == "error" else self._data(output.get("data", {}))

    def _data(self, data: Mapping[str, Any]) -> str:
        writers: Iterable[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
            (PLOTLY_MIME, self._figure),
            (
                "text/html",
                lambda d: f'<div class="output">{clean_html(_joined(d["text/html"]), self.prefix, self.taken)}</div>',
            ),
            *((kind, _image(kind)) for kind in _IMAGES),
            ("text/markdown", lambda d: markdown_html(_joined(d["text/markdown"]), self.prefix, self.taken)[0]),
            ("text/plain", lambda d: f'<pre class="output">{_plain(_joined(d["text/plain"]))}</pre>'),
        ]
        shown = {kind: value for kind, value in data.items() if kind != PLOTLY_MIME or isinstance(value, dict)}
        return next((write(shown) for kind, write in writers if kind in shown), "")

    def _figure(self, data: Mapping[str, Any]) -> str:
        self.figures += 1
        name, alt = f"{self.prefix}figure-{self.figures}", escaped(_alternative(data))
        height = _height(data[PLOTLY_MIME])
        return (
            f'<figure class="plot" aria-labelledby="{name}-words"><div class="canvas" id="{name}" role="img" aria-label="{alt}"'
            f' style="min-height:{height}px"></div><script type="application/json">{json_text(data[PLOTLY_MIME])}</script>'
            f'<figcaption id="{name}-words">{alt}</figcaption></figure>'
        )


def is_unrun(cell: Mapping[str, Any]) -> bool:
    """Return whether a code cell was never run; papermill's own labels are wrong about it."""
    blank = cell["cell_type"] != "code" or not cell["source"].strip()
    return not blank and cell.get("execution_count") is None and not cell.get("outputs")


def json_text(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in; NaN and infinities become null.

    >>> json_text({"name": "</script><!--"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    written = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain_text(text: str) -> str:
    """Return terminal text without its escapes; of a line written over, the last writing stays."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return visible("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def _plain(text: str) -> str:
    return html.escape(plain_text(text))


def _folded_code(cell: Mapping[str, Any]) -> str:
    tags = cell.get("metadata", {}).get("tags", [])
    name = next((words for tag, words in _CODE_NAMES.items() if tag in tags), "Show the code")
    return f'<details class="code"><summary>{name}</summary><pre><code>{code_html(cell["source"])}</code></pre></details>'


def _stream(output: Mapping[str, Any]) -> str:
    name = "stderr" if output.get("name") == "stderr" else "stdout"
    return f'<pre class="output {name}">{_plain(_joined(output["text"]))}</pre>'


def _error(output: Mapping[str, Any]) -> str:
    trace = _plain("\n".join(output.get("traceback", [])))
    head = f"✗ {escaped(output.get('ename', 'Error'))}: {_plain(str(output.get('evalue', '')))}"
    folded = f"<details><summary>Show the traceback</summary><pre>{trace}</pre></details>" if trace.strip() else ""
    return f'<div class="error"><p><strong>{head}</strong></p>{folded}</div>'


def _image(kind: str) -> Callable[[Mapping[str, Any]], str]:
    def write(data: Mapping[str, Any]) -> str:
        body = re.sub(r"[^A-Za-z0-9+/=]", "", _joined(data[kind]))
        words = escaped(plain_text(_joined(data.get("text/plain", "an image")))[:200])
        return f'<img src="data:{kind};base64,{body}" alt="{words}">'

    return write


def _alternative(data: Mapping[str, Any]) -> str:
    words = plain_text(_joined(data.get("text/plain", ""))).strip()
    # plotly's own objects write their source as text/plain, which describes nothing.
    if words and len(words) <= 400 and not words.startswith("Figure("):
        return words
    title = (data[PLOTLY_MIME].get("layout") or {}).get("title") or ""
    return str(title.get("text", "") if isinstance(title, dict) else title) or "A chart without a description."


def _height(figure: Mapping[str, Any]) -> int:
    height = (figure.get("layout") or {}).get("height")
    return int(height) if isinstance(height, (int, float)) and 50 <= height <= 4000 else 380


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
