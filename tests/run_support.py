"""What the tests of the runner, the command line and the gate share: the recorded bundle, orders, working copies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from kit.case import folders
from kit.case.judging import Question
from kit.report.runner import Order
from kit.target import Target

BUNDLE = folders.captures(folders.RECORDED_FOLDER)[-1]
KIT = Path(sys.executable).parent / "kit"
MARK = "KIT_TEST_MARK"
DEFAULT_PARAMETERS = 'case: str = "recorded"  # the case'


def order(reports: Path, case: str = "case", **options: Any) -> Order:
    """Return an order on the recorded bundle; triage alone unless `only` says otherwise."""
    options = {"only": ("triage",), **options}
    return Order(options.pop("question", Question(case)), Target("bundle", bundle=BUNDLE), reports, **options)


def working_copy(case_folder: Path, name: str, *cells: str, declared: str = DEFAULT_PARAMETERS) -> Path:
    """Write a working copy of few cells, as a person may have left it."""
    path = case_folder / folders.WORKING_COPIES / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    tagged = new_code_cell(declared, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[tagged, *(new_code_cell(cell) for cell in cells)]), path)
    return path


def environment(**changes: str | None) -> dict[str, str]:
    """Return this environment without what names targets, with changes (None takes a variable away)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KIT_", "PG"))}
    changed: Mapping[str, str | None] = {**kept, **changes}
    return {key: value for key, value in changed.items() if value is not None}


def kit(*words: str | Path, cwd: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [str(KIT), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=240, check=False)


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def hidden(folder: Path) -> list[str]:
    """Return what lies aside in a reports folder; after a run there is nothing."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the first true value of a condition; fails when it stays false."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:.0f} s: {condition}")


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry a mark in their environment."""
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        found: str | None = None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK)
    except psutil.Error:
        return None
    return found
