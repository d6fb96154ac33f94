"""`kit cloud collect` with a stand-in for gcloud: a real program on the PATH that answers from a folder."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.collect.cloud import collecting as cloud_collecting
from kit.collect.cloud.commands import READING, Asked, Command, run
from kit.collect.cloud.exports import collect_cloud
from kit.collect.cloud.failures import failure_code
from kit.evidence.model import Capture, Cost

DATA = Path(__file__).parent / "data" / "cloud" / "healthy"
AT = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)
CANARY = "env-value-canary"
# It notes what it was asked, and answers with what the folder holds for those words.
# (A path with a blank cannot stand after #!, so the shell hands the file on to Python.)
GCLOUD = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import json, pathlib, sys
words = [word for word in sys.argv[1:] if not word.startswith("-")]
root = pathlib.Path({root!r})
with (root / "asked.txt").open("a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
for answer in sorted((root / "answers").iterdir(), reverse=True):
    if " ".join(words).startswith(answer.name):
        text = answer.read_text()
        if text.startswith("ERROR"):
            sys.stderr.write(text)
            sys.exit(1)
        if text == "sleep":
            import time; time.sleep(600)
        sys.stdout.write(text)
        sys.exit(0)
sys.stderr.write("ERROR: (gcloud) INVALID_ARGUMENT: not staged " + " ".join(words))
sys.exit(1)
"""
ANSWERS = {
    "run services list": "service",
    "run services describe session-api": "service",
    "run revisions list": "revisions",
    "projects get-iam-policy": "iam-policy",
    "sql instances describe orders-db": "instance",
    "sql users list": "users",
    "secrets versions list jwt-key": "secret-versions-jwt-key",
    "secrets get-iam-policy jwt-key": "secret-iam-policy-jwt-key",
    "logging read log_id": "audit",
    "logging read resource": "log-errors",
}
DENIED = "ERROR: (gcloud.projects.get-ancestors-iam-policy) PERMISSION_DENIED: Permission denied on resource\n"


