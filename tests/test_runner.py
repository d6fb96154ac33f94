"""The runner on real parts: processes, kernels, folders; the recorded bundle stands for the server."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.errors import RunError
from kit.evidence import bundle
from kit.report import staging
from kit.report.runner import NOTEBOOKS, Report, run
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests.conftest import Staged
from tests.run_support import BUNDLE, KIT, environment, hashes, hidden, kit, order, working_copy

AWKWARD = "a {x} {{y}} 'q' \"d\" ünï ☃ %s"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[str]]:
    """The kit's own notebooks and one with a person's cell, in a case folder with a deep and awkward path."""
    reports = tmp_path_factory.mktemp("deep") / AWKWARD / ("d" * 100) / ("e" * 100)
    copy = reports / "case" / folders.WORKING_COPIES / "triage.ipynb"
    copy.parent.mkdir(parents=True)
    notebook = nbformat.read(folders.notebooks_folder() / "triage.ipynb", as_version=4)
    notebook.cells.append(new_code_cell("print('seen', 'by people', len(investigation.table('sessions')))"))
    nbformat.write(notebook, copy)
    told: list[str] = []
    return run(order(reports, only=(), tell=told.append)), told


def test_every_notebook_runs_in_a_deep_and_awkward_path(published: tuple[Report, list[str]]) -> None:
    report, _ = published
    assert len(str(report.folder)) > 250
    assert [(entry.name, entry.status) for entry in report.document.notebooks] == [(name, "ok") for name in NOTEBOOKS]
    for name in NOTEBOOKS:
        assert (report.folder / f"{name}.html").is_file()
        assert "incomplete" not in (report.folder / f"{name}.html").read_text()


def test_the_verdict_is_told_first_and_soon(published: tuple[Report, list[str]]) -> None:
    report, told = published
    assert told[0] == f"{report.document.verdict.status.upper()}: {report.document.verdict.summary}"
    assert {words.partition(":")[0] for words in told[1:]} == set(NOTEBOOKS)
    assert report.verdict_seconds <= 15


def test_a_person_s_cell_runs_and_reaches_the_page(published: tuple[Report, list[str]]) -> None:
    report, _ = published
    assert "seen by people" in (report.folder / "triage.html").read_text()
    assert "seen by people" in (report.folder / "report.html").read_text()


def test_the_notebooks_speak_of_the_case_s_own_findings(published: tuple[Report, list[str]]) -> None:
    report, _ = published
    saved = FindingsDocument.model_validate_json((report.folder / folders.FINDINGS).read_text())
    assert saved == report.document
    for _, finding in saved.findings():
        assert finding.fingerprint
    assert saved.case == "case"


def test_the_manifest_names_every_file_with_its_hash(published: tuple[Report, list[str]]) -> None:
    assert_manifest_is_right(published[0].folder)


def assert_manifest_is_right(folder: Path) -> None:
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    people = ("notes.md", "manifest.json", f"{folders.WORKING_COPIES}{os.sep}")
    assert listed == {path: digest for path, digest in hashes(folder).items() if not path.startswith(people)}
    assert len(listed) > 10


def test_an_executed_notebook_tells_nothing_of_this_machine(published: tuple[Report, list[str]]) -> None:
    for name in NOTEBOOKS:
        text = (published[0].folder / "notebooks" / f"{name}.ipynb").read_text()
        assert "/tmp/" not in text
        assert str(Path.home()) not in text


def test_a_report_can_be_opened_by_others_only_as_the_umask_says(published: tuple[Report, list[str]]) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(published[0].folder.stat().st_mode) == 0o777 & ~mask


def test_captures_accumulate_and_own_words_stay(server: Server, database: str, tmp_path: Path) -> None:
    """Also those written while the notebooks run."""
    folder = tmp_path / "case"
    copy = working_copy(folder, "triage", "print('one')")
    target = Target(database, (DatabaseSource("database", server.dsn(database)),))
    first = run(replace(order(tmp_path), target=target))
    (folder / "notes.md").write_text("mine")

    def write_meanwhile(words: str) -> None:
        if words.startswith("triage"):
            (folder / "notes.md").write_text("mine, and more")
            (copy.parent / "own.ipynb").write_text("{}")

    second = run(replace(order(tmp_path, tell=write_meanwhile), target=target))
    captures = folders.captures(folder)
    assert len(captures) == 2
    assert bundle.load(captures[0]).started_at == first.document.started_at
    assert bundle.load(captures[1]).started_at == second.document.started_at
    assert json.loads((captures[0] / folders.FINDINGS).read_text())["case"] == "case"
    assert (folder / "notes.md").read_text() == "mine, and more"
    assert (copy.parent / "own.ipynb").is_file()
    assert copy.is_file()
    assert hidden(tmp_path) == []
    assert_manifest_is_right(folder)


def test_a_bundle_that_is_judged_again_is_kept_once(tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage")
    digests = [run(order(tmp_path)).document.started_at for _ in range(2)]
    assert digests[0] == digests[1]
    [kept] = folders.captures(tmp_path / "case")
    assert bundle.load(kept).digest == bundle.load(BUNDLE).digest
    assert (kept / bundle.MANIFEST).read_bytes() == (BUNDLE / bundle.MANIFEST).read_bytes()


def hostile_home(folder: Path) -> dict[str, str | None]:
    """A home whose own start-up files and kernels would spoil every run."""
    for name in (".ipython/profile_default/startup/00.py", "startup.py"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'ran')!r}, 'w'); print('start-up ran'); raise SystemExit(3)")
    for name in (".local/share/jupyter", "shared"):
        kernel = folder / name / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        kernel.write_text(json.dumps({"argv": ["false"], "display_name": "Mine", "language": "python"}))
    configuration = folder / ".jupyter" / "jupyter_config.py"
    configuration.parent.mkdir()
    configuration.write_text("raise SystemExit(4)")
    long = folder / ("t" * 100) / ("u" * 100)
    long.mkdir(parents=True)
    return {
        "HOME": str(folder),
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "JUPYTER_PATH": str(folder / "shared"),
        "TMPDIR": str(long),
        "IPYTHONDIR": None,
    }


@pytest.mark.parametrize("home", ["hostile", "missing", "read-only"])
def test_the_user_s_home_does_not_matter(tmp_path: Path, home: str) -> None:
    # What `kit.open_case` needs; importing the kit itself takes longer than all the rest.
    working_copy(tmp_path / "reports" / "case", "triage", "import os\nassert os.path.isdir(os.environ['KIT_CASE_FOLDER'])")
    changes: dict[str, str | None] = {
        "hostile": lambda: hostile_home(tmp_path / "home"),
        "missing": lambda: {"HOME": None},
        "read-only": lambda: {"HOME": "/proc"},
    }[home]()
    # A relative folder, as a person would write it.
    words = ["run", "case", "--target", BUNDLE, "--only", "triage", "--reports", "reports"]
    ended = kit(*words, cwd=tmp_path, **changes)
    assert ended.returncode == 1, ended.stderr
    assert "triage: ok" in ended.stderr
    assert not (tmp_path / "home" / "ran").exists()
    assert hidden(tmp_path / "reports") == []


def test_two_cases_at_the_same_time(tmp_path: Path) -> None:
    runs = []
    for case in ("one", "two"):
        working_copy(tmp_path / case, "triage", "print(case)")
        command = [str(KIT), "run", case, "--target", str(BUNDLE), "--only", "triage", "--reports", str(tmp_path)]
        runs.append(subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ended = [process.communicate(timeout=240) for process in runs]
    assert [process.returncode for process in runs] == [1, 1], ended
    for case in ("one", "two"):
        executed = nbformat.read(tmp_path / case / "notebooks" / "triage.ipynb", as_version=4)
        assert executed.cells[-1].outputs[0].text == f"{case}\n"
        assert json.loads((tmp_path / case / folders.FINDINGS).read_text())["notebooks"][0]["status"] == "ok"


def test_a_second_run_of_the_same_case_is_refused_and_the_first_ends_well(tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage")
    refused: list[RunError] = []

    def run_again(words: str) -> None:
        if words.startswith("triage"):
            with pytest.raises(RunError) as error:
                run(order(tmp_path))
            refused.append(error.value)

    report = run(order(tmp_path, tell=run_again))
    assert "Another run of the case 'case' is under way." in refused[0].message
    assert report.document.notebooks[0].status == "ok"
    assert hidden(tmp_path) == []
    assert len(folders.captures(report.folder)) == 1


def test_a_lock_that_its_holder_removed_is_not_held(tmp_path: Path) -> None:
    """The file goes while another waits to open it: the one that is locked must be the one that has the name."""
    for _ in range(3):
        with staging.only_run(tmp_path / "case"):
            descriptor = os.open(tmp_path / ".case.lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_the_report_put_back(tmp_path: Path) -> None:
    died_between = tmp_path / ".case-abcdef12"
    (died_between / ".before").mkdir(parents=True)
    (died_between / ".before" / "notes.md").write_text("the only copy")
    (tmp_path / ".case-old_0000" / "case").mkdir(parents=True)
    (tmp_path / ".case-b-abcdef12").mkdir()
    with staging.only_run(tmp_path / "case"):
        assert (tmp_path / "case" / "notes.md").read_text() == "the only copy"
    assert hidden(tmp_path) == [".case-b-abcdef12"]  # another case's


SWAPPING = """
import sys, tempfile, pathlib
from kit.report.staging import staged
case = pathlib.Path(sys.argv[1])
while True:
    try:
        print("ready", flush=True)
        while True:
            with staged(case) as aside:
                (aside / "whole").write_text("x")
    except KeyboardInterrupt:
        pass
