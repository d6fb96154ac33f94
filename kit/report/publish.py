"""Writing the report's folder: pages, index, the one file, the document and the manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat

import kit
from kit.analyze.document import FindingsDocument
from kit.case.folders import FINDINGS
from kit.errors import RunError
from kit.evidence.model import Capture, Source
from kit.report.assets import write_assets
from kit.report.index import AskedSource, ReportProvenance, index_page
from kit.report.pages import PageLink, notebook_page, notebook_title
from kit.report.single import Part, single_page
from kit.report.staging import write_manifest
from kit.report.worker import Outcome


def write(folder: Path, capture: Capture, document: FindingsDocument, outcomes: Mapping[str, Outcome]) -> None:
    """Write everything that people open into `folder`."""
    (folder / FINDINGS).write_text(document.to_json(), encoding="utf-8")
    parts = [_part(folder, outcome) for outcome in outcomes.values()]
    provenance = provenance_of(capture, _git_revision())
    write_assets(folder)
    links = [PageLink(part.name, part.title, part.status) for part in parts]
    for part in parts:
        nav = [PageLink(link.name, link.title, link.status, current=link.name == part.name) for link in links]
        page = notebook_page(part.notebook, title=part.title, status=part.status, case=document.case, nav=nav)
        (folder / f"{part.name}.html").write_text(page, encoding="utf-8")
    (folder / "index.html").write_text(index_page(document, provenance=provenance, pages=links), encoding="utf-8")
    (folder / "report.html").write_text(_single(document, provenance, parts), encoding="utf-8")
    write_manifest(folder)


def _single(document: FindingsDocument, provenance: ReportProvenance, parts: Sequence[Part]) -> str:
    """Return the report in one file; where it would be too large to send, its first page alone."""
    try:
        return single_page(document, provenance=provenance, parts=parts)
    except RunError:
        return single_page(document, provenance=provenance, parts=[])


def _part(folder: Path, outcome: Outcome) -> Part:
    notebook = nbformat.read(folder / "notebooks" / f"{outcome.name}.ipynb", as_version=4)
    return Part(name=outcome.name, title=notebook_title(notebook, outcome.name), status=outcome.status, notebook=notebook)


def provenance_of(capture: Capture, revision: str | None) -> ReportProvenance:
    """Return what a report of this capture rests on; `revision` is that of the kit's own checkout."""
    return ReportProvenance(
        kit_version=capture.kit_version,
        git_revision=revision,
        sources=[_asked(source) for source in capture.sources],
        digest=capture.digest,
        captured_at=capture.started_at,
        cost=capture.cost,
    )


def _asked(source: Source) -> AskedSource:
    who = source.identity
    if who is None:
        return AskedSource(source.name, source.kind, "–", source.vantage)
    server = f"PostgreSQL {who.server_version_text} at {who.server}, database {who.database}"
    return AskedSource(source.name, server, who.user, source.vantage)


def _git_revision() -> str | None:
    """Return the revision of the checkout that the kit runs from, if it runs from one."""
    root = Path(kit.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
