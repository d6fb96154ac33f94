"""A page for each notebook: its words and outputs in the kit's own shell, honest about where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

from kit.analyze.document import NotebookStatus
from kit.present.text import counted
from kit.report.assets import folder_policy, plotly_file, render
from kit.report.cells import Writer, is_unrun
from kit.report.sanitize import Heading


@dataclass(frozen=True, slots=True)
class PageLink:
    """A page of the report as the navigation names it; `name` is the notebook's, without ending."""

    name: str
    title: str
    status: NotebookStatus = "ok"
    current: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The inside of a notebook's page: its HTML, its headings, how many figures, and what is missing."""

    html: str
    headings: Sequence[Heading]
    figures: int
    banner: str
    stopped_at: str | None


def notebook_page(notebook: NotebookNode, *, title: str, status: NotebookStatus, case: str, nav: Sequence[PageLink]) -> str:
    """Return the page of an executed notebook, complete or not."""
    body = notebook_body(notebook, status=status)
    return render(
        "notebook.html.jinja",
        policy=folder_policy(),
        plotly=plotly_file() if body.figures else "",
        title=title,
        status=status,
        case=case,
        nav=nav,
        body=body,
        single=False,
    )


def notebook_body(notebook: NotebookNode, *, status: NotebookStatus, prefix: str = "") -> Body:
    """Return the inside of a page; every id in it begins with `prefix`."""
    cells = _without_title([dict(cell) for cell in notebook.cells])
    stop = _stop(cells, status)
    writer = Writer(prefix)
    written = "".join(writer.cell(cell, stopped=index == stop) for index, cell in enumerate(cells))
    banner = _banner(cells, status, stop)
    return Body(written, tuple(writer.headings), writer.figures, banner, f"{prefix}stopped" if stop is not None else None)


def notebook_title(notebook: NotebookNode, name: str) -> str:
    """Return the notebook's own title (its first heading), else its name in words."""
    first = next((cell["source"] for cell in notebook.cells if cell["cell_type"] == "markdown"), "")
    line = first.lstrip().partition("\n")[0]
    return line[2:].strip() if line.startswith("# ") else name.replace("_", " ").capitalize()


def _without_title(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the first heading: the shell shows it as the page's title."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            head, _, rest = cell["source"].lstrip().partition("\n")
            cell["source"] = rest if head.startswith("# ") else cell["source"]
            return cells
    return cells


def _stop(cells: Sequence[dict[str, Any]], status: NotebookStatus) -> int | None:
    """Return the position of the cell at which the run ended, where it ended early."""
    if status in ("ok", "not run"):
        return None
    failed = [i for i, cell in enumerate(cells) if any(o["output_type"] == "error" for o in cell.get("outputs", []))]
    unrun = [i for i, cell in enumerate(cells) if is_unrun(cell)]
    return next(iter([*failed[:1], *unrun[:1]]), None)


def _banner(cells: Sequence[dict[str, Any]], status: NotebookStatus, stop: int | None) -> str:
    if status == "ok":
        return ""
    if status == "not run":
        return "This page is empty of results: the notebook was not run."
    words = {"error": "stopped with an error", "timeout": "ran out of time", "dead kernel": "lost its kernel"}[status]
    return f"This page is incomplete: the notebook {words}{_place(cells, stop)}."


def _place(cells: Sequence[dict[str, Any]], stop: int | None) -> str:
    if stop is None:
        return "; where is not known"
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code" and cell["source"].strip()]
    number = sum(1 for i in code if i <= stop)
    missing = sum(1 for i in code if i > stop and is_unrun(cells[i]))
    rest = f"; {counted(missing, 'cell')} after it did not run" if missing else ""
    return f" in code cell {number} of {len(code)}{rest}"
