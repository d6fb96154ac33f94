"""Why clients wait: a pool too small, a pool that is held, or a database that is slow. All pure.

The pooler says how many clients wait and how many server connections they share; the server says what these do at that
moment. A pool is full in the same way for every cause; who holds its connections tells them apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

import pandas as pd

from kit.analyze.pooler_limits import is_all_paused, limit_of, pooler_setting, sharing, size_of
from kit.evidence.model import Evidence, Frames, Source
from kit.evidence.records import records
from kit.target.poolers import SUFFIX

Record = Mapping[str, Any]
Doing = Literal["lock wait", "long statement", "idle in transaction", "idle", "short statement"]
# Of causes that hold equally many connections, the first one is named: it explains the others.
DOINGS: tuple[Doing, ...] = ("lock wait", "long statement", "idle in transaction", "idle", "short statement")
Cause = Literal[
    "paused", "no server", "pooler's limit", "server full", "server refuses",
    "lock wait", "long statement", "idle in transaction", "idle", "short statement", "unseen",
]  # fmt: skip
FULL_FRACTION = 0.95
_SERVER_FRAMES = ("sessions", "blocking", "settings")
_RESERVED = ("superuser_reserved_connections", "reserved_connections")
_IN_TRANSACTION = "idle in transaction"


@dataclass(frozen=True, slots=True)
class Holders:
    """What some sessions of a server do at one moment; times in seconds, None where nobody does it.

    `unseen` counts those whose state is hidden or that were not found.
    """

    doing: Mapping[Doing, int]
    unseen: int = 0
    longest_idle_transaction: Record | None = None
    longest_statement: Record | None = None
    same_statement: int = 0
    waits_for: tuple[int, ...] = ()

    @property
    def seen(self) -> int:
        """How many of them were seen."""
        return sum(self.doing.values())

    @property
    def most(self) -> Doing | None:
        """What most of them do, or None where most of them were not seen."""
        if not self.seen or self.unseen > self.seen:
            return None
        return max(DOINGS, key=lambda doing: (self.doing.get(doing, 0), -DOINGS.index(doing)))


@dataclass(frozen=True, slots=True)
class Slots:
    """The connection slots of a server for ordinary roles, and how many are taken."""

    taken: int
    total: int

    @property
    def is_full(self) -> bool:
        """Return whether a new connection has hardly a chance."""
        return self.taken >= FULL_FRACTION * self.total


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool in which clients wait: its numbers, its limits, who holds it, and so the cause.

    `size` is without the reserve. `limit` is the one above the size that is reached, of which `holders` then has all
    connections, those of other pools too; None where none is reached, or it is not known.
    """

    entry: str
    user: str
    mode: str | None
    waiting: int
    wait_seconds: float
    is_wait_at_login: bool
    active: int
    free: int
    size: int | None
    limit: tuple[str, int] | None
    is_paused: bool
    holders: Holders | None
    slots: Slots | None
    position: int

    @property
    def connections(self) -> int:
        """How many server connections the pool has."""
        return self.active + self.free

    @property
    def cause(self) -> Cause:
        """Return the one cause by which its clients wait."""
        if self.is_paused:
            return "paused"
        doing = self.holders.most if self.holders else None
        if self.limit is not None:
            # A limit that is reached is as good as a small pool: who holds the connections is the cause.
            return "pooler's limit" if doing in (None, "short statement") else doing
        if self.size is None or self.connections < self.size:
            return self._of_not_growing()
        return doing or "unseen"

    @property
    def is_database(self) -> bool | None:
        """Return whether the cause is in the database; None where that cannot be told."""
        if self.cause == "pooler's limit" and not (self.holders and self.holders.most):
            return None
        return IS_DATABASE[self.cause]

    def _of_not_growing(self) -> Cause:
        """A pool with clients that wait opens a connection after the other, unless it is given none."""
        if self.slots is not None and self.slots.is_full:
            return "server full"
        return "server refuses" if self.connections else "no server"


# A server is also full where it is slow, and everybody opens another connection.
IS_DATABASE: Mapping[Cause, bool | None] = {
    **dict.fromkeys(get_args(Cause), False),
    **dict.fromkeys(("lock wait", "long statement"), True),
    **dict.fromkeys(("no server", "server full", "server refuses", "unseen"), None),
}


def waiting_pools(frames: Frames, slow_seconds: float) -> list[Pool]:
    """Return the pools in which clients wait, with what their server connections do; the longest wait first.

    A statement that runs for `slow_seconds` or more is a long one.
    """
    entries = {row["entry_name"]: row for row in records(frames["pooler_databases"])}
    pools = records(frames["pooler_pools"])
    found = [
        _pool(position, row, entries.get(row["entry_name"], {}), pools, frames, slow_seconds)
        for position, row in enumerate(pools)
        if row["clients_waiting"]
    ]
    return sorted(found, key=lambda pool: -pool.wait_seconds)


def _pool(position: int, row: Record, entry: Record, pools: Sequence[Record], frames: Frames, slow_seconds: float) -> Pool:
    mode = row["pool_mode"] or entry.get("pool_mode") or pooler_setting(frames, "pool_mode")
    limit = limit_of(row, entry, pools, frames)
    return Pool(
        entry=row["entry_name"],
        user=row["user_name"],
        mode=mode,
        waiting=row["clients_waiting"],
        wait_seconds=row["longest_wait_seconds"] or 0.0,
        is_wait_at_login=bool(row["is_wait_at_login"]),
        active=(row["servers_active"] or 0) + (row["servers_cancelling"] or 0),
        free=sum(row[f"servers_{state}"] or 0 for state in ("idle", "used", "tested")),
        size=size_of(entry, frames),
        limit=limit,
        is_paused=bool(entry.get("is_paused")) or is_all_paused(frames),
        holders=_in_mode(_holders(sharing(row, limit, pools), frames, slow_seconds), mode),
        slots=slots(frames),
        position=position,
    )


