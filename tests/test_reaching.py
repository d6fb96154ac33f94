"""Commands, tunnel and connector of kit.toml: run only when confirmed, bounded, ended whole, and never repeated."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

import kit
from kit.case.trusting import confirmed
from kit.collect import connector
from kit.collect.attempt.options import Endpoint
from kit.collect.commands import printed
from kit.collect.connection import parameters
from kit.collect.reaching import reached, trust, untrusted
from kit.collect.tunnel import opened_tunnel
from kit.errors import CaptureError, TargetError
from kit.sandbox.server import Server
from kit.target import DatabaseSource, resolve
from tests.failing import SECRET, until

RELAY = """
import os, socket, sys, threading
def pump(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    finally:
        for s in (a, b):
            try: s.shutdown(socket.SHUT_RDWR)
            except OSError: pass
port, path = int(sys.argv[1]), sys.argv[2]
listening = socket.create_server(("127.0.0.1", port))
if os.fork() == 0:
    import time; time.sleep(600)
while True:
    here, _ = listening.accept()
    there = socket.socket(socket.AF_UNIX); there.connect(path)
    for pair in ((here, there), (there, here)): threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit.toml to be written, in a folder of its own, with a state folder in which nothing is confirmed."""
    monkeypatch.delenv("KIT_CONFIG", raising=False)
    monkeypatch.delenv("KIT_TRUST", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kit.toml"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        return int(endpoint.getsockname()[1])


def toml(**keys: object) -> str:
    lines = [f"{key} = {list(value) if isinstance(value, tuple) else value!r}" for key, value in keys.items()]
    return "\n".join(["[targets.shop]", *lines, ""])


def source(config: Path, **keys: object) -> DatabaseSource:
    config.write_text(toml(**keys))
    return resolve("shop").databases[0]


def shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


# What kit.toml may say


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"dsn_command": "vault read"}, 'Write it as dsn_command = ["program", "argument"]; no shell reads it'),
        ({"dsn_command": ()}, "is not a list of arguments"),
        ({"dsn_command": ("a",), "dsn": "host=x"}, "gives the connection string twice"),
        ({"tunnel": ("ssh",)}, "says how to get there and not where"),
        ({"password_command": ("a",)}, "says how to get there and not where"),
        ({"cloudsql": "shop:us-central1-a:main"}, "The middle part is a zone; the region is us-central1."),
        ({"cloudsql": "main"}, 'Write it as "PROJECT:REGION:INSTANCE"'),
        ({"cloudsql": "shop:us-central1:main", "tunnel": ("ssh",)}, "keep one of them"),
        ({"cloudsql": "shop:us-central1:main", "dsn": f"user=a password={SECRET}"}, "holds a password"),
    ],
)
def test_a_slip_in_kit_toml_is_told_in_a_sentence(config: Path, keys: dict[str, object], words: str) -> None:
    with pytest.raises(TargetError) as caught:
        source(config, **keys)

    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_is_to_be_run_is_known_and_not_run_when_the_target_is_read(config: Path) -> None:
    found = source(config, dsn="host=127.0.0.1", tunnel=shell("touch ran"), password_command=shell("touch ran"))

    assert found.reach is not None
    assert found.reach.commands == (shell("touch ran"), shell("touch ran"))
    assert found.reach.config_sha256 == hashlib.sha256(config.read_bytes()).hexdigest()
    assert not (config.parent / "ran").exists()


# Who confirmed it


def test_nothing_is_run_before_somebody_confirmed_the_file(config: Path) -> None:
    given = source(config, dsn_command=shell("touch ran; echo host=db"))

    with (
        pytest.raises(TargetError, match="nobody has confirmed them here. See and confirm them with: kit trust"),
        reached(given),
    ):
        pass

    assert not (config.parent / "ran").exists()


def test_a_confirmation_lasts_and_ends_when_the_file_changes(config: Path) -> None:
    given = source(config, dsn_command=shell("echo host=db"))
    [reach] = untrusted(resolve("shop"))

    trust(reach)

    assert untrusted(resolve("shop")) == []
    with reached(given) as there:
        assert there.conninfo == "host=db"
    config.write_text(config.read_text().replace("host=db", "host=evil"))
    assert untrusted(resolve("shop")) != []
    with pytest.raises(TargetError), reached(resolve("shop").databases[0]):
        pass


def test_the_confirmation_is_this_users_alone(config: Path) -> None:
    source(config, dsn_command=shell("echo host=db"))
    trust(untrusted(resolve("shop"))[0])

    folder = config.parent / "state" / "incident-kit" / "trusted"
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_a_confirmation_does_not_hold_for_a_copy_in_another_folder(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source(config, dsn_command=("./dsn",))
    trust(untrusted(resolve("shop"))[0])
    copy = config.parent / "copy"
    copy.mkdir()
    (copy / "kit.toml").write_bytes(config.read_bytes())
    linked = config.parent / "linked"
    linked.mkdir()
    (linked / "kit.toml").symlink_to(config)

    for folder, is_confirmed in ((config.parent, True), (copy, False), (linked, False)):
        monkeypatch.chdir(folder)
        assert (untrusted(resolve("shop")) == []) is is_confirmed, folder


def test_a_confirmation_by_somebody_else_is_none(config: Path) -> None:
    source(config, dsn_command=shell("echo host=db"))
    [reach] = untrusted(resolve("shop"))
    trust(reach)
    [kept] = (config.parent / "state" / "incident-kit" / "trusted").iterdir()
    moved = config.parent / "elsewhere"
    kept.rename(moved)
    kept.symlink_to(moved)
    assert untrusted(resolve("shop")) == [reach]
    if os.geteuid() == 0:
        kept.unlink()
        moved.rename(kept)
        os.chown(kept, 65534, -1)
        assert untrusted(resolve("shop")) == [reach]


def test_a_relative_state_folder_is_not_taken(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(config.parent / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    source(config, dsn_command=shell("echo host=db"))
    trust(untrusted(resolve("shop"))[0])

    assert (config.parent / "home" / ".local" / "state" / "incident-kit" / "trusted").is_dir()


def test_what_is_confirmed_is_one_line_each_whatever_an_argument_holds(config: Path) -> None:
    config.write_text('[targets.shop]\ndsn = "host=db"\npassword_command = ["echo", "a\\u001b[2J\\nrm", "\\u202egnp", "\\r"]\n')
    shown: list[str] = []

    with pytest.raises(TargetError, match="Nothing was confirmed"):
        confirmed("shop", lambda lines: shown.extend(lines) or False)

    [line] = shown
    assert line.startswith(r"  echo 'a\x1b[2J\nrm' '\u202egnp' '\r'    (in ")
    assert line.isprintable()


@pytest.mark.parametrize(("value", "runs"), [("1", True), ("yes", False), ("", False)])
def test_a_job_confirms_by_its_environment(config: Path, monkeypatch: pytest.MonkeyPatch, value: str, runs: bool) -> None:
    monkeypatch.setenv("KIT_TRUST", value)
    given = source(config, dsn_command=shell("echo host=db"))

    with contextlib.nullcontext() if runs else pytest.raises(TargetError), reached(given):
        assert runs


@pytest.fixture
def trusted(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_TRUST", "1")
    return config


# Commands


def test_a_connection_string_comes_from_a_command_in_the_files_own_folder(trusted: Path, server: Server, database: str) -> None:
    (trusted.parent / "dsn").write_text(f"{server.dsn(database).replace('postgresql', 'postgresql+asyncpg')}\r\n")

    with reached(source(trusted, dsn_command=("cat", "dsn"))) as there:
        assert there.reach is None
        with psycopg.connect(there.conninfo) as connection:
            assert connection.info.dbname == database


@pytest.mark.parametrize("dsn", ["postgresql://app@db/shop?sslmode=require", "host=db user=app dbname=shop sslmode=require"])
def test_a_password_comes_from_a_command_and_is_put_in_as_it_is(trusted: Path, dsn: str) -> None:
    password = "p@ss/w'or\\d %40#"
    (trusted.parent / "secret").write_text(password + "\n")

    with reached(source(trusted, dsn=dsn, password_command=("cat", "secret"))) as there:
        given = parameters(there.conninfo)

    assert (given["password"], given["host"], given["sslmode"]) == (password, "db", "require")
    assert password not in repr(there)


def test_no_shell_reads_the_arguments(trusted: Path) -> None:
    with reached(source(trusted, dsn="host=db", password_command=("echo", "$HOME; `id` > x"))) as there:
        assert parameters(there.conninfo)["password"] == "$HOME; `id` > x"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo {SECRET}; echo no such secret >&2; exit 3", "ended with status 3: no such secret"),
        (f"echo {SECRET}; echo got {SECRET} >&2; exit 3", "ended with status 3: got <masked>"),
        (f"echo {SECRET}; exit 1", "it said nothing"),
        (f"echo {SECRET}; echo {SECRET}", "printed more than one line"),
        ("true", "printed nothing"),
        ("printf '\\377\\376'", "printed what is no text"),
        ("head -c 70000 /dev/zero | tr '\\0' x", "printed too much"),
    ],
)
def test_a_command_that_fails_is_one_sentence_without_what_it_printed(tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "fetch"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)

    with pytest.raises(CaptureError) as caught:
        printed([str(program)], tmp_path, "password")

    assert words in caught.value.message
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"no-such-program cannot be run: No such file or directory\. Install it"):
        printed(["no-such-program"], tmp_path, "password")


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="gave no answer in 1 s"):
        printed(shell("sleep 600 & echo $! > child; wait"), tmp_path, "password", seconds=1.0)

    until(lambda: not is_running(int((tmp_path / "child").read_text())))


EXPIRED = {
    "ERROR: (gcloud.sql.generate-login-token) There was a problem refreshing your current auth tokens: ('invalid_grant: Bad "
    "Request', {'error': 'invalid_grant'})\nPlease run:\n\n  $ gcloud auth login": "gcloud auth login",
    "ERROR: (gcloud.secrets.versions.access) Reauthentication failed. cannot prompt during non-interactive execution.": (
        "gcloud auth login"
    ),
    "ERROR: (gcloud.sql.instances) You do not currently have an active account selected.\nPlease run:\n $ gcloud auth login": (
        "gcloud auth login"
    ),
    "google.auth.exceptions.RefreshError: Reauthentication is needed. Please run `gcloud auth application-default login`": (
        "gcloud auth application-default login"
    ),
    "ERROR: AADSTS700082: The refresh token has expired due to inactivity.\nTo re-authenticate, please run: az login": "az login",
    "Please run 'az login' to setup account.": "az login",
    "Error when retrieving token from sso: Token has expired and refresh failed": "aws sso login",
    "The SSO session associated with this profile has expired or is otherwise invalid. To refresh this SSO session run aws sso "
    "login with the corresponding profile.": "aws sso login",
    "An error occurred (ExpiredTokenException) when calling the GetSecretValue operation: The security token included in the "
    "request is expired": "aws sso login",
    'Unable to locate credentials. You can configure credentials by running "aws configure".': "aws sso login",
}


@pytest.mark.parametrize(("said", "renewal"), EXPIRED.items(), ids=range(len(EXPIRED)))
def test_an_expired_token_is_one_sentence_with_what_renews_it(tmp_path: Path, said: str, renewal: str) -> None:
    script = f"echo {SECRET}; printf %s {shlex.quote(said)} >&2; exit 1"

    with pytest.raises(CaptureError) as caught:
        printed(shell(script), tmp_path, "password")

    assert caught.value.hint == f"Run `{renewal}`, and try again."
    assert caught.value.message.endswith("has expired, or nobody is logged in.")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    ["ERROR: (gcloud.secrets.versions.access) NOT_FOUND: Secret [x] not found", "ERROR: (gcloud.sql) PERMISSION_DENIED: no"],
)
def test_another_fault_of_the_same_tool_is_not_taken_for_an_expired_token(tmp_path: Path, said: str) -> None:
    with pytest.raises(CaptureError) as caught:
        printed(shell(f"printf %s {shlex.quote(said)} >&2; exit 1"), tmp_path, "password")

    assert said in caught.value.message


# The tunnel


@pytest.fixture
def relay(tmp_path: Path) -> Path:
    path = tmp_path / "relay.py"
    path.write_text(RELAY)
    return path


def through(relay: Path, port: int, server: Server) -> tuple[str, ...]:
    return (sys.executable, str(relay), str(port), f"{server.socket_folder}/.s.PGSQL.5432")


def test_a_tunnel_is_open_for_the_block_and_gone_after_it(
    trusted: Path, relay: Path, free_port: int, server: Server, database: str
) -> None:
    dsn = f"host=127.0.0.1 port={free_port} user=postgres dbname={database}"

    with reached(source(trusted, dsn=dsn, tunnel=through(relay, free_port, server))) as there:
        with psycopg.connect(there.conninfo) as connection:
            assert connection.info.dbname == database
        members = running(relay)
        assert len(members) == 2

    assert not answers(free_port)
    until(lambda: not running(relay))


def test_a_tunnel_goes_also_when_the_block_fails(trusted: Path, relay: Path, free_port: int, server: Server) -> None:
    dsn = f"host=127.0.0.1 port={free_port}"
    with (
        pytest.raises(KeyboardInterrupt),
        reached(source(trusted, dsn=dsn, tunnel=through(relay, free_port, server))),
    ):
        raise KeyboardInterrupt

    until(lambda: not running(relay))
    assert not answers(free_port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_tunnel_goes_when_the_kit_is_interrupted_or_killed(
    tmp_path: Path, relay: Path, free_port: int, server: Server, number: signal.Signals
) -> None:
    script = f"""
        import time
        from pathlib import Path
        from kit.collect.attempt.options import Endpoint
        from kit.collect.tunnel import opened_tunnel
        with opened_tunnel({through(relay, free_port, server)!r}, Path("."), Endpoint("127.0.0.1", None, {free_port})):
            Path("open").touch()
            time.sleep(600)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    kit = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    until(lambda: (tmp_path / "open").exists(), 30)

    kit.send_signal(number)
    kit.wait(20)

    until(lambda: not running(relay))
    assert not answers(free_port)


def test_a_tunnel_that_ends_at_once_says_why(tmp_path: Path, free_port: int) -> None:
    failing = shell("echo 'ssh: Could not resolve hostname bastion' >&2; exit 255")

    with (
        pytest.raises(CaptureError, match="must stay in the foreground.*Could not resolve hostname bastion"),
        opened(failing, tmp_path, free_port),
    ):
        pass


def test_a_tunnel_that_never_opens_its_port_is_ended(tmp_path: Path, free_port: int) -> None:
    with (
        pytest.raises(CaptureError, match="did not open 127.0.0.1:.* within 1 s"),
        opened(shell("trap '' TERM; echo $$ > number; sleep 600"), tmp_path, free_port),
    ):
        pass

    until(lambda: not is_running(int((tmp_path / "number").read_text())))


def test_an_end_that_is_taken_already_is_not_taken_for_the_tunnel(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(CaptureError, match="listens on .* already"), opened(shell("touch ran"), tmp_path, port):
            pass

    assert not (tmp_path / "ran").exists()


def opened(command: tuple[str, ...], folder: Path, port: int) -> contextlib.AbstractContextManager[None]:
    return opened_tunnel(command, folder, Endpoint("127.0.0.1", None, port), seconds=1.0)


# Google's connector


def test_a_cloud_sql_instance_needs_its_extra(config: Path) -> None:
    source(config, cloudsql="shop-prod:us-central1:main", dsn="user=app dbname=shop")
    script = """
        import sys
        sys.modules["google.cloud.sql"] = None
        from kit.collect.reaching import reached
        from kit.errors import MissingTier
        from kit.target import resolve
        try:
            with reached(resolve("shop").databases[0]): pass
        except MissingTier as error: print(error)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(kit.__file__).parent.parent)},
        timeout=60,
    )

    assert done.stdout.rstrip().endswith("which is not installed. pip install 'incident-kit[cloudsql]'"), done.stderr


def test_without_a_connector_a_connection_is_the_ordinary_one() -> None:
    assert connector.connect(parameters("host=/cloudsql/shop-prod:us-central1:main user=app")) is None


def running(relay: Path) -> list[int]:
    """The numbers of the processes that run the relay."""
    processes = psutil.process_iter(["cmdline", "status"])
    return [p.pid for p in processes if str(relay) in (p.info["cmdline"] or ()) and p.info["status"] != psutil.STATUS_ZOMBIE]


def is_running(number: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    return False


def answers(port: int) -> bool:
    with socket.socket() as endpoint:
        return endpoint.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def nothing_left(relay: Path) -> Iterator[None]:
    yield
    assert not running(relay)
