"""`kit dsn` as people and programs use it: in a process of its own, with real pipes, files and environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from kit.case import examining
from kit.errors import ParameterError

SECRET = "S3cret@Tok9"
GOOD = "postgresql://app:S3cretTok9@db.internal:5432/shop"
SQLITE = b"sqlite:///./settlement.db"


def _kit(*arguments: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "kit.cli", "dsn", *arguments]
    return subprocess.run(command, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, timeout=60)


def _assert_silent(answer: subprocess.CompletedProcess[bytes]) -> None:
    for piece in (b"S3c", b"Tok9", b"Traceback"):
        assert piece not in answer.stdout + answer.stderr


def test_from_the_environment_for_people():
    answer = _kit("--env", "DATABASE_URL", env={"DATABASE_URL": f"postgresql://app:{SECRET}@db.internal/shop"})
    words = answer.stdout.decode()
    assert answer.returncode == 1
    assert "postgresql://app:***@db.internal/shop" in words
    assert "CRITICAL unescaped_passwords (configuration)" in words
    assert "Corrected for libpq:" in words
    _assert_silent(answer)


def test_from_a_pipe_for_programs():
    answer = _kit("--stdin", "--json", stdin=GOOD.encode() + b"\r\n")
    document = json.loads(answer.stdout)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert list(document) == ["masked", "corrected", "fingerprint", "findings"]
    [found] = document["findings"]
    assert list(found) == ["check", "layer", "severity", "message", "remedy"]
    assert (found["check"], found["severity"]) == ("final_line_ends", "info")
    _assert_silent(answer)


def test_the_line_end_that_is_in_the_environment_is_critical():
    answer = _kit("--env", "DATABASE_URL", "--json", env={"DATABASE_URL": GOOD + "\r"})
    document = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert document["masked"] == "postgresql://app:***@db.internal:5432/shop[CR]"


def test_a_file_by_its_name(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_bytes(GOOD.encode())
    answer = _kit(str(file), "--consumer", "psql", "--in-container")
    assert answer.returncode == 0
    assert b"Nothing was found." in answer.stdout
    _assert_silent(answer)


@pytest.mark.parametrize(
    ("content", "checks"),
    [
        (GOOD.encode(), []),
        (GOOD.encode() + b"\n", ["final_line_ends"]),
        (f"PORT=8080\nDATABASE_URL={GOOD}\nDEBUG=1\n".encode(), ["assignment_prefixes", "final_line_ends"]),
        (("\ufeff" + GOOD).encode("utf-16-le"), ["invisible_characters"]),
        (b"\xef\xbb\xbf" + GOOD.encode(), ["invisible_characters"]),
        (GOOD.encode() + b"\xff", ["invisible_characters"]),
        (SQLITE, ["sqlite_databases"]),
        (b"", ["empty_strings"]),
        (b"PORT=8080\nSECRET=S3cretTok9\n", ["final_line_ends", "invisible_characters", "unreadable_strings"]),
    ],
)
def test_what_files_hold(tmp_path: Path, content: bytes, checks: list[str]):
    file = tmp_path / "value"
    file.write_bytes(content)
    found = examining.examined(env=None, stdin=False, file=file)
    assert sorted(f["check"] for f in found.record["findings"]) == checks
    assert "Tok9" not in found.words


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--stdin", "--env", "HOME"),
        ("--env", "NO_SUCH_NAME"),
        ("--env", f"postgresql://app:{SECRET}@h/d"),
        (f"postgresql://app:{SECRET}@h/d",),
        (f"{'x' * 300}S3cretTok9",),
        ("/",),
        ("--stdin", "--consumer", "mongo"),
        ("--stdin", "--instance", "S3cretTok9"),
    ],
)
@pytest.mark.parametrize("debug", [{}, {"KIT_DEBUG": "1"}])
def test_usage_errors_are_a_sentence_without_the_string(arguments: tuple[str, ...], debug: dict[str, str]):
    answer = _kit(*arguments, env=debug)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert answer.stderr.startswith(b"Error: ")
    _assert_silent(answer)


def test_an_error_keeps_no_other_that_holds_the_string():
    with pytest.raises(ParameterError) as caught:
        examining.examined(env=None, stdin=False, file=Path(f"postgresql://app:{SECRET}@h/d"))
    assert caught.value.__context__ is None
    assert "Tok9" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_string_is_not_read_in_whole(tmp_path: Path):
    file = tmp_path / "dump"
    file.write_bytes(b"x" * (examining.LONGEST_BYTES + 1))
    with pytest.raises(ParameterError, match="longer than 64 KiB"):
        examining.examined(env=None, stdin=False, file=file)


def test_two_files_that_assign_leave_the_choice_to_people(tmp_path: Path):
    file = tmp_path / ".env"
    file.write_text(f"A={GOOD}\nB={GOOD}\n")
    with pytest.raises(ParameterError, match="several"):
        examining.examined(env=None, stdin=False, file=file)
