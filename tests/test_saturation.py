"""A saturated pool is told apart from a slow database: a real PgBouncer, a real server, and clients that wait for each cause."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from typer.testing import CliRunner

from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.checks import judge
from kit.cli import app
from kit.collect import pooler
from kit.collect.capture import capture
from kit.collect.pooler import collect_pooler
from kit.collect.pooler_frames import NAMES
from kit.evidence import bundle
from kit.evidence.model import Capture, Source
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from kit.target.poolers import PoolerSource
from tests.saturating import FRAMES, PGBOUNCER, Bouncer, bounced, until

pytestmark = pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")


@pytest.fixture
def bouncer(server: Server, database: str) -> Iterator[Bouncer]:
    with bounced(server, database) as found:
        yield found


def target_of(bouncer: Bouncer, console: str | None = None) -> Target:
    asked = DatabaseSource("database", bouncer.server.dsn(bouncer.database))
    return Target("shop", (asked,), poolers=(PoolerSource("database.pooler", console or bouncer.console),))


def captured_with(bouncer: Bouncer, console: str) -> Capture:
    return capture(target_of(bouncer, console), only=FRAMES)


# Healthy


def test_a_pool_that_serves_its_clients_gives_nothing(bouncer: Bouncer) -> None:
    for _ in range(5):
        bouncer.connect(autocommit=True).execute("select 1")

    result = bouncer.result()

    assert (result.status, result.findings, result.not_examined) == ("clean", (), ())


def test_waits_of_milliseconds_are_no_finding(bouncer: Bouncer) -> None:
    bouncer.run(6, "select pg_sleep(0.01)", times=1000)
    until(lambda: any(row[3] for row in bouncer.admin("show pools")))

    assert bouncer.result(warning_seconds=1.0).status == "clean"


def test_without_a_pooler_its_check_is_out_of_scope(server: Server, database: str) -> None:
    taken = capture(Target("shop", (DatabaseSource("database", server.dsn(database)),)), only={"sessions"})

    [result] = [result for result in judge(taken) if result.check == "saturated_pools"]
    assert (result.status, result.in_scope) == ("skipped", False)


# The causes, each with clients that wait


def test_a_pool_too_small_before_a_database_that_is_idle(bouncer: Bouncer) -> None:
    bouncer.run(8, "select pg_sleep(0.3)", times=1000)
    until(bouncer.holds(taken=2, waiting=6))

    found = bouncer.finding()

    assert found.fingerprint == 'saturated_pools:pool:"shop/pooled"'
    assert "6 clients wait" in found.message
    assert "2 of 2 server connections are taken, 0 free" in found.message
    assert "Not the database: the pool is too small" in found.message
    assert "2 at short statements" in found.message
    assert "Raise pool_size" in found.remedy
    assert found.severity == "warning"


def test_clients_that_waited_too_long_are_critical(bouncer: Bouncer) -> None:
    bouncer.run(3, "select pg_sleep(60)")
    until(bouncer.holds(taken=2, waiting=1))

    assert bouncer.finding(critical_seconds=0.2).severity == "critical"


def test_a_pool_held_by_transactions_that_nobody_ends(bouncer: Bouncer) -> None:
    for _ in range(2):
        bouncer.connect().execute("select 1")
    bouncer.run(3, "select 1")
    until(bouncer.holds(taken=2, waiting=3))

    found = bouncer.finding()

    assert "Not the database: transactions are held open with nothing done in them" in found.message
    assert "(application 'web')" in found.message
    assert "2 idle in transaction" in found.message
    assert "idle_in_transaction_session_timeout" in found.remedy
    # One ended transaction frees a connection, and those who wait are served by it.
    bouncer.server.execute(found.remedy, bouncer.database)
    until(lambda: not bouncer.result().findings)


def test_a_pool_that_waits_for_a_lock_in_the_database(bouncer: Bouncer) -> None:
    bouncer.server.execute("create table orders (id int); grant all on orders to pooled", bouncer.database)
    with contextlib.closing(bouncer.server.connect(bouncer.database, autocommit=False)) as holder:
        holder.execute("lock orders")
        bouncer.run(5, "select * from orders")
        until(bouncer.holds(taken=2, waiting=3))

        found = bouncer.finding()

        assert "The database is slow: its sessions wait for locks" in found.message
        assert f"behind session {holder.info.backend_pid}" in found.message
        assert "2 waiting for a lock" in found.message
        assert "blocked_sessions" in found.remedy
        holder.rollback()
    until(lambda: not bouncer.result().findings)


def test_a_pool_of_long_statements(bouncer: Bouncer) -> None:
    bouncer.run(4, "select pg_sleep(60)")
    until(bouncer.holds(taken=2, waiting=2))

    found = bouncer.finding(slow_seconds=0.2)

    assert "The database is slow: statements run long" in found.message
    assert "2 in a long statement" in found.message
    assert "2 of them run the same statement" in found.message
    assert "slow_statements" in found.remedy


def test_a_pool_in_session_mode_held_by_clients_that_do_nothing(server: Server, database: str) -> None:
    with bounced(server, database, "pool_mode = session") as bouncer:
        for _ in range(2):
            bouncer.connect(autocommit=True).execute("select 1")
        bouncer.run(2, "select 1")
        until(bouncer.holds(taken=2, waiting=2))

        found = bouncer.finding()

    assert "(session mode)" in found.message
    assert (
        "Not the database: clients keep connections that they do not use; its connections in the server: 2 idle" in found.message
    )
    assert "pool_mode = transaction" in found.remedy


def test_a_pooler_with_as_many_clients_as_it_allows(server: Server, database: str) -> None:
    with bounced(server, database, "max_client_conn = 3") as bouncer:
        until(lambda: _connects(bouncer))
        while _connects(bouncer):
            pass

        [found] = bouncer.result().findings

    assert found.fingerprint == "saturated_pools:setting:max_client_conn"
    assert found.severity == "critical"
    assert "3 of 3 clients" in found.message
    assert "Not the database" not in found.message, "clients also heap up where the database is slow"


def _connects(bouncer: Bouncer) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        bouncer.connect(autocommit=True).execute("select 1")
        return True
    return False


def test_the_pooler_s_own_limit_of_connections(server: Server, database: str) -> None:
    with bounced(server, database, "max_db_connections = 1") as bouncer:
        bouncer.run(2, "select pg_sleep(60)")
        until(bouncer.holds(taken=1, waiting=1))

        found = bouncer.finding(slow_seconds=3600)
        slow = bouncer.finding(slow_seconds=0.01)

    assert "Not the database: the pooler's own limit max_db_connections = 1 is reached" in found.message
    assert "1 at short statements" in found.message
    assert "Raise max_db_connections" in found.remedy
    assert "The database is slow: statements run long" in slow.message
    assert "the connections under the pooler's own limit max_db_connections = 1, which is reached, in the server" in slow.message
    assert "slow_statements" in slow.remedy


def test_a_server_that_refuses_the_pool_more_connections(server: Server, database: str) -> None:
    with bounced(server, database) as bouncer:
        server.execute("alter role pooled connection limit 1")
        bouncer.run(1, "select pg_sleep(60)")
        until(bouncer.holds(taken=1, waiting=0))
        bouncer.run(1, "select pg_sleep(60)")
        until(bouncer.holds(taken=1, waiting=1))

        found = bouncer.finding()

    assert "the pooler gets no more connections to the server, and tries again every 15 s" in found.message
    assert "Whether it is the database cannot be told" in found.message


def test_a_server_without_a_free_slot(server: Server, database: str) -> None:
    with bounced(server, database) as bouncer, contextlib.ExitStack() as others:
        server.execute("create role crowd login")
        others.callback(server.execute, "drop role crowd")
        bouncer.run(1, "select pg_sleep(60)")
        until(bouncer.holds(taken=1, waiting=0))
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                others.enter_context(contextlib.closing(server.connect(database, "crowd")))
        bouncer.run(1, "select 1")
        until(bouncer.holds(taken=1, waiting=1))

        found = bouncer.finding()

    assert "Whether it is the database cannot be told from here: the server has no slot for another connection" in found.message
    assert "connections_near_limit" in found.remedy


def test_a_server_that_is_not_there(server: Server, database: str, tmp_path: Path) -> None:
    with bounced(server, database, entry=f"host={tmp_path} port=5432") as bouncer:
        bouncer.run(2, "select 1")
        until(bouncer.holds(taken=0, waiting=2))

        found = bouncer.finding(warning_seconds=1.0)

    assert "2 clients wait to be let in, the first for" in found.message
    assert "the pooler has no connection to the server, and tries again every 15 s" in found.message


def test_a_database_that_somebody_paused(bouncer: Bouncer) -> None:
    bouncer.connect(autocommit=True).execute("select 1")
    bouncer.admin("pause shop")
    [found] = bouncer.result().findings
    assert (found.subject.kind, found.severity) == ("entry", "warning")

    bouncer.run(2, "select 1")
    until(lambda: bouncer.finding().subject.kind == "pool")
    found = bouncer.finding()

    assert "Not the database: somebody has paused database 'shop'" in found.message
    bouncer.admin(found.remedy.rpartition(": ")[2])
    until(lambda: not bouncer.result().findings)


def test_a_pause_of_all_databases_is_named_as_possible(bouncer: Bouncer) -> None:
    bouncer.connect(autocommit=True).execute("select 1")
    bouncer.admin("pause")
    bouncer.run(2, "select 1")
    until(bouncer.holds(taken=0, waiting=2))

    found = bouncer.finding()

    assert "PAUSE" in found.message
    assert "RESUME" in found.remedy


def test_a_database_that_somebody_disabled(bouncer: Bouncer) -> None:
    bouncer.admin("disable shop")

    [found] = bouncer.result().findings

    assert (found.severity, found.fingerprint) == ("critical", "saturated_pools:entry:shop")
    bouncer.admin(found.remedy.rpartition(": ")[2])
    assert bouncer.result().status == "clean"


def test_without_the_server_s_sessions_the_cause_is_not_guessed(bouncer: Bouncer) -> None:
    bouncer.run(3, "select pg_sleep(60)")
    until(bouncer.holds(taken=2, waiting=1))
    until(lambda: bool(bouncer.result().findings))
    nowhere = DatabaseSource("database", "host=/nowhere/at/all connect_timeout=1")

    [found] = bouncer.result(bouncer.captured(nowhere)).findings

    assert "Whether it is the database cannot be told from here" in found.message
    assert "Name the database beside its pooler" in found.remedy


def test_sessions_that_the_asker_may_not_see_are_not_guessed(bouncer: Bouncer) -> None:
    bouncer.server.execute("create role stranger login")
    try:
        bouncer.run(3, "select pg_sleep(60)")
        until(bouncer.holds(taken=2, waiting=1))
        until(lambda: bool(bouncer.result().findings))
        asked = DatabaseSource("database", bouncer.server.dsn(bouncer.database, "stranger"))
        [found] = bouncer.result(bouncer.captured(asked)).findings
    finally:
        bouncer.server.execute("drop role stranger")

    assert "2 not seen" in found.message
    assert "cannot be told" in found.message


# Collecting


def test_every_frame_comes_and_survives_a_bundle(bouncer: Bouncer, tmp_path: Path) -> None:
    bouncer.connect(autocommit=True).execute("select 1")

    taken = bouncer.captured()
    bundle.save(taken, tmp_path / "taken")
    source = bundle.load(tmp_path / "taken").source("database.pooler")

    assert (source.kind, source.gaps) == ("pooler", {})
    assert set(source.evidence) == {"connection", *NAMES}
    pools = source.evidence["pooler_pools"].frame
    assert pools[["entry_name", "user_name", "servers_idle"]].to_numpy().tolist() == [["shop", "pooled", 1]]
    settings = source.evidence["pooler_settings"].frame.set_index("setting_name")["setting"]
    assert (settings["pool_mode"], settings["default_pool_size"]) == ("transaction", "2")
    assert settings["version"].startswith("PgBouncer 1.")


def test_collecting_leaves_nothing_and_costs_milliseconds(bouncer: Bouncer) -> None:
    bouncer.connect(autocommit=True).execute("select 1")
    before = _state(bouncer)

    clock = time.perf_counter()
    _, cost = collect_pooler(PoolerSource("database.pooler", bouncer.console))
    seconds = time.perf_counter() - clock

    assert _state(bouncer) == before
    assert cost.statements == 6 + 1
    assert cost.server_ms < 100
    assert seconds < 1


def _state(bouncer: Bouncer) -> list[list[tuple[object, ...]]]:
    """Everything that the pooler keeps but times: settings, databases, pools, server connections, and who is connected."""
    shown = [bouncer.admin(f"show {what}") for what in ("config", "databases", "pools")]
    servers = [(row[1], row[2], row[3], row[15]) for row in bouncer.admin("show servers")]
    until(lambda: sum(row[2] == "pgbouncer" for row in bouncer.admin("show clients")) == 1)
    return [*shown, servers, [(row[1], row[2]) for row in bouncer.admin("show clients")]]


def test_a_console_that_hangs_is_given_up_and_is_not_said_to_have_closed(
    bouncer: Bouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = pooler._connect
    halted: list[psutil.Process] = []

    def connect_and_halt(conninfo: str) -> psycopg.Connection[Any]:
        driver = connect(conninfo)
        halted.append(_process(bouncer))
        halted[0].suspend()
        return driver

    monkeypatch.setattr(pooler, "_connect", connect_and_halt)
    monkeypatch.setattr(pooler, "DEADLINE_SECONDS", 1.0)
    clock = time.perf_counter()
    try:
        source, _ = collect_pooler(PoolerSource("database.pooler", bouncer.console))
    finally:
        halted[0].resume()

    assert time.perf_counter() - clock < 5
    assert {gap.reason for gap in source.gaps.values()} == {"the pooler's console did not answer within 1 s"}


def _process(bouncer: Bouncer) -> psutil.Process:
    ini = f"{bouncer.place.split()[0].removeprefix('host=')}/ini"
    return next(found for found in psutil.process_iter(["cmdline"]) if ini in (found.info["cmdline"] or ()))


def test_a_pooler_that_is_halted_is_a_finding_in_bounded_time(bouncer: Bouncer) -> None:
    halted = _process(bouncer)
    halted.suspend()
    clock = time.perf_counter()
    try:
        source, _ = collect_pooler(PoolerSource("database.pooler", bouncer.console))
    finally:
        halted.resume()

    assert time.perf_counter() - clock < 14
    assert _only_connections(source) == {"not reached"}


def _only_connections(source: Source) -> set[str]:
    return {gap.kind for gap in source.gaps.values()}


def test_a_user_who_may_not_ask_is_a_gap_with_its_remedy(bouncer: Bouncer) -> None:
    source, _ = collect_pooler(PoolerSource("database.pooler", f"{bouncer.place} user=app"))

    assert _only_connections(source) == {"not permitted"}
    assert "stats_users" in source.gaps["pooler_pools"].reason
    assert "not allowed" in source.gaps["pooler_pools"].reason


def test_a_wrong_password_is_a_gap_and_breaks_no_layer(server: Server, database: str) -> None:
    secret = "Ψvery-wrong-Ω"
    settings = "auth_type = scram-sha-256"
    with bounced(server, database, settings) as bouncer:
        taken = captured_with(bouncer, f"{bouncer.place} user=stats password={secret}")

    assert _only_connections(taken.source("database.pooler")) == {"not permitted"}
    assert [result.findings for result in judge(taken) if result.source == "database.pooler" and result.findings] == []
    assert secret not in repr(taken)
    assert secret not in str([e.frame.to_dict() for e in taken.source("database.pooler").evidence.values()])


def test_a_pooler_that_is_not_there_is_a_finding_of_its_own(bouncer: Bouncer, tmp_path: Path) -> None:
    taken = captured_with(bouncer, f"host={tmp_path} port=6432 user=stats")

    results = {(r.check, r.source): r for r in judge(taken) if r.status == "findings" or r.check == "saturated_pools"}
    [unreachable] = results["unreachable_servers", "database.pooler"].findings
    assert unreachable.severity == "critical"
    assert unreachable.fingerprint.startswith("database.pooler/unreachable_servers:server:")
    assert "socket" in unreachable.message
    assert results["saturated_pools", "database.pooler"].status == "skipped"
    assert "console was not reached" in str(results["saturated_pools", "database.pooler"].reason)


def test_a_pooler_beside_it_does_not_rename_the_findings_of_a_database(bouncer: Bouncer) -> None:
    nowhere = DatabaseSource("database", "host=/nowhere/at/all connect_timeout=1")

    [found] = [f for r in judge(bouncer.captured(nowhere)) if r.check == "unreachable_servers" for f in r.findings]

    assert found.fingerprint.startswith("unreachable_servers:server:")


def test_a_database_in_place_of_the_console_is_said_so(bouncer: Bouncer) -> None:
    source, _ = collect_pooler(PoolerSource("database.pooler", bouncer.server.dsn(bouncer.database)))

    assert _only_connections(source) == {"unsupported"}
    assert "no pooler's console" in source.gaps["pooler_pools"].reason


# The whole way


def test_the_verdict_on_a_timeout_is_the_pool_and_not_the_database(bouncer: Bouncer) -> None:
    for _ in range(2):
        bouncer.connect().execute("select 1")
    bouncer.run(2, "select 1")
    until(bouncer.holds(taken=2, waiting=2))
    until(lambda: bool(bouncer.result().findings))
    symptom = "Timed out fetching a new connection from the connection pool"
    asked = Question("pool", symptom=symptom, thresholds={"saturated_pools.critical_seconds": 0.1})

    document = judged(collected(target_of(bouncer)), asked)

    assert (document.verdict.status, document.verdict.layer) == ("broken", "capacity and performance")
    assert "Not the database: transactions are held open" in document.verdict.summary
    below = document.layers[: [entry.layer for entry in document.layers].index("capacity and performance")]
    assert {entry.status for entry in below} <= {"cleared", "out of scope"}


def test_an_unanswered_console_does_not_hide_the_cause_of_another_symptom(bouncer: Bouncer, tmp_path: Path) -> None:
    taken = captured_with(bouncer, f"host={tmp_path} port=6432 user=stats")

    named = judged(taken, Question("pool", symptom='ERROR: relation "orders" does not exist')).verdict
    timeout = judged(taken, Question("pool", symptom="Connection refused")).verdict

    assert named.layer != "reachability"
    assert (timeout.status, timeout.layer) == ("broken", "reachability")


def test_one_table_of_the_pooler_on_the_command_line(bouncer: Bouncer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "secret-of-stats"
    monkeypatch.setenv("BOUNCER", f"{bouncer.console} password={secret}")
    monkeypatch.setenv("SHOP", bouncer.server.dsn(bouncer.database))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kit.toml").write_text('[targets.shop]\ndsn_env = "SHOP"\npooler_env = "BOUNCER"\n')
    bouncer.connect(autocommit=True).execute("select 1")

    shown = CliRunner().invoke(app, ["show", "--target", "shop", "pooler_pools", "--json"])

    assert shown.exit_code == 0
    assert [(row["entry_name"], row["servers_idle"]) for row in json.loads(shown.stdout)] == [("shop", 1)]
    assert secret not in shown.output


# Where no pooler is named: what those do who hold the server's slots


def near_limit(server: Server, database: str) -> str:
    target = Target("shop", (DatabaseSource("database", server.dsn(database)),))
    taken = capture(target, only={"sessions", "blocking", "settings"})
    thresholds = {"connections_near_limit.warning_fraction": 0.01, "connections_near_limit.slow_seconds": 0.2}
    return " ".join(f.message for r in judge(taken, thresholds) if r.check == "connections_near_limit" for f in r.findings)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("select 1; rollback", "(6 idle); most (6) are held by application 'web'. Not the database: most do nothing"),
        (
            "select 1",
            "(6 idle in transaction); most (6) are held by application 'web'. Not the database: most hold a transaction",
        ),
    ],
)
def test_slots_held_by_an_application_that_leaks(server: Server, database: str, statement: str, words: str) -> None:
    with contextlib.ExitStack() as crowd:
        for _ in range(6):
            client = crowd.enter_context(contextlib.closing(psycopg.connect(server.dsn(database), application_name="web")))
            client.execute(statement)
        until(lambda: words in near_limit(server, database))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "select pg_sleep(60)",
            "The database is slow: most are in a long statement, and new requests pile up behind them. 6 run the",
        ),
        ("select * from orders", "The database is blocked: most wait for a lock"),
    ],
)
def test_slots_that_fill_because_the_database_does_not_answer(server: Server, database: str, statement: str, words: str) -> None:
    server.execute("create table orders (id int)", database)
    with contextlib.closing(server.connect(database, autocommit=False)) as holder:
        holder.execute("lock orders")
        for _ in range(6):
            threading.Thread(target=_ask, args=(server, database, statement), daemon=True).start()
        until(lambda: words in near_limit(server, database))
        server.execute(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{database}'")


def _ask(server: Server, database: str, statement: str) -> None:
    with contextlib.suppress(psycopg.Error), server.connect(database) as client:
        client.execute(statement.encode())