"""


def test_an_interrupted_swap_never_loses_the_report(tmp_path: Path) -> None:
    """Ctrl-C at a hundred random moments of a process that does nothing but swap."""
    case = tmp_path / "case"
    (case / "captures" / "one").mkdir(parents=True)
    (case / "notes.md").write_text("mine")
    command = [sys.executable, "-c", SWAPPING, str(case)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        chance = random.Random(7)
        for _ in range(100):
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.random() / 200)  # not for luck: the moments are meant to differ
            process.send_signal(signal.SIGINT)
        process.kill()
    with staging.only_run(case):
        pass
    assert (case / "notes.md").read_text() == "mine"
    assert (case / "captures" / "one").is_dir()


def test_the_demo_s_verdict_comes_within_fifteen_seconds(staged: Staged, tmp_path: Path) -> None:
    """On the real staged server, with the real notebooks' own capture: only triage, of a single cell, runs."""
    working_copy(tmp_path / "demo", "triage")
    shop = staged.shop
    target = Target(shop.database, (DatabaseSource("database", shop.kit_dsn),), cloud=staged.exports)
    asked = order(tmp_path, "demo", secrets=tuple(shop.secrets))
    report = run(replace(asked, target=target, question=replace(asked.question, symptom=shop.symptom)))
    assert report.document.verdict.layer == "privileges"
    assert report.verdict_seconds <= 15
    assert staged_secrets_are_absent(report.folder, shop.secrets)


def staged_secrets_are_absent(folder: Path, secrets: tuple[str, ...]) -> bool:
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    return not any(secret.encode() in content for secret in secrets for content in contents)
