"""What a full pool means and what to do about it, in words, for each cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.analyze.findings import quoted
from kit.analyze.pooler_limits import is_all_paused, pooler_setting
from kit.analyze.saturation import DOINGS, Cause, Doing, Holders, Pool, seconds_since
from kit.checks.triage._sessions import shown_application, shown_seconds, termination
from kit.evidence.model import Frames

_VERDICTS = {
    True: "The database is slow",
    False: "Not the database",
    None: "Whether it is the database cannot be told from here",
}
_DOING: Mapping[Doing, str] = {
    "lock wait": "waiting for a lock",
    "long statement": "in a long statement",
    "idle in transaction": "idle in transaction",
    "idle": "idle",
    "short statement": "at short statements",
}


def shown_doing(held: Holders) -> str:
    """Return what the sessions do, most of them first."""
    counts = [f"{held.doing[doing]} {_DOING[doing]}" for doing in DOINGS if held.doing.get(doing)]
    counts += [f"{held.unseen} not seen"] if held.unseen else []
    return ", ".join(sorted(counts, key=lambda words: -int(words.split()[0])))


def message(pool: Pool, frames: Frames) -> str:
    """Return the finding's message: who waits, for how long, for what, and whether it is the database."""
    who = "1 client waits" if pool.waiting == 1 else f"{pool.waiting} clients wait"
    since = " to be let in" if pool.is_wait_at_login else ""
    size = "" if pool.size is None else f" of {pool.size}"
    taken = f"{pool.active}{size} server connections are taken, {pool.free} free"
    named = f"In the pool of database {pool.entry!r} and user {pool.user!r} ({pool.mode or 'unknown'} mode)"
    verdict, cause = _VERDICTS[pool.is_database], _MEANINGS[pool.cause](pool, frames)
    return f"{named} {who}{since}, the first for {shown_seconds(pool.wait_seconds)}; {taken}. {verdict}: {cause}"


def remedy(pool: Pool, frames: Frames) -> str:
    """Return what to do about the pool's cause."""
    return _REMEDIES[pool.cause](pool, frames)


def _held(pool: Pool) -> str:
    whose = "its connections" if pool.limit is None else f"the connections under {_limit(pool)}, which is reached,"
    doing = shown_doing(pool.holders) if pool.holders else ""
    return f"{whose} in the server: {doing}" if doing else f"{whose} were not looked at"


def _limit(pool: Pool) -> str:
    return f"the pooler's own limit {pool.limit[0]} = {pool.limit[1]}" if pool.limit else "no limit"


def _short(pool: Pool, frames: Frames) -> str:
    means = _measured(pool, frames)
    return (
        f"the pool is too small for its load. Nobody in it waits for a lock, and no statement runs long; {_held(pool)}."
        f"{_room(pool)}{means}"
    )


def _room(pool: Pool) -> str:
    return f" {pool.slots.taken} of {pool.slots.total} connection slots of the server are taken." if pool.slots else ""


def _measured(pool: Pool, frames: Frames) -> str:
    if "pooler_stats" not in frames:
        return ""
    stats = frames["pooler_stats"]
    found = stats[stats["entry_name"] == pool.entry].dropna()
    if found.empty or not found["mean_wait_ms"].iloc[0]:
        return ""
    query, wait = found["mean_query_ms"].iloc[0], found["mean_wait_ms"].iloc[0]
    return f" In the pooler's last period a query took {query:.1f} ms on average, and a client waited {wait:.1f} ms for a server."


def _leaked(pool: Pool, frames: Frames) -> str:
    row = _longest(pool, "longest_idle_transaction")
    who = "" if row is None else f", the longest by {_session(row)} for {_since(row, 'state_changed_at', frames)}"
    return f"transactions are held open with nothing done in them{who}; {_held(pool)}. The application forgets to end them."


def _long(pool: Pool, frames: Frames) -> str:
    row = _longest(pool, "longest_statement")
    who = "" if row is None else f", the longest by {_session(row)} for {_since(row, 'query_started_at', frames)}"
    same = pool.holders.same_statement if pool.holders else 0
    alike = f" {same} of them run the same statement." if same > 1 else ""
    return f"statements run long{who}; {_held(pool)}.{alike}"


def _blocked(pool: Pool, frames: Frames) -> str:
    pids = pool.holders.waits_for if pool.holders else ()
    behind = f" behind {', '.join(f'session {pid}' for pid in pids[:5])}" if pids else ""
    return f"its sessions wait for locks{behind}; {_held(pool)}."


def _idle(pool: Pool, frames: Frames) -> str:
    return (
        f"clients keep connections that they do not use; {_held(pool)}. In {pool.mode} mode a client holds its own until it ends."
    )


