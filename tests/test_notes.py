"""Notes: kept through runs and swaps, on the time line, never a secret, never anything but text."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.case.judging import Question, judged
from kit.case.notes import LONGEST, NOTES, add_note, dated_notes, with_notes
from kit.case.opened import open_case
from kit.cli import app
from kit.errors import KitError, ParameterError, UsageError
from kit.evidence import bundle
from kit.report.runner import run
from kit.report.staging import staged, write_manifest
from kit.target import DatabaseSource, Target
from tests.run_support import BUNDLE, hidden, order, working_copy

NOW = datetime(2026, 11, 20, 3, 4, 5, 999_999, tzinfo=UTC)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A case folder as a run leaves it, without the run."""
    folder = tmp_path / "case"
    with staged(folder) as aside:
        write_manifest(aside)
    return folder


def note(folder: Path, text: str) -> str:
    return add_note(folder.name, text, folder.parent, NOW)


def lines(folder: Path) -> list[str]:
    return (folder / NOTES).read_text().splitlines()


def test_a_note_is_a_line_with_its_time(case: Path) -> None:
    before = lines(case)
    assert note(case, "Rolled back to 00012.") == "- 2026-11-20T03:04:05Z Rolled back to 00012."
    note(case, "Größe geprüft ✓")
    assert lines(case) == [*before, "- 2026-11-20T03:04:05Z Rolled back to 00012.", "- 2026-11-20T03:04:05Z Größe geprüft ✓"]
    assert hidden(case.parent) == []


def test_what_people_wrote_is_never_altered(case: Path) -> None:
    own = "# Mine\n\nno line end, and \xff odd bytes".encode("latin-1")
    (case / NOTES).write_bytes(own)
    note(case, "seen")
    assert (case / NOTES).read_bytes() == own + b"\n- 2026-11-20T03:04:05Z seen\n"
    (case / NOTES).unlink()
    note(case, "again")
    assert (case / NOTES).read_bytes() == b"- 2026-11-20T03:04:05Z again\n"


HOSTILE = {
    "a\n- 2020-01-01T00:00:00Z forged": "a - 2020-01-01T00:00:00Z forged",
    "a\r\nb\u2028c": "a b c",
    "bell\x07 and \x1b[31m": "bell[U+0007] and [ESC][31m",
    "turned \u202e around": "turned [U+202E] around",
    "<script>alert(1)</script> ![x](http://e)": "<script>alert(1)</script> ![x](http://e)",
    "half \ud800 a pair": "half ? a pair",
}


@pytest.mark.parametrize(("text", "kept"), HOSTILE.items())
def test_hostile_text_stays_one_line_of_text(case: Path, text: str, kept: str) -> None:
    before = lines(case)
    note(case, text)
    assert lines(case) == [*before, f"- 2026-11-20T03:04:05Z {kept}"]
    [entry] = dated_notes(case)
    assert (entry.at, entry.kind, entry.summary) == (NOW.replace(microsecond=0), "note", kept)


SECRETS = [
    "new dsn postgresql://app:hunter2@db/shop",
    "postgres+asyncpg://app:hunter2@db/shop",
    "PGPASSWORD=hunter2 psql",
    "host=db user=app password=hunter2",
    "password='hun ter2'",
    "Password: hunter2",
    "redis://:hunter2secret@cache:6379",
    '{"password": "hunter2"}',
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "-----BEGIN PRIVATE KEY-----",
    "x" * 600 + " password=hunter2",
    "post\u200bgresql://app:hunter2@db/shop",
    "called it with Bearer hunter2hunter2",
    "ya29.hunter2 is the token",
    "api_key=hunter2hunter2",
    "the password is hunter2",
    "AKIAhunter2EXAMPLE",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_refused_in_one_sentence_that_does_not_repeat_it(case: Path, text: str) -> None:
    before = (case / NOTES).read_bytes()
    ended = CliRunner().invoke(app, ["note", "case", "--reports", str(case.parent), "--", text])
    assert ended.exit_code == 2, text
    assert "hunter2" not in ended.output
    assert ended.stderr.startswith("Error: The note looks as if it held a password or another secret; nothing was written.")
    assert (case / NOTES).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:***@db/shop is what the service has",
        "the password was rotated at 03:00, by whom is not known",
        "password=<masked> in both services, PGPASSWORD=*** in the job, postgresql://app:<masked>@db here",
        "see https://example.com/a:b@c",
        "basic connectivity works, the token: expired, the password was 3 days old",
        "asked postgresql://app@db/shop",
        "grant usage on schema auth to shop_api; 100% of the logins work again",
    ],
)
def test_what_is_no_secret_is_kept(case: Path, text: str) -> None:
    assert note(case, text).endswith(text)


