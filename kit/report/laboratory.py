"""JupyterLab on a case's working copies."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat

from kit.case import folders
from kit.errors import MissingTier, UsageError
from kit.report import parameters
from kit.report.runner import NOTEBOOKS

# JupyterLab asks for news and updates over the network unless it is told not to.
_QUIET = (
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
)


def working_copies(case: str, reports: Path | None = None) -> Path:
    """Return the folder of the case's working copies, making those that are missing; people's cells stay."""
    case_folder = folders.reports_folder(reports) / folders.checked_name(case)
    if not folders.captures(case_folder):
        raise UsageError(f"There is no case {case!r} in {case_folder.parent}.", f"Make it: kit run {case} --target T")
    folder = case_folder / folders.WORKING_COPIES
    folder.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        if not (folder / f"{name}.ipynb").exists():
            _copy(folders.notebooks_folder() / f"{name}.ipynb", folder / f"{name}.ipynb", case)
    return folder


def open_lab(folder: Path) -> int:
    """Run JupyterLab on the folder until it is stopped; return its exit status."""
    if find_spec("jupyterlab") is None:
        raise MissingTier("JupyterLab is not installed.", "pip install 'incident-kit[lab]'")
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", *_QUIET]
    environment = {**os.environ, "KIT_REPORTS": str(folder.parent.parent.resolve())}
    return subprocess.run(command, env=environment, check=False).returncode


def _copy(original: Path, copy: Path, case: str) -> None:
    """A working copy names its own case, and holds no outputs of another."""
    notebook = nbformat.read(original, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if parameters.TAG in cell.metadata.get("tags", []):
            cell.source = cell.source.replace(f'"{folders.RECORDED}"', f'"{case}"', 1)
    nbformat.write(notebook, copy)
