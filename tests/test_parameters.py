"""Parameters of notebooks: read with ast, and refused before anything starts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from kit.case import folders
from kit.case.judging import Question
from kit.cli import app
from kit.errors import ParameterError
from kit.report import parameters
from kit.report.runner import NOTEBOOKS, run
from tests.run_support import BUNDLE, order, working_copy

ASSIGNMENTS = """
case: str = "recorded"  # the case to open
top: int = 15  # how many (default = 15, top=all is 0)
share: float = 0.5
deep: bool = False
names: list[str] = ["a", "b"]
plain = 3  # no annotation
"""


def declared(source: str) -> dict[str, parameters.Parameter]:
    cell = new_code_cell(source, metadata={"tags": ["parameters"]})
    return parameters.declared(new_notebook(cells=[cell]), "triage")


def chosen(**given: str) -> dict[str, object]:
    return parameters.chosen({"triage": declared(ASSIGNMENTS)}, given)["triage"]


def test_parameters_are_read_with_type_default_and_comment() -> None:
    found = declared(ASSIGNMENTS)
    assert [(p.name, p.type, p.default) for p in found.values()] == [
        ("case", "str", "recorded"),
        ("top", "int", 15),
        ("share", "float", 0.5),
        ("deep", "bool", False),
        ("names", "list[str]", ["a", "b"]),
        ("plain", "int", 3),
    ]
    assert found["top"].comment == "how many (default = 15, top=all is 0)"


@pytest.mark.filterwarnings("ignore")
def test_a_comment_with_an_equals_sign_is_where_papermill_loses_a_parameter(tmp_path: Path) -> None:
    cell = new_code_cell(ASSIGNMENTS, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "n.ipynb")
    theirs = set(papermill.inspect_notebook(str(tmp_path / "n.ipynb")))
    assert set(declared(ASSIGNMENTS)) - theirs == {"top"}


def test_text_is_converted_to_the_declared_type() -> None:
    found = chosen(top="3", share="0.25", deep="TRUE", names="x, y", case="a=b")
    assert found == {"top": 3, "share": 0.25, "deep": True, "names": ["x", "y"], "case": "a=b"}


def test_a_comment_survives_lines_that_only_str_would_split() -> None:
    assert declared('a: str = "x\u2028y\x0c"  # first\nb: int = 1  # second')["b"].comment == "second"


@pytest.mark.parametrize(
    "given",
    [{"top": "many"}, {"top": "1.5"}, {"share": "nan"}, {"share": "inf"}, {"deep": "yes"}, {"tops": "3"}, {"since": "x"}],
)
def test_a_value_that_does_not_fit_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ParameterError):
        chosen(**given)


def test_a_near_name_is_proposed() -> None:
    with pytest.raises(ParameterError, match="Did you mean top") as refused:
        chosen(tops="3")
    assert "tops" in refused.value.message


NOT_PLAIN = ["for x in (1, 2): pass", "top: int = len('abc')", "top: int = ", "import os", "a, b = 1, 2", "a: int", "x = {[]: 1}"]


@pytest.mark.parametrize("source", [*NOT_PLAIN, "x = " + "(" * 400], ids=[*NOT_PLAIN, "too deep"])
def test_a_parameters_cell_of_anything_but_assignments_is_refused(source: str) -> None:
    with pytest.raises(ParameterError, match="parameters cell of triage"):
        declared(source)


@pytest.mark.parametrize("text", ["2026-13-01", "tomorrow", "0001-01-01T00:00:00+05:00", "12:00"])
def test_a_bad_time_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is no time"):
        parameters.moment(text, "since")


def test_times_are_utc_where_unmarked() -> None:
    assert parameters.moment("2026-11-20T03:00:00+02:00", "since") == datetime(2026, 11, 20, 1, tzinfo=UTC)
    assert parameters.moment("2026-11-20 03:00", "since") == datetime(2026, 11, 20, 3, tzinfo=UTC)
    assert parameters.moment("", "since") is None


REFUSED = [
    (["--set", "tpo=3"], "No notebook has a parameter 'tpo'"),
    (["--set", "top=many"], "top='many' is not int"),
    (["--set", "top"], "is not NAME=VALUE"),
    (["--since", "yesterday"], "since='yesterday' is no time"),
    (["--since", "2026-11-20T03:00:00Z", "--until", "2026-11-20T02:00:00Z"], "before it begins"),
    (["--since", "2026-11-20T03:00:00Z", "--set", "until=2026-11-20T02:00:00Z"], "before it begins"),
    (["--threshold", "bloated_tables.nothing=1"], "bloated_tables.nothing"),
    (["--threshold", "x.y=nan"], "is no number"),
    (["--only", "triagee"], "There is no notebook 'triagee'"),
    (["--fail-on", "fatal"], "is no severity"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_the_command_refuses_before_it_writes_anything(tmp_path: Path, words: list[str], sentence: str) -> None:
    reports = tmp_path / "reports"
    result = CliRunner().invoke(app, ["run", "case", "--target", str(BUNDLE), "--reports", str(reports), *words])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert result.stderr.splitlines()[1].startswith("Hint:")
    assert result.stdout == ""
    assert not reports.exists()


@pytest.mark.parametrize("name", ["", "Bad", "../x", "a/b", ".hidden", "recorded", "a b", "x" * 101])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["run", name, "--target", str(BUNDLE), "--reports", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert "cannot name a case" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_edited_working_copy_is_refused_before_the_capture(tmp_path: Path) -> None:
    """The target does not exist: had anything been captured, the error would speak of it."""
    working_copy(tmp_path / "case", "triage", declared="top: int = 2\nfor x in (1, 2): print(x)")
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    words = ["run", "case", "--target", nowhere, "--reports", str(tmp_path), "--only", "triage"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "The parameters cell of triage cannot be read: line 2 is no assignment." in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "case").iterdir()] == ["work"]


def test_every_notebook_of_the_kit_declares_its_case() -> None:
    for name in NOTEBOOKS:
        notebook = nbformat.read(folders.notebooks_folder() / f"{name}.ipynb", as_version=4)
        found = parameters.declared(notebook, name)
        assert found["case"].default == "recorded"
        assert all(parameter.comment for parameter in found.values())


def test_chosen_values_are_injected_and_the_question_s_window_with_them(tmp_path: Path) -> None:
    cell = "print(case, top, since, until, deep)"
    source = 'case: str = "recorded"\ntop: int = 1  # a = b\nsince: str = ""\nuntil: str = ""\ndeep: bool = True'
    working_copy(tmp_path / "case", "triage", cell, declared=source)
    question = Question("case", since=datetime(2026, 1, 2, tzinfo=UTC), until=datetime(2026, 1, 3, tzinfo=UTC))
    asked = replace(order(tmp_path, question=question), set_values={"top": "7", "deep": "false"})
    report = run(asked)
    executed = json.loads((report.folder / "notebooks" / "triage.ipynb").read_text())
    printed = "".join(executed["cells"][-1]["outputs"][0]["text"])
    assert printed == "case 7 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z False\n"
