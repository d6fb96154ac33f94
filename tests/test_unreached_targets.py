"""A target that is not reached: a diagnosis and a full report, whatever the way there was; `kit dsn --connect` says the same."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.sandbox.server import Server
from tests.failing import SECRET
from tests.run_support import kit

EXPIRED = "ERROR: (gcloud.auth) There was a problem refreshing your current auth tokens: invalid_grant. gcloud auth login"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "kit.toml"):
        assert SECRET.encode() not in file.read_bytes(), file


def asked(folder: Path, *words: str | Path, trusted: bool = True, **changes: str) -> Any:
    changes = {"XDG_STATE_HOME": str(folder / "state"), **({"KIT_TRUST": "1"} if trusted else {}), **changes}
    return kit(*words, cwd=folder, **changes)


def configured(folder: Path, **entry: str | list[str]) -> None:
    # A JSON string or list of strings is TOML too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    (folder / "kit.toml").write_text("\n".join(["[targets.shop]", *lines]))


def run(folder: Path, target: str = "shop", **changes: str) -> tuple[int, dict[str, Any]]:
    ended = asked(folder, "run", "case", "--target", target, "--only", "triage", "--json", **changes)
    assert "Traceback" not in ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {entry["layer"]: entry["status"] for entry in document["layers"]}


def test_a_run_says_at_which_step_the_connection_died(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    status, document = run(folder, f"postgresql://app:{SECRET}@127.0.0.1:{port}/shop")

    assert (status, document["verdict"]["layer"]) == (1, "reachability")
    assert "nothing listens on that port. The step that failed: tcp at 127.0.0.1 (ECONNREFUSED)" in document["verdict"]["summary"]
    shown = asked(folder, "show", "case", "connection_steps", "--json")
    assert [row["step"] for row in json.loads(shown.stdout) if row["status"] == "failed"] == ["tcp"]


def test_a_host_that_ends_in_a_carriage_return_is_named_as_such(folder: Path) -> None:
    configured(folder, dsn_env="SHOP_DSN")
    status, document = run(
        folder, SHOP_DSN=f"postgresql://app:{SECRET}@/shop?host=/cloudsql/orders-prod:us-central1:orders-db%0D"
    )

    assert (status, statuses(document)["reachability"]) == (1, "broken")
    reason = next(entry["reason"] for entry in document["layers"] if entry["layer"] == "reachability")
    assert "The host holds a blank or control character" in reason


def test_a_socket_of_cloud_run_that_is_not_here_says_nothing_of_the_service(folder: Path) -> None:
    status, document = run(folder, "postgresql://app@/shop?host=/cloudsql/orders-prod:us-central1:orders-db")

    assert (status, document["verdict"]["status"]) == (3, "open")
    assert statuses(document)["reachability"] == "not examined"
    reason = next(entry["reason"] for entry in document["layers"] if entry["layer"] == "reachability")
    assert "says nothing about the service" in reason


def test_an_expired_token_breaks_no_layer_and_is_said_with_what_renews_it(folder: Path) -> None:
    command = ["sh", "-c", f"echo {SECRET}; echo {shlex.quote(EXPIRED)} >&2; exit 1"]
    configured(folder, dsn="postgresql://app@db/shop", password_command=command)
    status, document = run(folder)

    assert (status, document["verdict"]["status"]) == (3, "open")
    assert set(statuses(document).values()) <= {"not examined", "out of scope"}
    assert "The token of gcloud has expired, or nobody is logged in. Run `gcloud auth login`" in document["verdict"]["summary"]


def test_a_command_runs_only_after_it_was_confirmed_once(folder: Path, server: Server, database: str) -> None:
    (folder / "dsn").write_text(server.dsn(database))
    configured(folder, dsn_command=["sh", "-c", "touch ran; cat dsn"])

    refused = asked(folder, "capture", "--target", "shop", "--out", folder / "one", trusted=False)
    unsure = asked(folder, "trust", "shop", trusted=False)
    assert (refused.returncode, unsure.returncode, (folder / "ran").exists()) == (2, 2, False)
    assert "kit trust" in refused.stderr
    assert "cat dsn" in unsure.stderr

    confirmed = asked(folder, "trust", "shop", "--yes", trusted=False)
    taken = asked(folder, "capture", "--target", "shop", "--out", folder / "one", "--json", trusted=False)
    assert confirmed.returncode == 0
    assert json.loads(taken.stdout)["cost"]["rows"] > 100, taken.stderr
    assert (folder / "ran").exists()
    assert asked(folder, "trust", "shop", trusted=False).stdout == "shop runs no command that is not confirmed.\n"


@pytest.mark.parametrize(
    "words", [("access", "--role", "postgres", "--database", "postgres", "--action", "CONNECT"), ("show", "roles")]
)
def test_every_question_goes_the_same_way(folder: Path, server: Server, database: str, words: tuple[str, ...]) -> None:
    (folder / "dsn").write_text(server.dsn(database))
    configured(folder, dsn_command=["cat", "dsn"])
    ended = asked(folder, *words, "--target", "shop", "--json")
    assert ended.returncode == 0, ended.stderr


# kit dsn --connect


def connected(folder: Path, dsn: str, *words: str) -> tuple[int, dict[str, Any]]:
    ended = asked(folder, "dsn", "--env", "URL", "--connect", "--json", *words, URL=dsn)
    assert SECRET not in ended.stdout + ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_sound_string_that_connects_is_zero(folder: Path, server: Server, database: str) -> None:
    status, answer = connected(folder, server.dsn(database))
    assert (status, answer["connection"]["status"]) == (0, "connected")
    assert list(answer) == ["masked", "corrected", "fingerprint", "findings", "connection"]


def test_a_sound_string_that_does_not_connect_is_one(folder: Path, server: Server) -> None:
    status, answer = connected(folder, server.dsn("no_such_database"))
    found = answer["connection"]
    assert (status, found["status"], found["layer"], found["cause"]) == (1, "failed", "database identity", "no such database")
    assert found["remedy"]


def test_what_says_nothing_of_the_service_is_three(folder: Path) -> None:
    status, answer = connected(folder, f"postgresql://app:{SECRET}@/shop?host=/cloudsql/orders-prod:us-central1:orders-db")
    assert (status, answer["connection"]["status"]) == (3, "unknown")


def test_a_string_that_libpq_cannot_read_is_not_tried(folder: Path) -> None:
    status, answer = connected(folder, f"'postgresql://app:{SECRET}@db/shop'")
    assert (status, answer["connection"]["status"], answer["connection"]["steps"]) == (1, "not tried", [])


def test_for_a_person_each_step_is_a_line(folder: Path, server: Server, database: str) -> None:
    ended = asked(folder, "dsn", "--env", "URL", "--connect", URL=server.dsn(database))
    assert "The connection was made." in ended.stdout
    assert "socket folder" in ended.stdout
