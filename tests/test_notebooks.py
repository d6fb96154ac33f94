"""The notebooks that ship: fit for review, for nbval, and true to the judgement."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.case.opened import open_case
from kit.present.displays import FINDINGS_MIME
from kit.report.runner import NOTEBOOKS
from tests.record import judged_again

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|Users|usr|opt|var|private|mnt)/[\w.-]+|\b[A-Z]:\\\\")


def faults(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Yield what makes a notebook unfit to be committed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        yield f"{len(tagged)} parameters cells"
    if not notebook.cells[0].source.startswith("# "):
        yield "no title"
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "execution counts are not 1 to n"
    for cell in code:
        yield from _cell_faults(cell, is_parameters=cell in tagged)


def _cell_faults(cell: nbformat.NotebookNode, *, is_parameters: bool) -> Iterator[str]:
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
    if len(lines) > 5 and not is_parameters:
        yield f"{len(lines)} lines of code in one cell"
    if re.search(r"^\s*(def|class)\s|\bselect\b", cell.source, re.MULTILINE | re.IGNORECASE):
        yield "code or SQL that belongs in the package"
    for output in cell.outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"an output of kind {output.get('name', output.output_type)}"
        if ABSOLUTE_PATH.search(str(output)):
            yield f"an absolute path: {ABSOLUTE_PATH.search(str(output))}"


def _read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_fit_to_be_committed(name: str):
    notebook = _read(name)
    nbformat.validate(notebook)

    assert list(faults(notebook)) == []


def _stderr(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stderr", text="warning")]


def _path(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="see /home/ann/x.csv")]


def _second_parameters(notebook: nbformat.NotebookNode) -> None:
    notebook.cells.append(copy.deepcopy(notebook.cells[1]))
    notebook.cells[-1].execution_count = sum(cell.cell_type == "code" for cell in notebook.cells)


def _null_count(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].execution_count = None


def _six_lines(notebook: nbformat.NotebookNode) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[-1].source = "\n".join(f"a{number} = {number}" for number in range(6))


@pytest.mark.parametrize("spoil", [_stderr, _path, _second_parameters, _null_count, _six_lines])
def test_a_spoiled_notebook_is_refused(spoil: Callable[[nbformat.NotebookNode], None]):
    notebook = _read("triage")
    spoil(notebook)

    assert list(faults(notebook)) != []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_findings_in_the_outputs_are_those_of_the_judgement(name: str):
    document = open_case(folders.RECORDED).document
    expected = [f.fingerprint for result, f in document.findings() if result.area == name]
    shown = [
        [finding["fingerprint"] for finding in output.data[FINDINGS_MIME]["findings"]]
        for cell in _read(name).cells
        for output in cell.get("outputs", [])
        if FINDINGS_MIME in output.get("data", {})
    ]

    assert shown[0] == expected


def test_the_recorded_findings_are_what_the_checks_say_today():
    place = folders.captures(folders.RECORDED_FOLDER)[-1]
    recorded = FindingsDocument.model_validate_json((place / folders.FINDINGS).read_text(encoding="utf-8"))

    assert judged_again(place, recorded) == recorded


def test_nbval_fails_when_a_check_is_broken(tmp_path: Path):
    shutil.copytree(ROOT / "kit", tmp_path / "kit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(FOLDER / "bloat.ipynb", tmp_path)
    assert _nbval(tmp_path) == 0

    check = tmp_path / "kit" / "checks" / "bloat" / "bloated_tables.py"
    check.write_text(check.read_text() + "\n\ndef judge(frames, thresholds):\n    return []\n")

    assert _nbval(tmp_path) == 1


def _nbval(folder: Path) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--nbval", "--nbval-current-env", "bloat.ipynb"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode
