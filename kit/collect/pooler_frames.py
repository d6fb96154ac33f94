"""The frames of a pooler's console: which columns, and how its rows, read by their columns' names, become ours.

The columns differ between PgBouncer's versions (1.12 to 1.25); what a version does not tell is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kit.evidence.columns import Column

Row = Mapping[str, Any]
CONSOLE = "pgbouncer"
SETTINGS = frozenset(
    "pool_mode default_pool_size min_pool_size reserve_pool_size reserve_pool_timeout max_client_conn max_db_connections"
    " max_user_connections query_wait_timeout server_login_retry server_connect_timeout idle_transaction_timeout"
    " client_idle_timeout paused suspended version".split()
)


@dataclass(frozen=True, slots=True)
class PoolerFrame:
    """One evidence of a pooler: what its console is asked, and what a row of the answer becomes."""

    name: str
    command: str
    title: str
    grain: str
    columns: tuple[Column, ...]
    row: Callable[[Row], tuple[Any, ...] | None]


def _name(name: str) -> Column:
    return Column(name, "string", data_class="identifier")


def _number(row: Row, *names: str) -> int | None:
    """Return the first of these columns that the version has; all of them are whole numbers, some as text."""
    found = next((row[name] for name in names if row.get(name) is not None), None)
    return None if found is None else int(found)


def _sum(row: Row, *names: str) -> int:
    return sum(_number(row, name) or 0 for name in names)


def _seconds(row: Row, whole: str) -> float | None:
    seconds = _number(row, whole)
    return None if seconds is None else seconds + _sum(row, f"{whole}_us") / 1e6


def _flag(row: Row, name: str) -> bool | None:
    number = _number(row, name)
    return None if number is None else number != 0


def _pool(row: Row) -> tuple[Any, ...] | None:
    if row["database"] == CONSOLE:
        return None
    return (
        row["database"],
        row["user"],
        row.get("pool_mode"),
        _number(row, "cl_active"),
        _number(row, "cl_waiting"),
        _sum(row, "cl_cancel_req", "cl_active_cancel_req", "cl_waiting_cancel_req"),
        _number(row, "sv_active"),
        *(_number(row, name) for name in ("sv_idle", "sv_used", "sv_tested", "sv_login")),
        _sum(row, "sv_active_cancel", "sv_being_canceled"),
        _seconds(row, "maxwait"),
        False,
    )


def _database(row: Row) -> tuple[Any, ...] | None:
    if row["name"] == CONSOLE:
        return None
    return (
        row["name"],
        row.get("host"),
        _number(row, "port"),
        row.get("database"),
        row.get("force_user"),
        row.get("pool_mode"),
        _number(row, "pool_size"),
        _number(row, "reserve_pool_size", "reserve_pool"),
        _number(row, "max_connections"),
        _number(row, "current_connections"),
        _flag(row, "paused"),
        _flag(row, "disabled"),
    )


def _server(row: Row) -> tuple[Any, ...]:
    return row["database"], row["user"], row["state"], _number(row, "remote_pid")


def _setting(row: Row) -> tuple[Any, ...] | None:
    return (row["key"], row["value"]) if row["key"] in SETTINGS else None


def _statistics(row: Row) -> tuple[Any, ...] | None:
    if row["database"] == CONSOLE:
        return None
    rates = (_number(row, name) for name in ("avg_xact_count", "avg_query_count"))
    times = (_number(row, name) for name in ("avg_xact_time", "avg_query_time", "avg_wait_time"))
    return row["database"], *rates, *(None if time is None else time / 1000 for time in times)


FRAMES = (
    PoolerFrame(
        "pooler_pools",
        "SHOW POOLS",
        "Pools of a pooler, with the clients that wait",
        "one row per database entry and user",
        (
            _name("entry_name"),
            _name("user_name"),
            Column("pool_mode", "string"),
            *(Column(f"clients_{state}", "Int64") for state in ("active", "waiting", "cancelling")),
            *(Column(f"servers_{state}", "Int64") for state in ("active", "idle", "used", "tested", "login", "cancelling")),
            Column("longest_wait_seconds", "Float64", "s"),
            Column("is_wait_at_login", "boolean"),
        ),
        _pool,
    ),
    PoolerFrame(
        "pooler_databases",
        "SHOW DATABASES",
        "Where a pooler leads, and its limits",
        "one row per database entry",
        (
            *(_name(name) for name in ("entry_name", "host")),
            Column("port", "Int64"),
            *(_name(name) for name in ("database_name", "force_user_name")),
            Column("pool_mode", "string"),
            *(Column(name, "Int64", "connections") for name in ("pool_size", "reserve_pool_size")),
            *(Column(name, "Int64", "connections") for name in ("maximum_connections", "current_connections")),
            Column("is_paused", "boolean"),
            Column("is_disabled", "boolean"),
        ),
        _database,
    ),
    PoolerFrame(
        "pooler_servers",
        "SHOW SERVERS",
        "A pooler's connections to servers",
        "one row per connection",
        (_name("entry_name"), _name("user_name"), Column("state", "string"), Column("backend_pid", "Int64")),
        _server,
    ),
    PoolerFrame(
        "pooler_settings",
        "SHOW CONFIG",
        "Settings of a pooler",
        "one row per setting that sizes pools or ends waits, and what SHOW STATE and SHOW VERSION say",
        (Column("setting_name", "string"), Column("setting", "string")),
        _setting,
    ),
    PoolerFrame(
        "pooler_stats",
        "SHOW STATS",
        "What a pooler measured in its last period",
        "one row per database entry",
        (
            _name("entry_name"),
            Column("transactions_per_second", "Int64", "1/s"),
            Column("queries_per_second", "Int64", "1/s"),
            *(Column(f"mean_{what}_ms", "Float64", "ms") for what in ("transaction", "query", "wait")),
        ),
        _statistics,
    ),
)


NAMES = frozenset(frame.name for frame in FRAMES)


def login_waits(clients: Iterable[Row]) -> dict[str, float]:
    """Return for how many seconds the first client of each database entry has waited to be let in.

    Such a client has asked nothing since it connected. The console's own client has made the last request of all: that is
    the pooler's "now", on the pooler's clock.
    """
    rows = list(clients)
    now = max((_moment(row["request_time"]) for row in rows), default=None)
    found: dict[str, float] = {}
    for row in rows:
        is_at_login = row["request_time"] == row["connect_time"]
        if now is not None and is_at_login and row["state"].startswith("waiting") and "cancel" not in row["state"]:
            seconds = (now - _moment(row["connect_time"])).total_seconds()
            found[row["database"]] = max(seconds, found.get(row["database"], 0.0))
    return found


def _moment(text: str) -> datetime:
    # Without the zone, which is a mere abbreviation and the same in all rows.
    return datetime.fromisoformat(text[:19])
