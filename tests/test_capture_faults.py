"""A capture ends whatever happens to the server, and says of everything that did not come why."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import psycopg
import pytest
import sqlalchemy as sa

from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.checks import judge
from kit.collect import connection
from kit.collect.attempt import ATTEMPT_SECONDS
from kit.collect.connection import APPLICATION_NAME
from kit.collect.postgres import collect_database
from kit.collect.queries import fact_queries
from kit.evidence.model import Gap, ProbeRequest, Source
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve

PASSWORD = "correct-horse-battery"
FIRST, MIDDLE, LAST = (fact_queries()[name][0].title for name in ("session", "relations", "migration_ledgers"))


@dataclass
class At:
    """A progress callback that does something once, when the query of that title is about to be sent."""

    title: str
    act: Callable[[], object]
    titles: list[str] = field(default_factory=list)

    def __call__(self, title: str) -> None:
        if title == self.title and title not in self.titles:
            self.act()
        self.titles.append(title)


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server of this file's own, which tests may stop, freeze and lock."""
    with sandbox.running(hba=["local all stranger scram-sha-256", *sandbox.DEFAULT_HBA]) as running:
        running.execute(f"create role stranger login password '{PASSWORD}'")
        yield running


@pytest.mark.parametrize("title", [FIRST, MIDDLE, LAST])
def test_a_server_stopped_in_mid_capture_leaves_what_was_taken_and_gaps(title: str) -> None:
    with sandbox.running() as running:
        capture_until = At(title, lambda: running.stop("immediate"))

        source = _taken(running.dsn(), progress=capture_until)

    assert _unanswered(source) >= {name for name, items in fact_queries().items() if items[0].title == title}
    assert _kinds(source) == {"not reached"}
    assert bool(source.evidence.get("session")) is (title != FIRST)
    _assert_complete(source)


@pytest.mark.parametrize("title", [FIRST, MIDDLE, LAST])
def test_a_connection_that_is_terminated_is_told_in_the_servers_words(own: Server, title: str) -> None:
    source = _taken(own.dsn(), progress=At(title, lambda: _signal_clients(own, "pg_terminate_backend")))

    assert any("terminating connection due to administrator command" in gap.reason for gap in source.gaps.values())
    assert _kinds(source) == {"not reached"}
    _assert_complete(source)


def test_a_frozen_server_is_given_up_at_the_clients_deadline(own: Server) -> None:
    frozen: list[int] = []
    started = time.monotonic()

    try:
        source = _taken(own.dsn(), progress=At(MIDDLE, lambda: frozen.append(_freeze(own))), deadline_seconds=2)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    assert frozen
    assert time.monotonic() - started < 6
    assert _kinds(source) == {"timed out"}
    assert "deadline of 2 s" in source.gaps["relations"].reason
    assert "sessions" in source.evidence
    _assert_complete(source)


def test_a_locked_table_costs_its_size_and_nothing_else(own: Server, owned: str) -> None:
    own.execute("create table free (a int primary key); create table taken (a int primary key)", owned)
    with own.connect(owned, autocommit=False) as holder:
        holder.execute("lock taken in access exclusive mode")

        source = _taken(own.dsn(owned))

    sizes = source.evidence["relation_sizes"].frame.set_index("relation_name")
    assert bool(sizes["is_locked"]["taken"])
    assert not bool(sizes["is_locked"]["free"])
    assert set(source.gaps) == {"statements", "statements_info"}


def test_a_locked_ledger_is_a_gap_of_its_own(own: Server, owned: str) -> None:
    own.execute(f"{_LEDGER}; create table other (like _prisma_migrations)", owned)
    with own.connect(owned, autocommit=False) as holder:
        holder.execute("lock _prisma_migrations in access exclusive mode")

        source = collected(resolve(own.dsn(owned))).sources[0]

    assert source.gaps["migrations:public._prisma_migrations"].kind == "locked"
    assert "migrations" in source.evidence


