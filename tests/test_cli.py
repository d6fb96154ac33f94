"""The command line's contract: words, streams, exit status; and JupyterLab really starting."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jsonschema
import nbformat
import pandas as pd
import pytest
import typer.main
from typer.testing import CliRunner

from kit.analyze.document import FindingsDocument, json_schema
from kit.case import folders
from kit.case.showing import print_table, records
from kit.case.tables import CLOUD
from kit.cli import app
from kit.evidence import bundle
from kit.report.runner import NOTEBOOKS, Report, run
from kit.sandbox.server import Server
from tests.run_support import BUNDLE, KIT, MARK, environment, hidden, marked, order, until, working_copy
from tests.run_support import kit as kit_command

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
SCHEMA = Path(folders.__file__).parent.parent / "schema" / "findings.schema.json"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A published case of one small notebook."""
    reports = tmp_path_factory.mktemp("reports")
    working_copy(reports / "shown", "triage", "1 + 1")
    return run(order(reports, "shown"))


# Words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: kit {command}" in " ".join(result.stdout.split())


def test_help_is_quick_and_light() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([str(KIT), "--help"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    code = "import sys, kit, kit.cli; print(sorted({'pandas', 'sqlalchemy', 'psycopg', 'pyarrow', 'plotly'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"
    assert min(seconds() for _ in range(5)) < 1.5  # 0.2 s on an idle machine


def test_a_mistaken_word_is_two(tmp_path: Path) -> None:
    for words in (["runn"], ["run"], ["run", "case"], ["show"], ["run", "case", "--target"], ["show", "--target", str(BUNDLE)]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2, words
        assert result.stdout == ""
        assert "Traceback" not in result.stderr


def test_an_inner_fault_is_two_and_shows_no_words_of_the_data(tmp_path: Path) -> None:
    """One means that something was found: a fault of the kit must never say so."""
    (tmp_path / "lab" / folders.CAPTURES / "one").mkdir(parents=True)
    (tmp_path / "lab" / folders.WORKING_COPIES).write_text("a file where a folder belongs")
    ended = kit_command("lab", "lab", "--prepare-only", "--reports", tmp_path, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: File exists")
    assert "Traceback" not in ended.stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    command = f"{KIT} show {BUNDLE} relations --json | head -c 10"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=environment())
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


# Documents


def test_run_prints_one_document_and_tells_the_rest_elsewhere(tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage", "1 + 1")
    words = ["run", "case", "--target", BUNDLE, "--reports", tmp_path, "--only", "triage", "--json"]
    ended = kit_command(*words, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    document = FindingsDocument.model_validate_json(ended.stdout)
    assert ended.stdout == (tmp_path / "case" / folders.FINDINGS).read_text()
    assert ended.stderr.splitlines()[0] == f"BROKEN: {document.verdict.summary}"
    assert not any(line.startswith("{") for line in ended.stderr.splitlines())


@pytest.mark.parametrize(("fail_on", "expected"), [("critical", {1}), ("warning", {1}), ("info", {1})])
def test_the_exit_status_follows_the_severity(case: Report, fail_on: str, expected: set[int]) -> None:
    from kit.report.running import exit_status

    assert exit_status(case.document, fail_on) in expected
    only_info = [r for r in case.document.results if all(f.severity == "info" for f in r.findings)]
    quiet = case.document.model_copy(update={"results": only_info})
    found = any(result.findings for result in only_info)
    # What could not be made is unused_indexes alone, which finds nothing above info.
    assert exit_status(quiet, "critical") == 0
    assert exit_status(quiet, "info") == (1 if found else 3)


def test_the_schema_in_the_package_is_the_model_s() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()


def test_what_is_published_fits_the_schema(case: Report) -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    document = json.loads((case.folder / folders.FINDINGS).read_text())
    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors({**document, "verdict": {"status": "fine"}})) != []


@pytest.mark.parametrize("command", [["checks"], ["doctor"], ["show", "recorded", "relations"], ["show", str(BUNDLE), "changes"]])
def test_json_is_one_document_of_records(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, list)
    assert all(isinstance(record, dict) for record in answer)
    assert "NaN" not in result.stdout


def test_checks_and_doctor_for_people() -> None:
    checks = CliRunner().invoke(app, ["checks"])
    assert checks.exit_code == 0
    assert "schemas_without_usage" in checks.stdout.replace("\n", "") or "schemas_without" in checks.stdout
    doctor = CliRunner().invoke(app, ["doctor"])
    assert doctor.exit_code == 0, doctor.stdout
    assert "tier report" in doctor.stdout


def test_doctor_takes_a_folder_s_name_for_a_name(tmp_path: Path) -> None:
    (tmp_path / "[bold]x[").mkdir()
    ended = kit_command("doctor", cwd=tmp_path, KIT_REPORTS=str(tmp_path / "[bold]x["), COLUMNS="400")
    assert ended.returncode == 0, ended.stderr
    assert "[bold]x[" in ended.stdout


# Tables


def test_a_table_of_a_case_of_a_bundle_and_of_a_target(case: Report, server: Server, database: str) -> None:
    of_case = CliRunner().invoke(app, ["show", "shown", "relations", "--reports", str(case.folder.parent), "--json"])
    of_bundle = CliRunner().invoke(app, ["show", str(BUNDLE), "relations", "--json"])
    of_target = CliRunner().invoke(app, ["show", "--target", server.dsn(database), "settings", "--json"])
    assert of_case.exit_code == of_bundle.exit_code == of_target.exit_code == 0, of_target.stderr
    assert json.loads(of_case.stdout) == json.loads(of_bundle.stdout) != []
    assert json.loads(of_target.stdout) != []


def test_a_table_of_a_target_asks_only_what_it_needs(server: Server, database: str) -> None:
    server.execute("create extension if not exists pg_stat_statements", database)
    server.execute("select pg_stat_statements_reset()", database)
    began = time.perf_counter()
    result = CliRunner().invoke(app, ["show", "--target", server.dsn(database), "locks", "--json"])
    seconds = time.perf_counter() - began
    assert result.exit_code == 0, result.stderr
    asked = server.execute("select count(*), sum(calls) from pg_stat_statements where query like '%incident-kit%'", database)
    assert 0 < asked[0][0] <= 12, asked
    assert seconds < 4  # 0.3 s on an idle machine, in a process that has the imports


def show_live(target: str, name: str) -> Any:
    result = CliRunner().invoke(app, ["show", "--target", target, name, "--json"])
    assert result.exit_code == 0, (name, result.stderr, result.exception)
    return json.loads(result.stdout)


def test_a_table_of_a_target_that_no_fact_query_answers(server: Server, database: str) -> None:
    server.execute("create table goose_db_version (id int, version_id bigint, is_applied boolean, tstamp timestamp)", database)
    server.execute("insert into goose_db_version values (1, 7, true, now())", database)
    assert [row["is_connected"] for row in show_live(server.dsn(database), "connection")] == [True]
    assert show_live("host=127.0.0.1 port=1", "connection")[0]["is_connected"] is False
    assert [row["relation_name"] for row in show_live(server.dsn(database), "migrations")] == ["goose_db_version"]


@pytest.mark.parametrize("name", CLOUD)
def test_a_table_of_cloud_exports_asks_only_for_exports(
    name: str, server: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = CliRunner().invoke(app, ["show", "--target", server.dsn(database), name])
    assert refused.exit_code == 2
    assert f"{name} comes from cloud exports" in refused.stderr
    exports = Path(__file__).parent / "data" / "cloud" / "healthy"
    (tmp_path / "kit.toml").write_text(f"[targets.shop]\ndsn = 'host=127.0.0.1 port=1'\ncloud = '{exports}'\n")
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    assert isinstance(show_live("shop", name), list)


def test_a_layer_that_does_not_exist_is_refused_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit.toml").write_text("[targets.shop]\ndsn = 'host=127.0.0.1 port=1'\nout_of_scope = ['servcie']\n")
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    result = CliRunner().invoke(app, ["run", "case", "--target", "shop", "--reports", str(tmp_path / "reports")])
    assert result.exit_code == 2
    assert "names no layer 'servcie'" in result.stderr
    assert "Known: configuration, reachability" in " ".join(result.stderr.split())
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(("name", "hint"), [("bloot", "Did you mean bloat?"), ("zzz", "Known: ")])
def test_a_table_that_does_not_exist_has_a_near_name(name: str, hint: str) -> None:
    result = CliRunner().invoke(app, ["show", str(BUNDLE), name])
    assert result.exit_code == 2
    assert f"There is no table '{name}'." in result.stderr
    assert hint in result.stderr


def test_a_case_that_does_not_exist(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", "nothing", "bloat", "--reports", str(tmp_path)])
    assert result.exit_code == 2
    assert "'nothing' is neither a case nor a bundle." in result.stderr


def test_rows_are_cut_for_people_and_whole_for_programs() -> None:
    few = CliRunner().invoke(app, ["show", str(BUNDLE), "settings", "--limit", "3"])
    every = json.loads(CliRunner().invoke(app, ["show", str(BUNDLE), "settings", "--json", "--limit", "3"]).stdout)
    assert len(every) > 50
    assert f"… and {len(every) - 3} more rows" in few.stdout


def test_a_value_is_neither_markup_nor_emoji_nor_a_terminal_s_command(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["[bold]x[/bold]", ":warning:", "\x1b]0;title\x07", "a\\", "[/]", "a\u202eb"]
    print_table(pd.DataFrame({"text": texts}), 0)
    printed = capsys.readouterr().out
    assert "[bold]x[/bold]" in printed
    assert ":warning:" in printed
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "a\\" in printed


def test_records_are_plain() -> None:
    frame = pd.DataFrame({"at": [pd.Timestamp("2026-01-01", tz="UTC"), pd.NaT], "x": [float("nan"), 1.5], "l": [["a"], None]})
    assert records(frame) == [{"at": "2026-01-01T00:00:00+00:00", "x": None, "l": ["a"]}, {"at": None, "x": 1.5, "l": None}]


# Captures


def test_a_capture_of_a_server_and_of_nothing(server: Server, database: str, tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["capture", "--target", server.dsn(database), "--out", str(tmp_path / "good"), "--json"])
    answer = json.loads(good.stdout)
    assert good.exit_code == (3 if answer["gaps"] else 0)
    assert (tmp_path / "good" / "manifest.json").is_file()
    assert (tmp_path / "good").stat().st_mode & 0o777 == 0o700
    nothing = "postgresql://nobody@127.0.0.1:1/x"
    gaps = CliRunner().invoke(app, ["capture", "--target", nothing, "--out", str(tmp_path / "gaps"), "--json"])
    assert gaps.exit_code == 3
    assert json.loads(gaps.stdout)["gaps"] != []
    again = CliRunner().invoke(app, ["capture", "--target", nothing, "--out", str(tmp_path / "gaps")])
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert hidden(tmp_path) == []


def test_a_capture_without_gaps_is_nought(tmp_path: Path) -> None:
    taken = bundle.load(BUNDLE)
    whole = replace(taken, sources=tuple(replace(source, gaps={}) for source in taken.sources), digest="")
    bundle.save(whole, tmp_path / "whole")
    result = CliRunner().invoke(app, ["capture", "--target", str(tmp_path / "whole"), "--out", str(tmp_path / "copy"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["gaps"] == []


# JupyterLab


def test_working_copies_name_their_case_and_keep_people_s_cells(case: Report) -> None:
    reports = case.folder.parent
    triage = (case.folder / folders.WORKING_COPIES / "triage.ipynb").read_bytes()
    result = CliRunner().invoke(app, ["lab", "shown", "--prepare-only", "--reports", str(reports)])
    assert result.exit_code == 0, result.stderr
    copies = case.folder / folders.WORKING_COPIES
    assert {path.stem for path in copies.glob("*.ipynb")} == set(NOTEBOOKS)
    assert (copies / "triage.ipynb").read_bytes() == triage
    for name in set(NOTEBOOKS) - {"triage"}:
        notebook = nbformat.read(copies / f"{name}.ipynb", as_version=4)
        tagged = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        assert tagged.source.startswith('case: str = "shown"  # the case')
        assert not any(cell.get("outputs") for cell in notebook.cells)


def test_a_lab_without_a_case(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["lab", "nothing", "--reports", str(tmp_path)])
    assert result.exit_code == 2
    assert "There is no case 'nothing'" in result.stderr
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def laboratory(case: Report, home: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """JupyterLab as `kit lab` starts it: the process, its address with the token, and the mark of its processes."""
    mark, log = uuid4().hex, home / "log"
    jupyter = home / ".jupyter"
    jupyter.mkdir()
    (jupyter / "jupyter_server_config.py").write_text("c.ServerApp.open_browser = False\nc.ServerApp.port = 0\n")
    changes = {MARK: mark, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(jupyter)}
    command = [str(KIT), "lab", "shown", "--reports", str(case.folder.parent)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=environment(**changes), stdout=file, stderr=file, text=True, start_new_session=True
        )
    try:
        found = until(lambda: re.search(r"http://(?:127\.0\.0\.1|localhost):\d+/\S*\?token=\w+", log.read_text()), seconds=90)
        yield process, found[0], mark
    finally:
        for left in marked(mark):
            left.kill()
        process.wait()


def test_the_laboratory_starts_asks_nobody_for_news_and_ends(case: Report, tmp_path: Path) -> None:
    with laboratory(case, tmp_path) as (process, address, mark):
        parts = urlsplit(address)
        base, token = f"{parts.scheme}://{parts.netloc}", parse_qs(parts.query)["token"][0]
        request = urllib.request.Request(f"{base}/lab", headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = answer.read().decode()
        settings = json.loads(re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
        assert settings["news"] == {"disabled": True}
        for path, expected in (("lab/api/news", b'{"news": []}'), ("lab/api/update", b'{"notification": null}')):
            asked = urllib.request.Request(f"{base}/{path}", headers={"Authorization": f"token {token}"})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert answer.read() == expected, path
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) == 130
        until(lambda: marked(mark) == [], seconds=5)
