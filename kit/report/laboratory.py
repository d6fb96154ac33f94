"""JupyterLab on a case's working copies."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat

from kit.case import folders
from kit.errors import MissingTier, RunError, UsageError
from kit.report import parameters
from kit.report.runner import NOTEBOOKS
from kit.sandbox.scratch import deferred_signals

# JupyterLab asks for news, updates and extensions over the network unless it is told not to.
_QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_PATIENCE_SECONDS = 10.0


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


def open_lab(folder: Path) -> None:
    """Run JupyterLab on the folder until it is stopped; RunError where it does not start."""
    if find_spec("jupyterlab") is None:
        raise MissingTier("JupyterLab is not installed.", "pip install 'incident-kit[lab]'")
    # Jupyter refuses to run as root unless told so; in a container there often is nobody else.
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", *_QUIET, *root]
    # The kernel `python3` is this interpreter's, whatever the user has under that name.
    environment = {**os.environ, "KIT_REPORTS": str(folder.parent.parent.resolve()), "JUPYTER_PREFER_ENV_PATH": "1"}
    # A session of its own: Ctrl-C reaches only the kit, which then ends Jupyter and its kernels without a question.
    with deferred_signals():
        server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status = server.wait()
    finally:
        _end(server)
    if status != 0:
        raise RunError(f"JupyterLab ended with status {status}.", "Its own words stand above.")


def _end(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()


def _copy(original: Path, copy: Path, case: str) -> None:
    """A working copy names its own case, and holds no outputs of another."""
    notebook = nbformat.read(original, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if parameters.TAG in cell.metadata.get("tags", []):
            cell.source = cell.source.replace(f'"{folders.RECORDED}"', f'"{case}"', 1)
    nbformat.write(notebook, copy)
