"""Who waits for whom: the tree of blocked sessions and the session at its root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Frames
from kit.evidence.records import records

# pg_blocking_pids names a prepared transaction by this number, whichever it is.
PREPARED = 0

COLUMNS = (
    Column("blocked_pid", "Int64"),
    Column("blocker_pids", "list[string]"),
    Column("root_pid", "Int64"),
    Column("depth", "Int64", "sessions to the root"),
    Column("sessions_behind_root", "Int64"),
    Column("lock_type", "string"),
    Column("mode", "string"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
    Column("waiting_seconds", "Float64", "s"),
    Column("is_upper_bound", "boolean"),
    Column("database_name", "string", data_class="identifier"),
    Column("user_name", "string", data_class="identifier"),
    Column("application_name", "string", data_class="identifier"),
    Column("root_user_name", "string", data_class="identifier"),
    Column("root_application_name", "string", data_class="identifier"),
    Column("root_state", "string"),
    Column("root_transaction_seconds", "Float64", "s"),
    Column("root_started_at", "datetime64[us, UTC]"),
)


def blocked_sessions(frames: Frames) -> pd.DataFrame:
    """Return one row a waiting session, in the order of `blocking`: its blockers, and the root of them all.

    `root_pid` is missing where the sessions wait in a circle, and 0 for a prepared transaction.
    `is_upper_bound` marks waits dated by the start of the statement, because the server does not tell more.
    """
    waits = records(frames["blocking"])
    sessions = {row["pid"]: row for row in records(frames["sessions"])}
    graph = {row["blocked_pid"]: [int(pid) for pid in row["blocking_pids"] or []] for row in waits}
    found = roots(graph)
    behind = Counter(root for root, _ in found.values())
    now = frames.at("blocking")
    tables = _row_locked_tables(frames) if waits else {}
    named = [_with_table(wait, tables) for wait in waits]
    return build_frame(COLUMNS, [_row(wait, sessions, graph, found, behind, now) for wait in named])


def roots(graph: Mapping[int, list[int]]) -> dict[int, tuple[int, int]]:
    """Return for each waiting session the session that waits for nobody, and how far away it is.

    Sessions that wait in a circle, or behind one, have no root. `graph` holds the blockers of each waiting one.

    >>> roots({3: [2, 1], 2: [1], 8: [9], 9: [8]})
    {3: (1, 1), 2: (1, 1)}
    """
    waiting_for: dict[int, list[int]] = {}
    for blocked, blockers in graph.items():
        for blocker in blockers:
            waiting_for.setdefault(blocker, []).append(blocked)
    level = {pid: (pid, 0) for pid in sorted(set(waiting_for) - set(graph))}
    found: dict[int, tuple[int, int]] = {}
    while level:
        reached: dict[int, tuple[int, int]] = {}
        for pid, (root, depth) in level.items():
            for blocked in waiting_for.get(pid, []):
                if blocked not in found:
                    reached.setdefault(blocked, (root, depth + 1))
        found |= reached
        level = reached
    return found


Tables = set[tuple[str, str]]


def _row_locked_tables(frames: Frames) -> dict[int, Tables]:
    """Return the tables in which each session writes or locks rows, as far as `locks` and `relations` tell."""
    if "locks" not in frames or "relations" not in frames:
        return {}
    # The locks on indexes have the same modes; what is no relation with rows is left out.
    known = set(zip(frames["relations"]["schema_name"], frames["relations"]["relation_name"], strict=True))
    locks = frames["locks"]
    locks = locks[locks["mode"].isin(["RowExclusiveLock", "RowShareLock"]) & locks["is_granted"] & locks["pid"].notna()]
    found: dict[int, Tables] = {}
    for pid, schema, name in zip(locks["pid"], locks["schema_name"], locks["relation_name"], strict=True):
        if (schema, name) in known:
            found.setdefault(int(pid), set()).add((schema, name))
    return found


def _with_table(wait: Mapping[str, Any], tables: Mapping[int, Tables]) -> Mapping[str, Any]:
    """Name the table of a wait for a row: the server says only whose transaction must end, not in which table."""
    if wait["relation_name"] is not None or wait["lock_type"] != "transactionid":
        return wait
    blockers = [tables.get(int(pid), set()) for pid in wait["blocking_pids"] or []]
    common = tables.get(wait["blocked_pid"], set()).intersection(set[tuple[str, str]]().union(*blockers))
    if len(common) != 1:
        return wait
    schema, name = common.pop()
    return {**wait, "schema_name": schema, "relation_name": name}


def _row(
    wait: Mapping[str, Any],
    sessions: Mapping[int, Mapping[str, Any]],
    graph: Mapping[int, list[int]],
    found: Mapping[int, tuple[int, int]],
    behind: Mapping[int, int],
    now: datetime,
) -> tuple[Any, ...]:
    pid = wait["blocked_pid"]
    root_pid, depth = found.get(pid, (None, None))
    session = sessions.get(pid, {})
    root = sessions.get(root_pid, {}) if root_pid is not None else {}
    since = wait["waiting_since"]
    earliest = since or session.get("query_started_at") or session.get("state_changed_at")
    return (
        pid,
        [str(blocker) for blocker in graph[pid]],
        root_pid,
        depth,
        behind.get(root_pid, 0) if root_pid is not None else 0,
        *(wait[name] for name in ("lock_type", "mode", "schema_name", "relation_name")),
        _seconds(earliest, now),
        since is None,
        *(session.get(name) for name in ("database_name", "user_name", "application_name")),
        *(root.get(name) for name in ("user_name", "application_name", "state")),
        _seconds(root.get("transaction_started_at"), now),
        root.get("backend_started_at"),
    )


def _seconds(since: datetime | None, now: datetime) -> float | None:
    # The evidence's time is the client's clock, which may lag behind the server's.
    return None if since is None else max(0.0, (now - since).total_seconds())
