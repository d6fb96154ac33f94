"""The whole report in one file: the first page, then every notebook folded, with plotly.js packed inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from kit.analyze.document import FindingsDocument, NotebookStatus
from kit.errors import RunError
from kit.report.assets import packed_plotly, render, single_policy
from kit.report.index import ReportProvenance, index_values
from kit.report.pages import Body, PageLink, notebook_body

BYTE_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """An executed notebook that goes into the single file."""

    name: str
    title: str
    status: NotebookStatus
    notebook: NotebookNode


def single_page(document: FindingsDocument, *, provenance: ReportProvenance, parts: Sequence[Part]) -> str:
    """Return `report.html`; RunError where it would be too large to send."""
    bodies = [(part, notebook_body(part.notebook, status=part.status, prefix=f"{part.name}-")) for part in parts]
    page = _rendered(document, provenance, bodies)
    if len(page.encode()) > BYTE_LIMIT:
        megabytes = len(page.encode()) / 1e6
        raise RunError(f"The report in one file would be {megabytes:.1f} MB.", "Send the folder instead; index.html is complete.")
    return page


def _rendered(document: FindingsDocument, provenance: ReportProvenance, bodies: Sequence[tuple[Part, Body]]) -> str:
    with_figures = any(body.figures for _, body in bodies)
    links = [PageLink(part.name, part.title, part.status) for part, _ in bodies]
    return render(
        "single.html.jinja",
        policy=single_policy(with_figures=with_figures),
        plotly="",
        packed=packed_plotly() if with_figures else "",
        bodies=bodies,
        nav=links,
        single=True,
        **index_values(document, provenance, links, single=True),
    )