@pytest.fixture
def gcloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what stages a gcloud that answers with the healthy set, but for the answers given by their words."""

    def staged(**others: str) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "answers").mkdir(exist_ok=True)
        program = tmp_path / "bin" / "gcloud"
        program.write_text(GCLOUD.format(python=sys.executable, root=str(tmp_path)))
        program.chmod(0o755)
        for words, file in ANSWERS.items():
            text = (DATA / f"{file}.json").read_text(encoding="utf-8")
            # `list` answers with a list.
            (tmp_path / "answers" / words).write_text(f"[{text}]" if words == "run services list" else text)
        (tmp_path / "answers" / "projects get-ancestors-iam-policy").write_text(DENIED)
        for words, text in others.items():
            (tmp_path / "answers" / words.replace("_", " ")).write_text(text)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return tmp_path

    return staged


def kit(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "kit.cli", "cloud", "collect", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=path, timeout=120, check=False)


def collect(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return kit("--project", "orders-prod", "--service", "session-api", "--out", str(root / "out"), *words)


def asked(root: Path) -> list[list[str]]:
    return [json.loads(line) for line in (root / "asked.txt").read_text().splitlines()]


def test_every_answer_is_kept_masked_and_every_command_was_printed_and_reads_only(gcloud: Any) -> None:
    root = gcloud()
    done = collect(root)
    assert done.returncode == 3, done.stderr  # the ancestors' policies could not be looked at
    names = {path.name for path in (root / "out").iterdir()}
    assert names == {
        *("service-session-api.json", "revisions-session-api.json", "iam-policy.json", "commands.json", "audit-log.json"),
        *("log-errors.json", "instance-orders-db.json", "users-orders-db.json"),
        *("secret-versions-jwt-key.json", "secret-iam-policy-jwt-key.json"),
    }
    content = "".join(path.read_text() for path in (root / "out").iterdir())
    assert CANARY not in content + done.stdout + done.stderr
    assert CANARY in (DATA / "service.json").read_text()
    lines = [line for line in done.stderr.splitlines() if line.startswith("gcloud ")]
    assert len(lines) == len(asked(root)) == 10
    assert all(any(tuple(words[: len(known)]) == known for known in READING) for words in asked(root))
    assert all("--quiet" in words and "--format=json" in words for words in asked(root))


def test_the_folder_is_the_owner_s_alone(gcloud: Any) -> None:
    root = gcloud()
    collect(root)
    assert stat.S_IMODE((root / "out").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root / "out").iterdir()} == {0o600}


def test_what_was_collected_is_judged_like_the_plain_files(gcloud: Any) -> None:
    root = gcloud()
    collect(root)
    source = collect_cloud(root / "out", AT)
    assert source.gaps == {}
    results = [r for r in checks.judge(Capture("t", AT, AT, "0", (source,), Cost())) if r.source == "cloud"]
    assert [(r.check, r.findings, r.not_examined) for r in results if r.findings or r.not_examined] == []


def test_a_secret_that_is_not_there_is_a_finding_and_one_that_may_not_be_seen_is_not_examined(gcloud: Any) -> None:
    words = "ERROR: (gcloud.secrets.versions.list) {code}: Secret [projects/1/secrets/jwt-key] {words}.\n"
    told = {}
    for code, said in (("NOT_FOUND", "not found"), ("PERMISSION_DENIED", "denied")):
        text = words.format(code=code, words=said)
        root = gcloud(**dict.fromkeys(("secrets versions list jwt-key", "secrets get-iam-policy jwt-key"), text))
        collect(root)
        source = collect_cloud(root / "out", AT)
        [told[code]] = [r for r in checks.judge(Capture("t", AT, AT, "0", (source,), Cost())) if r.check == "unusable_secrets"]
        for path in (root / "out").iterdir():
            path.unlink()
    assert "does not exist. (commands.json /8)" in told["NOT_FOUND"].findings[0].message
    assert (told["PERMISSION_DENIED"].status, told["PERMISSION_DENIED"].findings) == ("skipped", ())
    assert "PERMISSION_DENIED" in (told["PERMISSION_DENIED"].reason or "")


def test_a_service_that_is_not_there_is_said_and_nothing_follows(gcloud: Any) -> None:
    root = gcloud(run_services_list="[]")
    done = collect(root)
    assert "NOT_FOUND: gcloud run services list session-api" in done.stdout
    assert not any(words[:3] == ["run", "revisions", "list"] for words in asked(root))


def test_the_region_may_be_told_and_the_instance_too(gcloud: Any) -> None:
    root = gcloud()
    collect(root, "--region", "us-central1", "--instance", "other-db", "--since", "2025-06-01", "--until", "2025-06-11T12:00Z")
    said = [" ".join(words) for words in asked(root)]
    assert any(words.startswith("run services describe session-api --region=us-central1 --project=orders-prod") for words in said)
    assert any(words.startswith("sql instances describe other-db") for words in said)
    assert any('timestamp>="2025-06-01T00:00:00Z" AND timestamp<"2025-06-11T12:00:00Z"' in words for words in said)


def test_without_gcloud_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = collect(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "Error: gcloud is not installed, or not on the PATH."
    assert not (tmp_path / "out").exists()


def test_the_list_alone_asks_nobody(gcloud: Any) -> None:
    root = gcloud()
    done = kit("--project", "orders-prod", "--service", "session-api", "--dry-run")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 5
    assert not (root / "asked.txt").exists()


def test_the_answer_for_programs_is_one_document(gcloud: Any) -> None:
    root = gcloud()
    record = json.loads(collect(root, "--json").stdout)
    assert record["folder"] == str(root / "out")
    assert [c["code"] for c in record["commands"] if c["code"]] == ["PERMISSION_DENIED"]


@pytest.mark.parametrize("word", ["--flags-file=x", "a b", "../x", "", "a'b", "a\nb"])
def test_a_name_that_gcloud_could_take_for_something_else_is_refused(gcloud: Any, word: str) -> None:
    root = gcloud()
    done = kit(f"--project={word}", "--service", "session-api", "--out", str(root / "out"))
    assert done.returncode == 2
    assert not (root / "asked.txt").exists()


def test_names_out_of_an_export_are_never_options_or_paths(gcloud: Any) -> None:
    service = json.loads((DATA / "service.json").read_text())
    template = service["spec"]["template"]
    template["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"] = "p:r:--flags-file=x,$(reboot),p:r:../../x"
    template["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"]["name"] = "--impersonate-service-account=x"
    root = gcloud(run_services_list=json.dumps([service]), run_revisions_list="[]")
    collect(root)
    assert not any(words[0] in ("sql", "secrets") for words in asked(root))


def test_a_folder_that_holds_something_is_left_alone(gcloud: Any) -> None:
    root = gcloud()
    (root / "out").mkdir()
    (root / "out" / "mine").write_text("x")
    done = collect(root)
    assert (done.returncode, [path.name for path in (root / "out").iterdir()]) == (2, ["mine"])


def test_an_answer_that_never_comes_is_ended_and_kept_as_a_failure(gcloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = gcloud(**{"projects get-iam-policy": "sleep"})
    monkeypatch.setattr(cloud_collecting, "COMMAND_SECONDS", 3.0)
    started = time.monotonic()
    wanted = Asked("orders-prod", ("session-api",), (), None, AT, AT)
    found = cloud_collecting.collect_exports(wanted, root / "out", lambda _: None)
    assert time.monotonic() - started < 60
    [command] = [c for c in found.commands if c["name"] == "projects get-iam-policy"]
    assert (command["code"], command["status"], command["file"]) == ("UNAVAILABLE", None, None)
    source = collect_cloud(root / "out", AT)
    judged = {r.check: r for r in checks.judge(Capture("t", AT, AT, "0", (source,), Cost()))}
    reason = "no file in the folder is a project's IAM policy with bindings"
    assert judged["service_accounts_without_secret_access"].reason == reason
    assert judged["service_accounts_without_cloudsql_client"].reason == reason


def test_an_interrupted_collection_leaves_nothing_behind(gcloud: Any) -> None:
    root = gcloud(**{"projects get-iam-policy": "sleep"})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = ["--project", "orders-prod", "--service", "session-api", "--out", str(root / "out")]
    command = [sys.executable, "-m", "kit.cli", "cloud", "collect", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "projects get-iam-policy" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not (root / "out").exists()


def test_a_command_that_could_change_something_is_refused(gcloud: Any) -> None:
    root = gcloud()
    for words in (("run", "services", "delete", "list"), ("secrets", "versions", "access", "latest")):
        with pytest.raises(ValueError, match="not a reading command"):
            run(str(root / "bin" / "gcloud"), Command(words, (), None, "x.json"), 5.0)
    assert not (root / "asked.txt").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/x] not found.", "NOT_FOUND"),
        ("ERROR: (gcloud.run.services.describe) Cannot find service [web]", "NOT_FOUND"),
        ("ERROR: (gcloud.sql.instances.describe) HTTPError 404: The Cloud SQL instance does not exist.", "NOT_FOUND"),
        (
            "ERROR: (gcloud.sql.instances.describe) HTTPError 403: The client is not authorized to make this request.",
            "PERMISSION_DENIED",
        ),
        (
            "[dana@example.com] does not have permission to access projects instance [p] (or it may not exist)",
            "PERMISSION_DENIED",
        ),
        ("ERROR: (gcloud.sql.instances.list) API [sqladmin.googleapis.com] not enabled on project [p].", "NOT_ENABLED"),
        ("ERROR: (gcloud.run.services.list) You do not currently have an active account selected.", "UNAUTHENTICATED"),
        (
            "ERROR: (gcloud.run.services.list) There was a problem refreshing your current auth tokens: Reauthentication failed",
            "UNAUTHENTICATED",
        ),
        ("ERROR: (gcloud.run.revisions.list) You must specify a region.", "INVALID_ARGUMENT"),
        ("Segmentation fault", "UNKNOWN"),
    ],
)
def test_gcloud_s_words_become_a_code(words: str, code: str) -> None:
    assert failure_code(words) == code


def test_an_expired_login_is_said_with_what_renews_it(gcloud: Any) -> None:
    done = collect(gcloud(run_services_list="ERROR: (gcloud.run.services.list) You do not currently have an active account."))
    assert done.returncode == 3
    assert "run `gcloud auth login`, and collect again." in done.stdout
    again = kit("--project", "orders-prod", "--service", "session-api", "--out", str(gcloud() / "again"))
    assert (again.returncode, "Commands: " in again.stdout, "gcloud auth login" in again.stdout) == (3, True, False)