def _holders(pools: Sequence[Record], frames: Frames, slow_seconds: float) -> Holders | None:
    """Return what the pools' connections that have a client do in the server; None where the server was not asked."""
    if "sessions" not in frames or "pooler_servers" not in frames:
        return None
    databases = {row["entry_name"]: row["database_name"] for row in records(frames["pooler_databases"])}
    names = {(pool["entry_name"], pool["user_name"]) for pool in pools}
    # A number alone might be that of a process of another server; behind another pooler it is chosen by chance.
    places = {
        (server["backend_pid"], databases.get(server["entry_name"]))
        for server in records(frames["pooler_servers"])
        if (server["entry_name"], server["user_name"]) in names and (server["state"] or "").startswith("active")
    }
    sessions = frames["sessions"]
    found = sessions[[place in places for place in zip(sessions["pid"], sessions["database_name"], strict=True)]]
    held = holders(found, frames, slow_seconds)
    taken = sum(pool["servers_active"] or 0 for pool in pools)
    return replace(held, unseen=held.unseen + max(0, taken - len(found)))


def _in_mode(held: Holders | None, mode: str | None) -> Holders | None:
    """But in session mode no client holds what is idle: the connection was given back, or lent again, in the meantime."""
    if held is None or mode == "session":
        return held
    doing = Counter(dict(held.doing))
    doing["short statement"] += doing.pop("idle", 0)
    return replace(held, doing=doing)


def holders(sessions: pd.DataFrame, frames: Frames, slow_seconds: float) -> Holders:
    """Return what these sessions do at the moment of the evidence."""
    now, roots = frames.at("sessions"), _blockers(frames)
    # With track_activities off the state is "disabled".
    seen = [row for row in records(sessions) if row["state"] not in (None, "disabled")]
    doing = {row["pid"]: _doing(row, now, slow_seconds, row["pid"] in roots) for row in seen}
    running = [row for row in seen if doing[row["pid"]] in ("long statement", "short statement")]
    idle = [row for row in seen if doing[row["pid"]] == _IN_TRANSACTION]
    texts = Counter(row["statement"] for row in seen if row["state"] == "active" and row["statement"])
    return Holders(
        doing=Counter(doing.values()),
        unseen=len(sessions) - len(seen),
        longest_idle_transaction=min(idle, key=lambda row: row["state_changed_at"] or now, default=None),
        longest_statement=min(running, key=lambda row: row["query_started_at"] or now, default=None),
        same_statement=max(texts.values(), default=0),
        waits_for=tuple(sorted({root for pid in doing for root in roots.get(pid, ())})),
    )


def _doing(row: Record, now: datetime, slow_seconds: float, is_blocked: bool) -> Doing:
    if is_blocked or (row["state"] == "active" and row["wait_event_type"] == "Lock"):
        return "lock wait"
    if row["state"].startswith(_IN_TRANSACTION):
        return "idle in transaction"
    if row["state"] == "idle":
        return "idle"
    return "long statement" if seconds_since(row["query_started_at"], now) >= slow_seconds else "short statement"


def _blockers(frames: Frames) -> dict[int, tuple[int, ...]]:
    if "blocking" not in frames:
        return {}
    return {row["blocked_pid"]: tuple(int(pid) for pid in row["blocking_pids"] or ()) for row in records(frames["blocking"])}


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Return the seconds from a moment to the time of the evidence, 0 where it is not known."""
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())


def clients(sessions: pd.DataFrame) -> pd.DataFrame:
    """Return the sessions of clients; the index is their position in the frame."""
    sessions = sessions.reset_index(drop=True)
    # Where details are hidden the kind of process is too; only clients (and their workers) have user and database.
    named = sessions["backend_type"].isna() & sessions["user_name"].notna() & sessions["database_name"].notna()
    return sessions[(sessions["backend_type"] == "client backend").fillna(False) | named]


def slots(frames: Frames) -> Slots | None:
    """Return the connection slots of the server and how many clients hold one; None where they are not known."""
    if "sessions" not in frames or "settings" not in frames:
        return None
    values = dict(zip(frames["settings"]["setting_name"], frames["settings"]["setting"], strict=True))
    if pd.isna(values.get("max_connections")):
        return None
    reserved = sum(int(values[name]) for name in _RESERVED if not pd.isna(values.get(name)))
    return Slots(len(clients(frames["sessions"])), max(1, int(values["max_connections"]) - reserved))


def server_evidence(source: Source, sources: Iterable[Source]) -> dict[str, Evidence]:
    """Return, for a pooler, what the server behind it said: that of its own source, else of the first that was asked."""
    if source.kind != "pooler":
        return {}
    asked = [other for other in sources if other.kind == "postgres" and "sessions" in other.evidence]
    own = [other for other in asked if other.name == source.name.removesuffix(SUFFIX)]
    return {name: other.evidence[name] for other in (own or asked)[:1] for name in _SERVER_FRAMES if name in other.evidence}
