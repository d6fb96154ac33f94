"""`cloudsql` of kit.toml, with Google's own library and a small Cloud SQL on the loopback before a real PostgreSQL."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from google.auth.exceptions import RefreshError, TransportError

import kit
from kit.analyze.connection.failures import Failure, failures
from kit.checks import judge
from kit.collect import connection, connector
from kit.collect.attempt import attempt
from kit.collect.capture import capture
from kit.collect.connection import known_secrets, open_database, parameters
from kit.collect.connector_faults import login_words
from kit.collect.reaching import reached
from kit.errors import CaptureError
from kit.evidence.model import Capture, Frames
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import resolve
from tests.failing import SECRET, loopback, until
from tests.google_stand_in import ACCOUNT, INSTANCE, Authority, Cloud, pem, running_cloud

PERSON = "ana@example.com"
ROBOT = "shop-api@shop-prod.iam"


@pytest.fixture(scope="module")
def instance() -> Iterator[Server]:
    """A PostgreSQL that wants passwords; whom the front lets pass by IAM, it takes as it is."""
    hba = ["local all postgres trust", f'local all "{PERSON}" trust', f'local all "{ROBOT}" trust', "local all all scram-sha-256"]
    with sandbox.running(hba=hba) as running:
        running.create_database("shop")
        running.execute(f'create role app login password \'{SECRET}\'; create role "{PERSON}" login; create role "{ROBOT}" login')
        yield running


@pytest.fixture
def cloud(tmp_path: Path, instance: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in ("KIT_CONFIG", "PGUSER", "PGPASSWORD", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIT_TRUST", "1")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.chdir(tmp_path)
    private = tmp_path / "cloud"
    private.mkdir()
    with running_cloud(private, instance.socket_folder) as cloud:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(cloud.login_file()))
        monkeypatch.setenv(connector.ENDPOINT_VARIABLE, f"{cloud.url}/")
        yield cloud


def write_config(user: str = "app", password: str | None = SECRET, name: str = INSTANCE) -> None:
    lines = ["[targets.shop]", f'cloudsql = "{name}"', f'dsn = "user={user} dbname=shop sslmode=require"']
    if password is not None:
        Path("secret").write_text(password)
        lines.append('password_command = ["cat", "secret"]')
    Path("kit.toml").write_text("\n".join([*lines, ""]))


def captured(**config: Any) -> Capture:
    write_config(**config)
    return capture(resolve("shop"), only=["settings"])


def failed(found: Capture) -> Failure:
    [source] = found.sources
    assert set(source.gaps) >= {"session", "settings"}
    [failure] = failures(Frames(source))
    assert failure is not None
    return failure


def everything(found: Capture) -> str:
    items = [item for source in found.sources for item in source.evidence.values()]
    texts = [f"{item.frame.to_csv()}{item.provenance}" for item in items]
    return "\n".join([*texts, *(str(source.gaps) for source in found.sources), repr(found)])


# It works


def test_a_capture_through_the_connector_logs_in_with_a_password(cloud: Cloud) -> None:
    found = captured()

    [source] = found.sources
    assert source.identity is not None
    assert (source.identity.user, source.identity.database) == ("app", "shop")
    assert failures(Frames(source)) == [None]
    assert cloud.users
    assert set(cloud.certificates.values()) == {None}
    assert cloud.admin_token in known_secrets("")
    for secret in (SECRET, cloud.admin_token):
        assert secret not in everything(found)


def test_the_command_line_captures_all_of_it(cloud: Cloud, tmp_path: Path) -> None:
    write_config()

    done = command_line()

    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert any("relations" in path.name for path in files)
    for secret in (SECRET, cloud.admin_token):
        assert secret not in done.stdout + done.stderr
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def command_line() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kit.cli", "capture", "--target", "shop", "--out", "bundle"]
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.mark.parametrize(("user", "role"), [(PERSON, PERSON), (ROBOT, ROBOT), (f"{ROBOT}.gserviceaccount.com", ROBOT)])
def test_a_user_with_an_address_logs_in_by_iam(cloud: Cloud, user: str, role: str) -> None:
    found = captured(user=user, password=None)

    [source] = found.sources
    assert source.identity is not None
    assert source.identity.user == role
    assert set(cloud.certificates.values()) == {cloud.login_token}
    assert cloud.login_token not in everything(found)


def test_a_token_that_a_command_fetched_is_a_password_and_no_second_login(cloud: Cloud) -> None:
    found = captured(user=PERSON, password="ya29.fetched-by-gcloud")

    # The stand-in wants the connector's own token for an address.
    assert failed(found).cause.name == "closed by the instance"
    assert set(cloud.certificates.values()) == {None}
    assert "ya29.fetched-by-gcloud" not in everything(found)
    assert "ya29.fetched-by-gcloud" in known_secrets("user=a password=ya29.fetched-by-gcloud")


@pytest.mark.parametrize(
    "settings",
    [
        {"ipAddresses": [{"type": "PRIVATE", "ipAddress": "HERE"}]},
        {"ipAddresses": [], "pscEnabled": True, "dnsName": "HERE."},
    ],
    ids=["private", "psc"],
)
def test_an_instance_without_public_address_is_asked_at_the_one_it_has(cloud: Cloud, settings: dict[str, Any]) -> None:
    cloud.settings = {key: located(value, cloud.address) for key, value in settings.items()}

    [source] = captured().sources

    assert source.identity is not None


def located(value: Any, address: str) -> Any:
    if isinstance(value, list):
        return [{key: located(item, address) for key, item in entry.items()} for entry in value]
    return value.replace("HERE", address) if isinstance(value, str) else value


def test_several_connections_use_one_certificate(cloud: Cloud) -> None:
    write_config()
    with reached(resolve("shop").databases[0]) as there:
        for _ in range(3):
            with open_database(there.conninfo, 20) as database:
                assert database.execute("select 1") == [(1,)]

    assert cloud.asked.count("certificate") == 1


def test_a_large_answer_comes_whole(cloud: Cloud) -> None:
    write_config()
    with reached(resolve("shop").databases[0]) as there, open_database(there.conninfo, 60) as database:
        rows = database.execute("select repeat(md5(i::text), 100) from generate_series(1, 20000) i")

    assert len(rows) == 20_000


def test_where_the_service_runs_its_own_socket_folder_is_used(cloud: Cloud, instance: Server) -> None:
    folder = Path("/cloudsql") / INSTANCE
    if not os.access("/", os.W_OK) or folder.parent.exists():
        pytest.skip("no /cloudsql can be made here")
    folder.mkdir(parents=True)
    try:
        (folder / ".s.PGSQL.5432").symlink_to(instance.socket_folder / ".s.PGSQL.5432")
        [source] = captured().sources
    finally:
        shutil.rmtree("/cloudsql")

    assert source.identity is not None
    assert not cloud.asked


# Nothing outlives the block


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.parametrize("fault", [None, "password", "certificate", "settings"])
def test_nothing_outlives_the_block(cloud: Cloud, temporary: Path, fault: str | None) -> None:
    captured()  # what the libraries open once and keep
    until(lambda: not own_threads())
    before, threads = settled(open_files), own_threads()
    if fault and fault != "password":
        cloud.refusals[fault] = (403, "no")

    found = captured(password="wrong" if fault == "password" else SECRET)

    assert (found.sources[0].identity is None) == bool(fault)
    until(lambda: own_threads() <= threads)
    until(lambda: open_files() <= before)
    assert not list(temporary.iterdir())
    assert socket.getdefaulttimeout() is None
    assert not connector.is_open(f"/cloudsql/{INSTANCE}")


def test_a_folder_too_deep_for_a_socket_is_told_before_anything_is_left_in_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    assert "Set TMPDIR to a shorter one" in not_examined(captured())
    assert not list(deep.iterdir())


def test_an_interrupted_block_ends_it_too(cloud: Cloud) -> None:
    write_config()
    threads = own_threads()
    with (
        pytest.raises(KeyboardInterrupt),
        reached(resolve("shop").databases[0]) as there,
        open_database(there.conninfo, 20),
    ):
        raise KeyboardInterrupt

    until(lambda: own_threads() <= threads)


def open_files() -> int:
    gc.collect()
    return psutil.Process().num_fds()


def settled(count: Callable[[], int]) -> int:
    """The lowest count in a while: the stand-in's own end of a connection goes a moment after the kit's."""
    end, least = time.monotonic() + 0.5, count()
    while time.monotonic() < end:
        least = min(least, count())
    return least


def own_threads() -> set[str]:
    names = [thread.name for thread in threading.enumerate() if "process_request_thread" not in thread.name]
    return {name for name in names if name.startswith(("cloudsql", "asyncio")) or "_accept_and_proxy" in name}


# What fails, and what is said of it


DISABLED = (
    "Cloud SQL Admin API has not been used in project 123 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/sqladmin.googleapis.com/overview?project=123 then retry."
)
QUOTA = (
    "Your application is authenticating by using local Application Default Credentials. The sqladmin.googleapis.com API "
    "requires a quota project, which is not set by default."
)


@pytest.mark.parametrize(
    ("place", "answer", "layer", "cause", "words"),
    [
        ("settings", (403, "The client is not authorized to make this request."), "authentication", "not allowed", ACCOUNT),
        (
            "certificate",
            (403, "boss::NOT_AUTHORIZED: Not authorized to access."),
            "authentication",
            "not allowed",
            "cloudsql.client",
        ),
        ("settings", (403, DISABLED), "authentication", "API disabled", "project 123"),
        ("settings", (403, QUOTA), "authentication", "no quota project", "set by default"),
        ("settings", (404, "The Cloud SQL instance does not exist."), "reachability", "no such instance", "does not exist"),
        ("certificate", (400, "Invalid request: instance is not running."), "reachability", "API refused", "is not running"),
        ("certificate", (400, 'FATAL: database "x" does not exist'), "reachability", "API refused", "400"),
    ],
)
def test_a_refusal_of_the_api_is_a_finding(
    cloud: Cloud, place: str, answer: tuple[int, str], layer: str, cause: str, words: str
) -> None:
    cloud.refusals[place] = answer

    found = captured()

    failure = failed(found)
    assert (failure.layer, failure.elsewhere) == (layer, None)
    assert cause in failure.cause.name
    assert words in failure.words
    [finding] = [finding for result in judge(found) for finding in result.findings]
    assert (finding.layer, finding.severity) == (layer, "critical")


def test_a_token_that_the_api_repeats_is_not_repeated(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    said = f"Bearer {cloud.admin_token} may not; nor {cloud.login_token}; nor eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    cloud.refusals["settings"] = (403, said)
    caplog.set_level(logging.DEBUG)

    found = captured(user=PERSON, password=None)

    assert "not allowed" in failed(found).cause.name
    for secret in (cloud.admin_token, cloud.login_token, "eyJhbGci"):
        assert secret not in everything(found) + failed(found).words + caplog.text


def test_an_answer_without_what_it_should_hold_is_no_internal_error(cloud: Cloud) -> None:
    cloud.settings = {"serverCaCert": {}}
    assert failed(captured()).cause.name == "connector failed"

    # The library logs such an answer in whole.
    cloud.refusals["certificate"] = (200, SECRET)
    done = command_line()

    assert done.returncode in (2, 3)
    assert not [words for words in ("Traceback", "Response dict", SECRET) if words in done.stderr]


@pytest.mark.parametrize(
    ("settings", "cause", "words"),
    [
        ({"region": "europe-west1"}, "instance of another region", "europe-west1"),
        ({"databaseVersion": "MYSQL_8_0"}, "not PostgreSQL: another engine of Cloud SQL", "MYSQL_8_0"),
        ({"ipAddresses": []}, "instance without address", "neither public nor private nor PSC"),
        ({"serverCaCert": {"cert": pem(Authority().certificate)}}, "instance not proven", "certificate"),
        ({"ipAddresses": [{"type": "PRIMARY", "ipAddress": loopback()}]}, "port 3307 not reached", "Connection refused"),
        ({"ipAddresses": [{"type": "PRIVATE", "ipAddress": loopback()}]}, "private address not reached", "inside the VPC"),
    ],
)
def test_what_the_api_says_of_the_instance_and_does_not_fit(
    cloud: Cloud, settings: dict[str, Any], cause: str, words: str
) -> None:
    cloud.settings = settings

    failure = failed(captured())

    assert (failure.layer, failure.cause.name) == ("reachability", cause)
    assert words in failure.words + failure.cause.remedy


def test_another_instance_of_the_project_is_not_there(cloud: Cloud) -> None:
    failure = failed(captured(name="shop-prod:us-central1:other"))

    assert failure.cause.name == "no such instance"


def test_a_refused_password_is_that_and_the_missing_folder_hides_nothing(cloud: Cloud) -> None:
    found = captured(password="Ω-wrong-Ω")

    failure = failed(found)
    assert (failure.layer, failure.cause.name, failure.elsewhere) == ("authentication", "password refused", None)
    assert "no /cloudsql" not in everything(found)
    assert "Ω-wrong-Ω" not in everything(found)
    steps = found.sources[0].evidence["connection_steps"].frame
    assert list(steps["status"]) == ["ok", "skipped"]


def test_the_steps_are_tried_again_once_the_connector_is_closed(cloud: Cloud) -> None:
    write_config()
    with reached(resolve("shop").databases[0]) as there:
        assert set(attempt(there.conninfo).frame["status"]) == {"ok", "skipped"}
        conninfo = there.conninfo

    assert "failed" in set(attempt(conninfo).frame["status"])


# The login of whoever asks


def not_examined(found: Capture) -> str:
    failure = failed(found)
    assert failure.cause.name == "way not open"
    assert not [finding for result in judge(found) for finding in result.findings]
    return failure.words


@pytest.mark.parametrize("said", ["invalid_grant", "invalid_rapt"])
def test_an_expired_login_is_one_sentence_with_what_renews_it(cloud: Cloud, said: str) -> None:
    cloud.refusals["token"] = (400, said)

    words = not_examined(captured())

    assert "has expired, or was revoked. Renew the file that GOOGLE_APPLICATION_CREDENTIALS names; or unset it, and run" in words


def test_the_command_that_renews_a_login_of_gclouds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    login = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    login.rename(tmp_path / "application_default_credentials.json")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert failures(Frames(captured().sources[0])) == [None]

    cloud.refusals["token"] = (400, "invalid_grant")

    assert "or was revoked. Run `gcloud auth application-default login`, and try again." in not_examined(captured())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RefreshError("Unable to acquire impersonated credentials", "403"), "serviceAccountTokenCreator"),
        (RefreshError("internal", retryable=True), "gave no token"),
        (TransportError("Bearer ya29.x"), "gave no token"),
        (KeyError("ya29.x"), "cannot be used: KeyError"),
    ],
)
def test_other_faults_of_the_login(error: Exception, words: str) -> None:
    said = " ".join(login_words(error))

    assert words in said
    assert "ya29" not in said


def test_an_expired_login_of_the_database_user(cloud: Cloud) -> None:
    cloud.refusals["login token"] = (400, "invalid_grant")

    assert "or was revoked" in not_examined(captured(user=PERSON, password=None))


def test_no_login_at_all(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))

    assert "gcloud auth application-default login" in not_examined(captured())


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"type": "service_account"}', '["x"]', "\xff"])
def test_a_login_file_that_cannot_be_read(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_text(content, "latin-1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    assert "application default credentials" in not_examined(captured())


def test_a_token_that_the_api_does_not_take(cloud: Cloud) -> None:
    write_config()
    with reached(resolve("shop").databases[0]) as there:
        cloud.admin_token = "ya29.another"
        with (
            pytest.raises(psycopg.OperationalError, match="does not take the login") as caught,
            open_database(there.conninfo, 20),
        ):
            pass

    assert caught.value.__cause__ is None


def test_an_api_that_cannot_be_reached(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv(connector.ENDPOINT_VARIABLE, f"http://127.0.0.1:{port}")

    assert "cannot be reached from here" in not_examined(captured())


@pytest.mark.parametrize("endpoint", ["http://sqladmin.example.com", "sqladmin.example.com", "http://127.0.0.1.example.com"])
def test_a_token_is_not_sent_in_the_clear(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv(connector.ENDPOINT_VARIABLE, endpoint)

    assert "names no https address" in not_examined(captured())
    assert not cloud.asked


def test_a_failure_of_the_login_raises_no_traceback_with_a_token(cloud: Cloud) -> None:
    cloud.refusals["token"] = (400, "invalid_grant")
    write_config()

    with pytest.raises(CaptureError) as caught, reached(resolve("shop").databases[0]):
        pass

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# All of it is bounded


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(connector, "LOGIN_SECONDS", 1.5)
    monkeypatch.setattr(connector, "SOCKET_SECONDS", 1.0)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("place", ["settings", "certificate"])
def test_an_api_that_is_silent(cloud: Cloud, place: str) -> None:
    cloud.silent.add(place)
    clock = time.monotonic()

    failure = failed(captured())

    assert failure.cause.name == "connector without answer"
    assert time.monotonic() - clock < 8


@pytest.mark.usefixtures("short")
def test_a_login_server_that_is_silent(cloud: Cloud) -> None:
    cloud.silent.add("token")
    clock = time.monotonic()

    assert "gave no token" in not_examined(captured())
    assert time.monotonic() - clock < 8


@pytest.mark.usefixtures("short")
def test_a_library_that_hangs_in_its_own_thread_is_left_alone(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "CLOSE_SECONDS", 0.5)
    cloud.silent.add("login token")
    clock = time.monotonic()

    failure = failed(captured(user=PERSON, password=None))

    assert failure.cause.name == "connector without answer"
    assert time.monotonic() - clock < 8
    assert own_threads() == {"cloudsql"}
    cloud.released.set()
    until(lambda: not own_threads())


@pytest.mark.parametrize(("given", "seconds"), [(None, 5), ("2", 2), ("0", 5), ("600", 5), ("x", 5), ("-1", 5), (3, 3)])
def test_libpqs_own_limit_is_no_longer_than_the_whole(given: object, seconds: int) -> None:
    assert connector._seconds(given) == seconds


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("backlog", "cause"), [(0, "port 3307 not reached"), (8, "no agreement on TLS with the instance")])
def test_packets_that_are_dropped_and_a_listener_that_says_nothing(cloud: Cloud, backlog: int, cause: str) -> None:
    address, clock = loopback(), time.monotonic()
    cloud.settings = {"ipAddresses": [{"type": "PRIMARY", "ipAddress": address}]}
    with contextlib.ExitStack() as held, socket.create_server((address, 3307), backlog=backlog) as endpoint:
        for _ in range(4 if backlog == 0 else 0):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(endpoint.getsockname())
        failure = failed(captured())

    assert failure.cause.name == cause
    assert "timed out" in failure.words
    assert time.monotonic() - clock < 8


def test_a_first_transaction_that_hangs_is_ended_although_no_cancel_gets_through(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNSET_SECONDS", 1.0)
    write_config()
    clock = time.monotonic()
    with (
        reached(resolve("shop").databases[0]) as there,
        open_database(there.conninfo, 60) as database,
        pytest.raises(sa.exc.OperationalError),
        database.transaction(settings=False),
    ):
        database.execute("select pg_sleep(50)")

    assert time.monotonic() - clock < 15


def test_the_limits_together_are_about_ten_seconds() -> None:
    assert connector.LOGIN_SECONDS + connector.CONNECT_SECONDS <= 14
    assert connector.connect(parameters("host=/cloudsql/shop-prod:us-central1:main user=app")) is None
