"""What makes a pool wait, by made-up frames: every cause beside its neighbours, and the columns of old and new poolers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.analyze.findings import Finding
from kit.analyze.saturation import IS_DATABASE, Cause, waiting_pools
from kit.checks import registry
from kit.collect.pooler_frames import FRAMES, login_waits
from kit.collect.queries import fact_queries
from kit.errors import TargetError
from kit.evidence.columns import build_frame
from kit.evidence.model import Evidence, Frames, Source, provenance
from kit.target import resolve

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
Rows = list[dict[str, Any]]


def frames(**given: Rows) -> Frames:
    return Frames(Source("database.pooler", "pooler", "here", None, {name: evidence(name, rows) for name, rows in given.items()}))


def evidence(name: str, rows: Rows) -> Evidence:
    columns = next((f.columns for f in FRAMES if f.name == name), None) or fact_queries()[name][0].columns
    assert not {key for row in rows for key in row} - {column.name for column in columns}
    frame = build_frame(columns, [tuple(row.get(column.name) for column in columns) for row in rows])
    return Evidence(frame, columns, provenance(name, "", "", NOW, 0.0, len(rows)))


def pool(active: int = 2, waiting: int = 3, **more: Any) -> dict[str, Any]:
    named = {"entry_name": "shop", "user_name": "app", "pool_mode": "transaction", "is_wait_at_login": False}
    counts = {"clients_active": active, "clients_waiting": waiting, "servers_active": active, "longest_wait_seconds": 5.0}
    return named | counts | more


def entry(**more: Any) -> dict[str, Any]:
    return {"entry_name": "shop", "database_name": "shop", "pool_size": 2, "is_paused": False, "is_disabled": False} | more


def session(pid: int, state: str | None, **more: Any) -> dict[str, Any]:
    named = {"database_name": "shop", "user_name": "app", "backend_type": "client backend", "statement": f"select {pid}"}
    return {"pid": pid, "state": state, "query_started_at": NOW, "state_changed_at": NOW} | named | more


def servers(*pids: int) -> Rows:
    return [{"entry_name": "shop", "user_name": "app", "state": "active", "backend_pid": pid} for pid in pids]


LONG_AGO = {"query_started_at": NOW - timedelta(minutes=2)}
LOCKED = {"wait_event_type": "Lock"}
IN_TRANSACTION = "idle in transaction"


@pytest.mark.parametrize(
    ("sessions", "cause"),
    [
        ([session(1, "active"), session(2, "active")], "short statement"),
        ([session(1, "active", **LONG_AGO), session(2, "active", **LONG_AGO)], "long statement"),
        ([session(1, IN_TRANSACTION), session(2, IN_TRANSACTION)], "idle in transaction"),
        ([session(1, "idle in transaction (aborted)"), session(2, IN_TRANSACTION)], "idle in transaction"),
        # In transaction mode a connection that is idle was given back in the meantime.
        ([session(1, "idle"), session(2, "idle")], "short statement"),
        ([session(1, "active", **LOCKED), session(2, "active", **LOCKED)], "lock wait"),
        # A wait for a lock may be long: it is the lock that counts.
        ([session(1, "active", **LOCKED, **LONG_AGO), session(2, "active", **LOCKED, **LONG_AGO)], "lock wait"),
        # Of equally many, what explains the other: one waits for the lock that another's open transaction holds.
        ([session(1, "active", **LOCKED), session(2, IN_TRANSACTION)], "lock wait"),
        ([session(1, "active", **LONG_AGO), session(2, "active")], "long statement"),
        ([session(1, "fastpath function call", **LONG_AGO), session(2, "active", **LONG_AGO)], "long statement"),
        ([session(1, None, is_hidden=True), session(2, None, is_hidden=True)], "unseen"),
        ([session(1, "disabled"), session(2, "disabled")], "unseen"),
        ([], "unseen"),
        # The same numbers, in another database or beyond the pool, are other processes.
        ([session(1, "idle", database_name="else"), session(2, "idle", database_name="else")], "unseen"),
        ([session(8, "idle"), session(9, "idle"), session(1, IN_TRANSACTION), session(2, IN_TRANSACTION)], "idle in transaction"),
    ],
)
def test_who_holds_a_full_pool(sessions: Rows, cause: Cause) -> None:
    given = frames(pooler_pools=[pool()], pooler_databases=[entry()], pooler_servers=servers(1, 2), sessions=sessions)

    [found] = waiting_pools(given, slow_seconds=1)

    assert found.cause == cause


@pytest.mark.parametrize(("mode", "cause"), [("session", "idle"), ("transaction", "short statement"), (None, "idle")])
def test_only_in_session_mode_a_client_holds_what_is_idle(mode: str | None, cause: Cause) -> None:
    given = frames(
        pooler_pools=[pool(pool_mode=mode)],
        pooler_databases=[entry()],
        pooler_settings=[{"setting_name": "pool_mode", "setting": "session"}],
        pooler_servers=servers(1, 2),
        sessions=[session(1, "idle"), session(2, "idle")],
    )

    assert waiting_pools(given, slow_seconds=1)[0].cause == cause


def test_a_wait_for_a_lock_is_known_by_either_sign() -> None:
    given = frames(
        pooler_pools=[pool()],
        pooler_databases=[entry()],
        pooler_servers=servers(1, 2),
        sessions=[session(1, "active"), session(2, "active")],
        blocking=[{"blocked_pid": 1, "blocking_pids": ["7"]}, {"blocked_pid": 2, "blocking_pids": ["1", "7"]}],
    )

    [found] = waiting_pools(given, slow_seconds=1)
    assert found.cause == "lock wait"
    assert found.holders is not None
    assert found.holders.waits_for == (1, 7)


MAXIMUM = [
    {"setting_name": "max_connections", "setting": "4"},
    {"setting_name": "superuser_reserved_connections", "setting": "0"},
]
FOUR = [session(pid, "idle") for pid in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("pools", "entries", "more", "cause"),
    [
        ([pool(active=1)], [entry()], {}, "server refuses"),
        ([pool(active=0)], [entry()], {}, "no server"),
        ([pool(active=0, servers_login=1)], [entry()], {}, "no server"),
        ([pool(active=1)], [entry()], {"sessions": FOUR, "settings": MAXIMUM}, "server full"),
        ([pool(active=1)], [entry()], {"sessions": FOUR[:2], "settings": MAXIMUM}, "server refuses"),
        # A pool that is full does not ask for another slot, however full the server is.
        ([pool()], [entry()], {"sessions": FOUR, "settings": MAXIMUM}, "unseen"),
        ([pool(active=1)], [entry(maximum_connections=5, current_connections=5)], {}, "pooler's limit"),
        ([pool(active=1)], [entry(maximum_connections=0, current_connections=5)], {}, "server refuses"),
        (
            [pool(active=1), pool(active=2, waiting=0, entry_name="other")],
            [entry()],
            {"pooler_settings": [{"setting_name": "max_user_connections", "setting": "3"}]},
            "pooler's limit",
        ),
        ([pool(active=0)], [entry(is_paused=True)], {}, "paused"),
        ([pool(active=0)], [entry()], {"pooler_settings": [{"setting_name": "paused", "setting": "yes"}]}, "paused"),
        ([pool(active=0)], [entry()], {"pooler_settings": [{"setting_name": "paused", "setting": "no"}]}, "no server"),
        (
            [pool()],
            [entry(pool_size=None)],
            {"pooler_settings": [{"setting_name": "default_pool_size", "setting": "2"}]},
            "unseen",
        ),
        ([pool()], [], {}, "server refuses"),
    ],
)
def test_what_keeps_a_pool_from_growing(pools: Rows, entries: Rows, more: dict[str, Rows], cause: Cause) -> None:
    found = waiting_pools(frames(pooler_pools=pools, pooler_databases=entries, **more), slow_seconds=1)

    assert found[0].cause == cause


LIMITED = [entry(maximum_connections=2, current_connections=2)]


@pytest.mark.parametrize(
    ("state", "more", "cause", "is_database"),
    [
        ("active", {}, "pooler's limit", False),
        ("active", LONG_AGO, "long statement", True),
        ("active", LOCKED, "lock wait", True),
        (IN_TRANSACTION, {}, "idle in transaction", False),
        (None, {}, "pooler's limit", None),
    ],
)
def test_a_limit_that_is_reached_does_not_acquit_the_database(
    state: str | None, more: dict[str, Any], cause: Cause, is_database: bool | None
) -> None:
    # The pool that waits has one connection of the two that are allowed; the pool of another user has the other.
    other = servers(2)[0] | {"user_name": "jobs"}
    given = frames(
        pooler_pools=[pool(active=1), pool(active=1, waiting=0, user_name="jobs")],
        pooler_databases=LIMITED,
        pooler_servers=[*servers(1), other],
        sessions=[session(1, state, **more), session(2, state, **more)],
    )

    [found] = waiting_pools(given, slow_seconds=1)

    assert (found.cause, found.is_database) == (cause, is_database)
    assert found.holders is not None
    assert found.holders.seen + found.holders.unseen == 2
    [finding] = judged(given)
    assert ("Raise max_db_connections" in finding.remedy) == (is_database is False and cause == "pooler's limit")


def judged(given: Frames, **thresholds: float) -> list[Finding]:
    check = registry()["saturated_pools"]
    defaults = {threshold.name: threshold.default for threshold in check.thresholds}
    return [item for item in check.judge(given, {**defaults, **thresholds}) if isinstance(item, Finding)]


@pytest.mark.parametrize(("seconds", "severity"), [(0.9, None), (1.0, "warning"), (9.9, "warning"), (10.0, "critical")])
def test_severity_follows_the_wait(seconds: float, severity: str | None) -> None:
    given = frames(pooler_pools=[pool(longest_wait_seconds=seconds)], pooler_databases=[entry()])

    assert [finding.severity for finding in judged(given)] == ([severity] if severity else [])


@pytest.mark.parametrize(("clients", "severity"), [(8, None), (9, "warning"), (10, "critical")])
def test_clients_near_their_limit(clients: int, severity: str | None) -> None:
    given = frames(
        pooler_pools=[pool(waiting=0, active=2, clients_active=clients - 1, clients_cancelling=1)],
        pooler_databases=[entry()],
        pooler_settings=[{"setting_name": "max_client_conn", "setting": "10"}],
    )

    assert [finding.severity for finding in judged(given)] == ([severity] if severity else [])


def test_every_cause_says_whether_it_is_the_database_and_what_to_do() -> None:
    from kit.checks.triage import _pools

    assert set(_pools._MEANINGS) == set(_pools._REMEDIES) == set(IS_DATABASE)


# The columns of the console, as versions differ

POOLS = {"database": "shop", "user": "app", "cl_active": 1, "cl_waiting": 2, "sv_active": 3, "sv_idle": 4, "sv_used": 5}
POOLS |= {"sv_tested": 6, "sv_login": 7, "maxwait": 8}
DATABASES = {"name": "shop", "host": "db", "port": 5432, "database": "shop", "force_user": None, "pool_size": 20}


@pytest.mark.parametrize(
    ("more", "cancelling", "mode", "wait"),
    [
        ({}, (0, 0), None, 8.0),
        ({"maxwait_us": 250_000, "pool_mode": "session"}, (0, 0), "session", 8.25),
        ({"maxwait_us": 0, "pool_mode": "session", "cl_cancel_req": 2}, (2, 0), "session", 8.0),
        (
            {"maxwait_us": 0, "pool_mode": "statement", "cl_active_cancel_req": 1, "cl_waiting_cancel_req": 2}
            | {"sv_active_cancel": 3, "sv_being_canceled": 4, "load_balance_hosts": None},
            (3, 7),
            "statement",
            8.0,
        ),
    ],
    ids=["before 1.8", "1.12", "1.16", "1.25"],
)
def test_pools_of_every_version(more: dict[str, Any], cancelling: tuple[int, int], mode: str | None, wait: float) -> None:
    row = read("pooler_pools", POOLS | more)

    assert (row["clients_cancelling"], row["servers_cancelling"]) == cancelling
    assert (row["pool_mode"], row["longest_wait_seconds"]) == (mode, wait)
    assert [row[f"servers_{state}"] for state in ("active", "idle", "used", "tested", "login")] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("more", "reserve", "is_paused"),
    [
        ({}, None, None),
        ({"reserve_pool": 3, "paused": 1, "disabled": 0, "max_connections": 0, "current_connections": 2}, 3, True),
        (
            {"reserve_pool_size": 3, "min_pool_size": 0, "server_lifetime": 3600, "paused": 0, "max_client_connections": 9},
            3,
            False,
        ),
    ],
    ids=["ancient", "1.12", "1.25"],
)
def test_databases_of_every_version(more: dict[str, Any], reserve: int | None, is_paused: bool | None) -> None:
    row = read("pooler_databases", DATABASES | more)

    assert (row["pool_size"], row["reserve_pool_size"], row["is_paused"]) == (20, reserve, is_paused)


def test_the_console_s_own_pool_and_settings_of_no_concern_are_left_out() -> None:
    by_name = {frame.name: frame for frame in FRAMES}
    assert by_name["pooler_pools"].row(POOLS | {"database": "pgbouncer"}) is None
    assert by_name["pooler_databases"].row(DATABASES | {"name": "pgbouncer"}) is None
    assert by_name["pooler_settings"].row({"key": "auth_query", "value": "select …"}) is None
    # Two columns before 1.13, four after it.
    assert by_name["pooler_settings"].row({"key": "pool_mode", "value": "session"}) == ("pool_mode", "session")


def test_times_of_a_pooler_are_milliseconds() -> None:
    row = read("pooler_stats", {"database": "shop", "avg_xact_count": "5", "avg_query_time": "1500", "avg_wait_time": "2"})

    assert (row["transactions_per_second"], row["queries_per_second"]) == (5, None)
    assert (row["mean_transaction_ms"], row["mean_query_ms"], row["mean_wait_ms"]) == (None, 1.5, 0.002)


def read(name: str, row: dict[str, Any]) -> dict[str, Any]:
    frame = next(frame for frame in FRAMES if frame.name == name)
    values = frame.row(row)
    assert values is not None
    return dict(zip([column.name for column in frame.columns], values, strict=True))


def test_a_wait_at_login_is_counted_from_the_connection_on_the_pooler_s_own_clock() -> None:
    def client(database: str, state: str, connected: str, asked: str) -> dict[str, Any]:
        times = {"connect_time": f"2026-01-01 10:{connected} CEST", "request_time": f"2026-01-01 10:{asked} CEST"}
        return {"database": database, "state": state} | times

    rows = [
        client("shop", "waiting", "00:05", "00:05"),
        client("shop", "waiting", "00:20", "00:20"),
        client("shop", "active", "00:00", "00:29"),
        client("shop", "waiting_cancel_req", "00:01", "00:01"),
        client("pgbouncer", "active", "00:30", "00:30"),
    ]

    # Connected for long, and waiting for its next request since a moment: that one is in already.
    rows.append(client("shop", "waiting", "00:01", "00:29"))

    assert login_waits(rows) == {"shop": 25.0}
    assert login_waits([]) == {}


# kit.toml


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KIT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kit.toml"


def test_a_pooler_stands_beside_its_database(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUNCER", "postgresql+psycopg://stats:secret@bouncer/pgbouncer")
    config.write_text(
        '[targets.shop]\nservice = "shop"\nvantage = "job"\npooler = "host=bouncer user=stats"\n'
        '[targets.shop.sources.api]\nservice = "api"\npooler_env = "BOUNCER"\n'
    )

    target = resolve("shop")

    assert [(p.name, p.vantage) for p in target.poolers] == [("database.pooler", "job"), ("api.pooler", "here")]
    assert target.poolers[1].conninfo == "postgresql://stats:secret@bouncer/pgbouncer"
    assert "secret" not in repr(target)


def test_a_pooler_alone_is_a_target(config: Path) -> None:
    config.write_text('[targets.shop]\npooler = "host=bouncer"\n')

    assert (resolve("shop").databases, len(resolve("shop").poolers)) == ((), 1)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('pooler = "postgresql://stats:hush@b/pgbouncer"', "holds a password"),
        ('pooler = "host=b password = hush"', "holds a password"),
        ('pooler = "host=b"\npooler_env = "X"', "names the pooler twice"),
        ('pooler_env = "NOT_SET_ANYWHERE"', "which is not set"),
        ('pooler = "mysql://b"', "is not PostgreSQL"),
        ("pooler = 6432", "is not a text"),
        ('pooler = " "', "is empty"),
        ('pooler = "host=b"\n[targets.shop.sources."database.pooler"]\nservice = "x"', "which is its pooler's name"),
    ],
)
def test_a_pooler_that_cannot_be_meant(config: Path, lines: str, words: str) -> None:
    config.write_text(f'[targets.shop]\nservice = "shop"\n{lines}\n')

    with pytest.raises(TargetError, match=words) as caught:
        resolve("shop")
    assert "hush" not in f"{caught.value} {caught.value.hint}"


# Where only the server is known


@pytest.mark.parametrize(
    ("state", "more", "words", "remedy"),
    [
        ("idle", {}, "Not the database: most do nothing", "pool of that application smaller"),
        ("idle in transaction", {}, "Not the database: most hold a transaction open", "idle_transactions"),
        ("active", LOCKED, "The database is blocked", "blocked_sessions"),
        ("active", LONG_AGO | {"statement": "select 1"}, "in a long statement, and new requests pile up", "slow_statements"),
        ("active", {}, "Most are at work in short statements", "pooler in transaction mode"),
        (None, {"is_hidden": True}, "hidden from this role", "pool of that application smaller"),
    ],
)
def test_what_those_do_who_hold_the_slots(state: str | None, more: dict[str, Any], words: str, remedy: str) -> None:
    check = registry()["connections_near_limit"]
    given = frames(sessions=[session(pid, state, **more) for pid in (1, 2, 3, 4)], settings=MAXIMUM)
    defaults = {threshold.name: threshold.default for threshold in check.thresholds}

    [finding] = [item for item in check.judge(given, defaults) if isinstance(item, Finding)]

    assert words in finding.message
    assert remedy in finding.remedy
    assert ("4 run the same statement" in finding.message) == (more.get("statement") == "select 1")