@pytest.mark.parametrize(("default", "given"), [(2, ""), (60, "&connect_timeout=2")])
def test_a_lock_that_hangs_every_login_is_ended_by_the_connect_timeout(
    own: Server, monkeypatch: pytest.MonkeyPatch, default: int, given: str
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", default)
    with own.connect(autocommit=False) as holder:
        holder.execute("lock pg_authid in access exclusive mode")
        started = time.monotonic()

        source = _taken(own.dsn() + given)

    # Then the steps are tried one after the other: what hangs is seen to hang there too.
    assert 1.5 < time.monotonic() - started < 2 + ATTEMPT_SECONDS
    assert _message(source) == "connection timeout expired"
    _assert_not_reached(source)


def test_a_lock_that_hangs_the_first_transaction_is_cancelled_by_the_client(
    own: Server, owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNSET_SECONDS", 0.3)
    with own.connect(owned, autocommit=False) as holder:
        holder.execute("lock pg_namespace in access exclusive mode")
        started = time.monotonic()

        source = _taken(own.dsn(owned))

    assert time.monotonic() - started < 10
    assert source.gaps["session"] == source.gaps["settings"]
    assert source.gaps["session"] == Gap(kind="timed out", reason="canceling statement due to user request (57014)")
    assert source.identity is None
    assert _kinds(source) == {"timed out", "locked"}
    assert source.gaps["statements"].reason.startswith("whether pg_stat_statements is installed is not known: canceling")
    _assert_complete(source)


def test_a_query_that_the_server_cancels_is_a_gap_and_the_others_go_on(
    own: Server, owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.LOCAL_SETTINGS, "statement_timeout", "1ms")
    own.execute("create table many (" + ", ".join(f"c{n} int" for n in range(1500)) + ")", owned)

    source = _taken(own.dsn(owned))

    cancelled = {name for name, gap in source.gaps.items() if gap.kind == "timed out"}
    assert "column_widths" in cancelled
    assert source.gaps["column_widths"].reason == "canceling statement due to statement timeout (57014)"
    assert {"session", "settings"} <= set(source.evidence)
    _assert_complete(source)


def test_a_value_that_the_driver_cannot_read_costs_its_query_and_nothing_else(
    own: Server, owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relations = fact_queries()["relations"][0]
    monkeypatch.setitem(fact_queries(), "relations", (replace(relations, sql="select 'infinity'::date as relation_oid"),))

    source = _taken(own.dsn(owned))

    assert source.gaps["relations"] == Gap(kind="failed", reason="date too large (after year 10K)")
    assert set(source.gaps) == {"relations", "statements", "statements_info"}
    _assert_complete(source)


@pytest.mark.parametrize("error", [psycopg.DataError("numeric too odd"), sa.exc.InvalidRequestError("numeric too odd")])
def test_a_fault_at_the_end_takes_nothing_of_what_was_collected(own: Server, owned: str, error: Exception) -> None:
    def fail(_: object) -> list[ProbeRequest]:
        raise error

    source, cost = collect_database(DatabaseSource("database", own.dsn(owned)), propose=fail)

    assert source.gaps["capture"] == Gap(kind="failed", reason="numeric too odd")
    assert {"session", "relations"} <= set(source.evidence)
    assert bool(source.evidence["connection"].frame["is_connected"][0])
    assert source.identity is not None
    assert cost.statements > 30
    assert cost.rows > 30
    _assert_complete(source)


def test_a_missing_extension_is_a_gap_that_names_it(own: Server, owned: str) -> None:
    source = _taken(own.dsn(owned))

    assert source.gaps["statements"].kind == "unsupported"
    assert source.gaps["statements"].reason == "the extension pg_stat_statements is not installed in this database"


def test_statements_asked_for_alone_find_their_extension(own: Server, owned: str) -> None:
    own.execute("create extension pg_stat_statements", owned)

    source = _taken(own.dsn(owned), only=["statements"])

    assert not source.gaps
    assert set(source.evidence) == {"connection", "session", "settings", "extensions", "statements"}


def test_names_in_no_known_encoding_are_marked_and_nothing_is_lost() -> None:
    with sandbox.running(encoding="SQL_ASCII") as running, running.connect() as connected:
        connected.execute(b'create extension pg_stat_statements; create table "caf\xe9" (a int); create schema "\xff\xfe"')
        connected.execute(b'comment on table "caf\xe9" is \'na\xefve\'; create role "r\xf4le"')
        connected.execute(_LEDGER.replace("_prisma_migrations", '"led\xff"').encode("latin-1"))
        connected.execute(b"select '\xe9' from \"caf\xe9\"")

        capture = collected(resolve(running.dsn()))

    source = capture.sources[0]
    relations = set(source.evidence["relations"].frame["relation_name"])
    assert {"caf\ufffd", "led\ufffd"} <= relations
    assert set(fact_queries()) <= set(source.evidence)
    assert 'select $1 from "caf\ufffd"' in set(source.evidence["statements"].frame["statement"])
    assert source.gaps["migrations:public.led\ufffd"].kind == "failed"
    assert judged(capture, Question("bytes")).results


def test_times_that_python_cannot_hold_are_empty(own: Server, owned: str) -> None:
    own.execute("create role forever valid until 'infinity'; create role ancient valid until '0044-03-15 BC'")
    own.execute(_LEDGER, owned)
    rows = (("ides", "0044-03-15 BC", "now"), ("end", "-infinity", "infinity"), ("late", "now", "294276-01-01"))
    for name, started, finished in rows:
        own.execute(f"insert into _prisma_migrations values ('{name}', '', '{name}', '{started}', '{finished}')", owned)

    capture = collected(resolve(own.dsn(owned)))

    source = capture.sources[0]
    roles = source.evidence["roles"].frame.set_index("role_name")
    migrations = source.evidence["migrations"].frame.set_index("migration_name")
    assert roles["valid_until"][["forever", "ancient"]].isna().all()
    assert roles["is_valid_forever"][["forever", "ancient"]].tolist() == [True, False]
    assert migrations["started_at"].isna().to_dict() == {"ides": True, "end": True, "late": False}
    assert migrations["finished_at"].isna().to_dict() == {"ides": False, "end": True, "late": True}
    assert not migrations["is_failed"].any()
    assert judged(capture, Question("times")).results


def test_a_float_that_is_not_a_number_is_empty(own: Server, owned: str) -> None:
    own.execute("create table odd (a int); update pg_class set reltuples = 'NaN' where relname = 'odd'", owned)

    capture = collected(resolve(own.dsn(owned)))

    relations = capture.sources[0].evidence["relations"].frame.set_index("relation_name")
    assert relations["estimated_rows"].isna()["odd"]
    assert not any(isinstance(value, float) and math.isnan(value) for value in relations["estimated_rows"].tolist())
    assert "NaN" not in judged(capture, Question("odd")).to_json()


def test_nothing_of_a_hostile_search_path_is_executed_by_a_superuser_that_captures(own: Server, owned: str) -> None:
    own.execute(_TRAPS, owned)
    own.execute(_LEDGER, owned)
    with own.connect(owned, "boss") as boss, pytest.raises(psycopg.errors.RaiseException, match="sprung"):
        boss.execute("select current_schema()")
    with own.connect(owned, "boss") as boss, pytest.raises(psycopg.errors.RaiseException, match="sprung"):
        boss.execute("select relname || relname from pg_class")
    start = own.log_file.stat().st_size

    source = collected(resolve(own.dsn(owned, "boss"))).sources[0]

    log = own.log_file.read_bytes()[start:].decode()
    assert "sprung" not in log
    assert {name for name, gap in source.gaps.items() if gap.kind != "unsupported"} == set()
    assert source.identity is not None
    assert source.identity.is_superuser
    assert source.identity.search_path == "trap, pg_catalog"
    assert "migrations" in source.evidence


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("host=no-such-host.invalid", "no-such-host.invalid"),
        ("host=127.0.0.1 port=1", "Connection refused"),
        ("host=/no-such-folder", "No such file or directory"),
    ],
)
def test_a_place_that_does_not_answer_is_evidence_without_the_password(place: str, words: str) -> None:
    source = _taken(f"{place} user=shop_api dbname=shop password={PASSWORD}")

    assert words in _message(source)
    _assert_not_reached(source)


@pytest.mark.parametrize(
    ("database", "user", "password", "words"),
    [
        ("no_such_database", "postgres", PASSWORD, 'database "no_such_database" does not exist'),
        ("postgres", "nobody_known", PASSWORD, 'role "nobody_known" does not exist'),
        ("postgres", "stranger", f"wrong-{PASSWORD}", 'password authentication failed for user "stranger"'),
        ("postgres", "stranger", None, "no password supplied"),
    ],
)
def test_a_server_that_refuses_the_login_is_evidence_without_the_password(
    own: Server, database: str, user: str, password: str | None, words: str
) -> None:
    source = _taken(own.dsn(database, user, password))

    assert words in _message(source)
    _assert_not_reached(source)


def test_a_driver_that_repeats_the_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError(f"invalid value near {PASSWORD}")

    monkeypatch.setattr(psycopg, "connect", refuse)

    source = _taken(f"host=db password={PASSWORD}")

    assert _message(source) == "invalid value near <masked>"
    _assert_not_reached(source)


def test_the_right_password_is_accepted_and_stands_nowhere(own: Server) -> None:
    capture = collected(resolve(own.dsn("postgres", "stranger", PASSWORD)))

    source = capture.sources[0]
    assert bool(source.evidence["connection"].frame["is_connected"][0])
    assert PASSWORD not in _everything(source)
    assert PASSWORD not in repr(capture)
    assert PASSWORD not in capture.target


def test_a_server_that_is_not_reached_is_judged_and_the_database_is_not_called_healthy() -> None:
    capture = collected(resolve(f"host=127.0.0.1 port=1 password={PASSWORD}"))

    document = judged(capture, Question("down"))

    assert document.verdict.status != "healthy"
    assert not [r.check for r in document.results if r.status == "clean" and r.source == "database" and r.layer == "privileges"]
    assert PASSWORD not in document.to_json()


def test_the_kit_leaves_no_session_behind(own: Server, owned: str) -> None:
    _taken(own.dsn(owned))

    _wait_until(lambda: own.execute(f"select from pg_stat_activity where datname = '{owned}'") == [])


@pytest.fixture
def owned(own: Server) -> Iterator[str]:
    own.execute("drop database if exists owned with (force)")
    own.create_database("owned")
    yield "owned"
    own.execute("drop database owned with (force)")
    own.execute("drop role if exists forever, ancient, boss")


_LEDGER = """create table _prisma_migrations (id text, checksum text, migration_name text, started_at timestamptz,
  finished_at timestamptz, rolled_back_at timestamptz, logs text, applied_steps_count integer default 0)"""
_SPRUNG = "language plpgsql as $$begin raise exception 'sprung'; end$$"
_TRAPS = f"""create role boss superuser login; create schema trap;
create function trap.current_schema() returns name {_SPRUNG};
create function trap.current_setting(text) returns text {_SPRUNG};
create function trap.version() returns text {_SPRUNG};
create function trap.set_config(text, text, boolean) returns text {_SPRUNG};
create function trap.array_agg_text(text) returns text {_SPRUNG};
create function trap.joined(name, name) returns text {_SPRUNG};
create function trap.equal(name, name) returns boolean {_SPRUNG};
create function trap.equal(text, text) returns boolean {_SPRUNG};
create function trap.equal(oid, oid) returns boolean {_SPRUNG};
create operator trap.|| (function = trap.joined, leftarg = name, rightarg = name);
create operator trap.= (function = trap.equal, leftarg = name, rightarg = name);
create operator trap.= (function = trap.equal, leftarg = text, rightarg = text);
create operator trap.= (function = trap.equal, leftarg = oid, rightarg = oid);
alter role boss set search_path = trap, pg_catalog"""


def _taken(conninfo: str, **options: object) -> Source:
    return collect_database(DatabaseSource("database", conninfo), **options)[0]  # type: ignore[arg-type]


def _kinds(source: Source) -> set[str]:
    return {gap.kind for name, gap in source.gaps.items() if not name.startswith("statements")}


def _unanswered(source: Source) -> set[str]:
    return set(fact_queries()) - set(source.evidence)


def _assert_complete(source: Source) -> None:
    assert set(fact_queries()) <= set(source.evidence) | set(source.gaps)
    assert not set(source.evidence) & set(source.gaps)


def _assert_not_reached(source: Source) -> None:
    assert set(source.evidence) == {"connection", "connection_steps"}
    assert not bool(source.evidence["connection"].frame["is_connected"][0])
    assert {name: gap.kind for name, gap in source.gaps.items()} == dict.fromkeys(fact_queries(), "not reached")
    assert PASSWORD not in _everything(source)


def _everything(source: Source) -> str:
    frames = [evidence.frame.to_csv() + evidence.provenance.model_dump_json() for evidence in source.evidence.values()]
    return repr((source.identity, source.gaps, frames))


def _message(source: Source) -> str:
    return str(source.evidence["connection"].frame["message"][0])


def _signal_clients(server: Server, function: str) -> None:
    others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
    server.execute(f"select {function}(pid) from pg_stat_activity where {others}")


def _freeze(server: Server) -> int:
    pid = int(server.execute(f"select pid from pg_stat_activity where application_name = '{APPLICATION_NAME}'")[0][0])
    os.kill(pid, signal.SIGSTOP)
    return pid


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_more_rows_than_are_kept_are_said_to_be_cut_off(server: Server, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.collect.rows.ROW_LIMIT", 3)
    taken = collected(Target("cut", (DatabaseSource("database", server.dsn(database)),)))
    roles = taken.source("database").evidence["roles"]
    result = next(result for result in judge(taken) if result.check == "expired_login_roles")

    assert (len(roles.frame), roles.provenance.truncated) == (3, True)
    assert ("roles", "there was more than was kept") in [(n.subject, n.reason) for n in result.not_examined]
