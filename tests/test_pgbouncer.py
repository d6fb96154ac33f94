"""Through a real PgBouncer in transaction mode a capture is whole, and leaves its pooled connection as it was."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kit.case.collecting import collected
from kit.collect import connection
from kit.collect.queries import fact_queries
from kit.sandbox.account import choose_account
from kit.sandbox.scratch import Scratch
from kit.sandbox.server import Server
from kit.target import resolve

PGBOUNCER = Path("/usr/sbin/pgbouncer")
PORT = 6432
CONFIGURATION = """
[databases]
app = host={server.socket_folder} port={server.port} dbname={database} user=pooled
elsewhere = host={server.socket_folder} port={server.port} dbname=postgres user=pooled
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = 1
server_round_robin = 0
logfile = {folder}/log
"""
pytestmark = pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")


@dataclass(frozen=True)
class Pool:
    """A pooler before a database whose only pooled connection belongs to the application's role."""

    folder: Path
    server: Server
    database: str

    @property
    def dsn(self) -> str:
        return f"postgresql://app@/app?host={self.folder}&port={PORT}"

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)

    def settings(self) -> dict[str, tuple[str, str]]:
        """Every setting of the pooled connection, with its source, as an application sees it; and which connection it is."""
        with self.connect() as application:
            query = "select name, setting, source from pg_settings union all select 'pid', pg_backend_pid()::text, ''"
            return {name: (setting, source) for name, setting, source in application.execute(query)}


@pytest.fixture
def pool(server: Server, database: str) -> Iterator[Pool]:
    server.execute("create role pooled login in role pg_monitor")
    server.execute(f"alter role pooled in database {database} set search_path = auth, shop")
    server.execute(f"alter role pooled in database {database} set statement_timeout = '3s'")
    server.execute("create schema auth authorization pooled; create extension pg_stat_statements", database)
    folder, account = Scratch.create(), choose_account()
    account.own(folder.path)
    (folder.path / "ini").write_text(CONFIGURATION.format(server=server, database=database, folder=folder.path, port=PORT))
    process = subprocess.Popen(
        [PGBOUNCER, folder.path / "ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.user_id,
        group=account.group_id,
        extra_groups=account.extra_groups,
    )
    try:
        _wait_for_socket(folder.path, process)
        yield Pool(folder.path, server, database)
    finally:
        process.terminate()
        process.wait(10)
        folder.remove()
        server.execute("drop owned by pooled; drop role pooled", database)


def test_a_capture_through_the_pooler_is_whole(pool: Pool) -> None:
    source = collected(resolve(pool.dsn)).sources[0]

    assert not source.gaps
    assert set(fact_queries()) <= set(source.evidence)


def test_other_databases_that_the_pooler_does_not_know_or_leads_elsewhere_are_refused(pool: Pool) -> None:
    pool.server.execute("create database elsewhere")
    try:
        source = collected(resolve(pool.dsn)).sources[0]
    finally:
        pool.server.execute("drop database elsewhere with (force)")

    others = source.evidence["other_databases"].frame.set_index("database_name")
    assert others.loc["elsewhere"].tolist() == ["refused", "another database or another server answered under this name"]
    assert others.loc["postgres", "status"] == "refused"
    assert "connection failed" in others.loc["postgres", "reason"]
    assert not source.gaps


def test_the_pooled_connection_is_the_same_afterwards_in_every_setting(pool: Pool) -> None:
    before = pool.settings()

    collected(resolve(pool.dsn))

    after = pool.settings()
    assert {name: (before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)} == {}
    assert before["search_path"] == ("auth, shop", "database user")


def test_the_application_goes_on_writing_while_and_after_a_capture_shares_its_connection(pool: Pool) -> None:
    with pool.connect() as application:
        application.execute("create table notes (words text)")

        collected(resolve(pool.dsn))

        application.execute("insert into notes values ('after')")
        assert application.execute("select words from auth.notes").fetchall() == [("after",)]


def test_the_search_path_is_recorded_as_the_application_gets_it(pool: Pool) -> None:
    source = collected(resolve(pool.dsn)).sources[0]

    settings = source.evidence["settings"].frame.set_index("setting_name")
    assert source.identity is not None
    assert source.identity.search_path == "auth, shop"
    assert source.identity.visible_schemas == ["pg_catalog", "auth"]
    assert settings.loc[["search_path", "statement_timeout"], "setting"].tolist() == ["auth, shop", "3000"]
    assert settings.loc["search_path", "source"] == "database user"


def test_a_capture_that_set_anything_for_the_session_would_be_caught(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pool.settings()
    local = connection._settings_statement()
    monkeypatch.setattr(connection, "_settings_statement", lambda: local.replace(", true)", ", false)"))

    collected(resolve(pool.dsn))

    after = pool.settings()
    assert after["pid"] == before["pid"]
    assert after["search_path"] == ("", "session")


def _wait_for_socket(folder: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    # The file alone is not enough: it is there a moment before anybody listens.
    while not _listens(folder / f".s.PGSQL.{PORT}"):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as endpoint:
        return endpoint.connect_ex(str(path)) == 0