def test_a_bare_password_of_the_case_s_target_is_refused(case: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The gate would refuse the next report for it, and nobody would know why."""
    document = judged(bundle.load(BUNDLE), Question("case"))
    (case / folders.FINDINGS).write_text(document.model_copy(update={"targets": ["shop"]}).to_json())
    (tmp_path / "kit.toml").write_text('[targets.shop]\ndsn_env = "SHOP_DSN"\n')
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    monkeypatch.setenv("SHOP_DSN", "postgresql://app:Xq7secretWord@db/shop")
    with pytest.raises(ParameterError):
        note(case, "it was Xq7secretWord all along")
    monkeypatch.delenv("SHOP_DSN")
    note(case, "a target that cannot be resolved keeps no note away")


def run_once(reports: Path) -> FindingsDocument:
    working_copy(reports / "case", "triage", "1 + 1")
    return run(order(reports)).document


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (LONGEST + 1)])
def test_nothing_and_too_much_are_refused(case: Path, text: str) -> None:
    with pytest.raises(ParameterError):
        note(case, text)


def test_a_case_that_is_not_there_is_not_made(case: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean case"):
        add_note("cases", "text", case.parent)
    with pytest.raises(UsageError, match="Make it: kit run"):
        add_note("zzz", "text", case.parent / "none")
    with pytest.raises(KitError):
        add_note("../case", "text", case.parent)
    assert sorted(path.name for path in case.parent.iterdir()) == ["case"]


def test_people_s_own_dated_lines_count_and_prose_does_not(case: Path) -> None:
    (case / NOTES).write_text(
        "# Notes\n- 2026-11-20 03:00 called the owner\n* 2026-11-20T04:00:00+01:00 same moment\n- not dated\n"
        "- 2026-13-45T00:00:00Z no such day\n2026-11-20 no list\n- 2026-11-20T03:00:00Z\n- 2026-11-20 03:01:02 UTC  in words\n"
    )
    assert [(entry.at.isoformat(), entry.summary) for entry in dated_notes(case)] == [
        ("2026-11-20T03:00:00+00:00", "called the owner"),
        ("2026-11-20T03:00:00+00:00", "same moment"),
        ("2026-11-20T03:01:02+00:00", "in words"),
    ]


def test_none_of_many_notes_is_lost_while_the_folder_is_swapped(case: Path) -> None:
    """Two write as fast as they can while the folder is replaced again and again; every note stands there once, whole."""
    written: list[list[str]] = [[], []]
    failures: list[BaseException] = []
    ended = threading.Event()

    def write(number: int) -> None:
        try:
            while not ended.is_set():
                text = f"note {number}-{len(written[number])}"
                add_note("case", text, case.parent)
                written[number].append(text)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for writer in writers:
        writer.start()
    for _ in range(60):
        with staged(case) as aside:
            write_manifest(aside)
    ended.set()
    for writer in writers:
        writer.join()
    assert failures == []
    kept = [entry.summary for entry in dated_notes(case)]
    assert sorted(kept) == sorted(written[0] + written[1])
    assert len(kept) > 20


def test_a_note_joins_the_time_line_when_the_case_is_shown_and_when_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(tmp_path)
    monkeypatch.setenv("KIT_REPORTS", str(tmp_path))
    told: list[str] = []

    def note_meanwhile(words: str) -> None:
        if words.startswith("triage"):
            told.append(add_note("case", "written <b>meanwhile</b>"))

    add_note("case", "first")
    shown = open_case("case").document.changes
    assert [change.summary for change in shown if change.kind == "note"] == ["first"]
    listed = CliRunner().invoke(app, ["show", "case", "changes", "--json"])
    assert [row["summary"] for row in json.loads(listed.stdout) if row["kind"] == "note"] == ["first"]
    question = Question("case", since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime(2020, 1, 2, tzinfo=UTC))
    document = run(order(tmp_path, question=question, tell=note_meanwhile)).document
    assert [(c.kind, c.summary) for c in document.changes] == [("note", "first")], "notes are told whatever the window"
    assert told
    document = run(order(tmp_path)).document
    assert [c.summary for c in document.changes if c.kind == "note"] == ["first", "written <b>meanwhile</b>"]
    page = (tmp_path / "case" / "index.html").read_text()
    assert "&lt;b&gt;meanwhile" in page
    assert "<b>meanwhile" not in page
    assert [change.at for change in document.changes] == sorted(change.at for change in document.changes)


def test_a_bundle_beside_a_strange_file_of_notes_takes_none_of_it(tmp_path: Path) -> None:
    (tmp_path / NOTES).write_text("- 2026-11-20T03:00:00Z of another thing\n")
    document = judged(bundle.load(BUNDLE), Question("case"))
    assert with_notes(document, tmp_path / "none") == document
    added = with_notes(document, tmp_path)
    assert with_notes(added, tmp_path) == added, "adding them twice adds them once"
    assert with_notes(added, tmp_path / "none").changes == document.changes


def test_a_case_that_was_never_reached_takes_notes_as_well(tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage", "1 + 1")
    dead = Target("dead", (DatabaseSource("database", "host=127.0.0.1 port=1 user=kit dbname=x"),))
    run(replace(order(tmp_path), target=dead))
    line = add_note("case", "the host is gone", tmp_path)
    at = datetime.fromisoformat(line[2:].split()[0])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    assert [entry.summary for entry in dated_notes(tmp_path / "case")] == ["the host is gone"]
