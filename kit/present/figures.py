"""The figures of the kit: each takes a frame or records and returns a figure, or a sentence where nothing is to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from kit.analyze.document import ChangeEntry
from kit.present import theme
from kit.present.access_map import access_by_schema
from kit.present.displays import Sentence
from kit.present.plots import BAR_LIMIT, Bar, Figure, Series, bars, stacked, timeline
from kit.present.text import bytes_text, count_text, counted, milliseconds_text, utc_text, visible

__all__ = [
    "access_by_schema",
    "blocking_chart",
    "change_timeline",
    "statement_time_chart",
    "table_bytes_chart",
    "wait_chart",
]
Shown = Figure | Sentence


def wait_chart(sessions: pd.DataFrame) -> Shown:
    """Draw the client sessions by state and by what they wait for."""
    clients = sessions[sessions["backend_type"].fillna("client backend") == "client backend"]
    if clients.empty:
        return Sentence("No client session was seen.")
    kinds = [_session_kind(row) for row in _records(clients)]
    drawn = [
        Bar(kind, kinds.count(kind), colour=_kind_colour(kind)) for kind in sorted(set(kinds), key=lambda k: (-kinds.count(k), k))
    ]
    waiting = sum(1 for kind in kinds if _LOCK in kind)
    alt = f"{counted(len(kinds), 'client session')} by state; waiting for a lock: {waiting}."
    return bars("Sessions by state and wait", drawn[:BAR_LIMIT], alt + _left_out(len(drawn)), count_text)


def blocking_chart(blocking: pd.DataFrame, sessions: pd.DataFrame | None = None) -> Shown:
    """Draw, for each session at the head of a queue, how many sessions wait behind it."""
    if blocking.empty:
        return Sentence("No session waits for another.")
    behind = _waiting_behind(blocking)
    known = {} if sessions is None else {int(row["pid"]): row for row in _records(sessions)}
    heads = sorted(behind, key=lambda pid: (-len(behind[pid]), pid))
    drawn = [
        Bar(_session_label(p, known), len(behind[p]), f"waiting: {_pids(behind[p])}", theme.EMPHASIS) for p in heads[:BAR_LIMIT]
    ]
    longest = f"the longest queue, of {len(behind[heads[0]])}, stands behind {drawn[0].label}"
    alt = f"{counted(len(blocking), 'session')} blocked; {longest}."
    return bars("Sessions waiting behind the head of each queue", drawn, alt + _left_out(len(heads)), count_text)


def table_bytes_chart(tables: pd.DataFrame, *, wasted: str = "wasted_bytes", total: str = "table_bytes") -> Shown:
    """Draw the largest tables, split into the bytes in use and the bytes wasted."""
    known = tables[tables[total].fillna(0) > 0].sort_values(
        [total, "schema_name", "relation_name"], ascending=[False, True, True]
    )
    if known.empty:
        return Sentence("No table with a known size was seen.")
    rows = _records(known.head(BAR_LIMIT))
    lost = [min(max(float(_given(row[wasted], 0)), 0.0), float(row[total])) for row in rows]
    used = [float(row[total]) - bytes_lost for row, bytes_lost in zip(rows, lost, strict=True)]
    alt = f"{counted(len(known), 'table')} of {bytes_text(float(known[total].sum()))}; wasted in those drawn: "
    alt += f"{bytes_text(sum(lost))}.{_left_out(len(known))}"
    series = [Series("in use", used, theme.NEUTRAL), Series("wasted", lost, theme.EMPHASIS)]
    labels = [f"{row['schema_name']}.{row['relation_name']}" for row in rows]
    return stacked("Bytes per table", labels, series, alt, bytes_text)


def statement_time_chart(statements: pd.DataFrame, *, top: int = 10) -> Shown:
    """Draw the statements on which the server has spent most time."""
    known = statements[statements["total_exec_ms"].notna()].sort_values(["total_exec_ms", "query_id"], ascending=[False, True])
    if known.empty:
        return Sentence("No statement statistics were seen.")
    rows = _records(known.head(top))
    drawn = [Bar(_statement_label(row), float(row["total_exec_ms"]), _statement_note(row)) for row in rows]
    spent = sum(bar.value for bar in drawn)
    share = spent / (float(known["total_exec_ms"].sum()) or 1.0)
    most = f"The {counted(len(drawn), 'statement')} with most time took {milliseconds_text(spent)}"
    alt = f"{most}, {share:.0%} of all {len(known)} seen."
    return bars("Statements by total time", drawn, alt, milliseconds_text)


def change_timeline(changes: Iterable[ChangeEntry], *, since: datetime | None = None, until: datetime | None = None) -> Shown:
    """Draw the changes on one UTC axis, a row per kind; a line leads to when a change took effect."""
    ordered = sorted(changes, key=lambda change: (change.at, change.kind, change.summary))
    if not ordered:
        return Sentence("No change is known.")
    kinds = ", ".join(dict.fromkeys(visible(change.kind) for change in ordered))
    alt = f"{counted(len(ordered), 'change')} from {utc_text(ordered[0].at)} to {utc_text(ordered[-1].at)}: {kinds}."
    return timeline(ordered, alt, since, until)


_LOCK = "waits for Lock"


def _records(frame: pd.DataFrame) -> list[Mapping[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if pd.isna(value) else value


def _session_kind(row: Mapping[str, Any]) -> str:
    if _given(row.get("is_hidden"), False):
        return "details hidden from the asker"
    state = _given(row["state"], "state unknown")
    wait = _given(row["wait_event_type"], None)
    # An idle session "waits" for its client; that is no wait anyone can act on.
    return state if wait in (None, "Client") else f"{state} · waits for {wait}: {_given(row['wait_event'], 'unknown')}"


def _kind_colour(kind: str) -> str:
    return theme.EMPHASIS if _LOCK in kind or kind.startswith("idle in transaction") else theme.NEUTRAL


def _waiting_behind(blocking: pd.DataFrame) -> dict[int, set[int]]:
    holders = {int(row["blocked_pid"]): [int(pid) for pid in row["blocking_pids"]] for row in _records(blocking)}
    behind: dict[int, set[int]] = {}
    for blocked in holders:
        for head in _heads(blocked, holders):
            behind.setdefault(head, set()).add(blocked)
    return behind


def _heads(pid: int, holders: Mapping[int, list[int]]) -> set[int]:
    seen, queue, heads = {pid}, list(holders[pid]), set[int]()
    while queue:
        holder = queue.pop()
        if holder not in holders:
            heads.add(holder)
        elif holder not in seen:
            seen.add(holder)
            queue.extend(holders[holder])
    # A circle has no head (a deadlock not yet resolved): each of it stands for itself.
    return heads or {min(seen)}


def _pids(pids: Iterable[int]) -> str:
    ordered = sorted(pids)
    return ", ".join(map(str, ordered[:20])) + (", …" if len(ordered) > 20 else "")


def _session_label(pid: int, known: Mapping[int, Mapping[str, Any]]) -> str:
    row = known.get(pid, {})
    # PostgreSQL reports 0 for a holder that is no session: a prepared transaction.
    name = "a prepared transaction" if pid == 0 else f"pid {pid}"
    return " · ".join([name, *(str(row[key]) for key in ("user_name", "state") if _given(row.get(key), ""))])


def _statement_label(row: Mapping[str, Any]) -> str:
    return str(_given(row["statement"], f"hidden statement {row['query_id']}"))


def _statement_note(row: Mapping[str, Any]) -> str:
    return f"{count_text(_given(row['calls'], 0))} calls, {milliseconds_text(_given(row['mean_exec_ms'], 0))} each"


def _left_out(number: int) -> str:
    return f" {number - BAR_LIMIT} more are not drawn." if number > BAR_LIMIT else ""