def _limited(pool: Pool, frames: Frames) -> str:
    doing = shown_doing(pool.holders) if pool.holders else ""
    held = (
        f"the connections under it in the server: {doing}" if doing else "what is done in the connections under it was not seen"
    )
    return f"{_limit(pool)} is reached; {held}."


def _server_full(pool: Pool, frames: Frames) -> str:
    return (
        f"the server has no slot for another connection of the pool.{_room(pool)} See connections_near_limit for who holds them."
    )


def _not_given(pool: Pool, frames: Frames) -> str:
    retry = pooler_setting(frames, "server_login_retry")
    again = f", and tries again every {retry} s" if retry else ""
    room = f"{_room(pool)}" if pool.slots else ""
    return (
        f"the pooler {'gets no more connections' if pool.connections else 'has no connection'} to the server{again}: it is "
        f"refused or does not reach it, or (without a trace in an older pooler) PAUSE was said for all databases.{room}"
    )


def _unseen(pool: Pool, frames: Frames) -> str:
    return f"what is done in the connections that are taken was not seen; {_held(pool)}."


_MEANINGS: Mapping[Cause, Callable[[Pool, Frames], str]] = {
    "paused": lambda pool, frames: f"somebody has paused {_paused(pool, frames)} in the pooler.",
    "no server": _not_given,
    "pooler's limit": _limited,
    "server full": _server_full,
    "server refuses": _not_given,
    "lock wait": _blocked,
    "long statement": _long,
    "idle in transaction": _leaked,
    "idle": _idle,
    "short statement": _short,
    "unseen": _unseen,
}


def _paused(pool: Pool, frames: Frames) -> str:
    return "all databases" if is_all_paused(frames) else f"database {pool.entry!r}"


def _longest(pool: Pool, what: str) -> Mapping[str, Any] | None:
    return getattr(pool.holders, what) if pool.holders else None


def _session(row: Mapping[str, Any]) -> str:
    return f"session {row['pid']} ({shown_application(row['application_name'])})"


def _since(row: Mapping[str, Any], column: str, frames: Frames) -> str:
    return shown_seconds(seconds_since(row[column], frames.at("sessions")))


def _resume(pool: Pool, frames: Frames) -> str:
    name = "" if is_all_paused(frames) else f" {quoted(pool.entry)}"
    return f"Ask who paused it and why, then say in the pooler's console: RESUME{name}"


def _end_transaction(pool: Pool, frames: Frames) -> str:
    row = _longest(pool, "longest_idle_transaction")
    words = (
        "End transactions in the application before it does anything else (a call, a wait for a user), and set "
        "idle_in_transaction_session_timeout for its role; a bigger pool would only fill later."
    )
    if row is None:
        return words
    ends = f"{words} At once, for session {row['pid']}, whose transaction is rolled back:".replace("\n", " ")
    return termination(row["pid"], row["backend_started_at"], ends)


def _grow(pool: Pool, frames: Frames) -> str:
    size = f"{pool.size} now" if pool.size is not None else "default_pool_size"
    return (
        f"Raise pool_size of {pool.entry!r} in the pooler's configuration ({size}) step by step and say RELOAD, as far as "
        "max_connections of the server has room; or let transactions do less."
    )


def _look_at_server(pool: Pool, frames: Frames) -> str:
    return (
        "Read the pooler's log for the server's own words (too many connections for the role, a wrong password, no route), "
        "and try the same host, port and user from the pooler's machine; after PAUSE, say RESUME."
    )


_REMEDIES: Mapping[Cause, Callable[[Pool, Frames], str]] = {
    "paused": lambda pool, frames: _resume(pool, frames),
    "no server": _look_at_server,
    "pooler's limit": lambda pool, frames: (
        _REMEDIES["unseen"](pool, frames)
        if pool.is_database is None
        else f"Raise {pool.limit[0] if pool.limit else 'the limit'} in the pooler's configuration and say RELOAD."
    ),
    "server full": lambda *_: "Free slots in the server first: see connections_near_limit; a bigger pool would not get more.",
    "server refuses": _look_at_server,
    "lock wait": lambda *_: (
        "See blocked_sessions for the session at the root, and end it or wait for it; a bigger pool only adds waiters."
    ),
    "long statement": lambda *_: (
        "See slow_statements, and end what should not run; a bigger pool would slow the database further."
    ),
    "idle in transaction": _end_transaction,
    "idle": lambda *_: (
        "Use pool_mode = transaction if the application sets nothing for its sessions; else make the applications' own pools "
        "together no bigger than pool_size, and let them close what is idle."
    ),
    "short statement": _grow,
    "unseen": lambda *_: (
        "Name the database beside its pooler in kit.toml (as a member of pg_monitor, not through the pool) and look again: "
        "idle transactions, locks and long statements tell a pool too small from a slow database."
    ),
}
