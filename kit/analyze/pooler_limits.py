"""What limits a pool: its size, the limits above it with the pools that share them, and PAUSE. All pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kit.evidence.model import Frames

Record = Mapping[str, Any]


def size_of(entry: Record, frames: Frames) -> int | None:
    """Return how many server connections a pool of this entry may have, without the reserve; None where it is not known."""
    size = entry.get("pool_size") or pooler_number(frames, "default_pool_size")
    # The reserve is opened only after reserve_pool_timeout: a pool without it is full all the same.
    return None if size is None else int(size)


def limit_of(row: Record, entry: Record, pools: Sequence[Record], frames: Frames) -> tuple[str, int] | None:
    """Return the limit above the pool's own size that keeps it from growing: its name and number."""
    most, current = entry.get("maximum_connections"), entry.get("current_connections")
    if most and current is not None and current >= most:
        return "max_db_connections", most
    of_user = int(pooler_number(frames, "max_user_connections") or 0)
    used = sum(_servers(pool) for pool in pools if pool["user_name"] == row["user_name"])
    return ("max_user_connections", of_user) if of_user and used >= of_user else None


def _servers(pool: Record) -> int:
    return sum(pool[f"servers_{state}"] or 0 for state in ("active", "idle", "used", "tested", "login"))


def sharing(row: Record, limit: tuple[str, int] | None, pools: Sequence[Record]) -> list[Record]:
    """Return the pools whose connections keep this one from another: itself, or all under the limit that is reached."""
    key = {"max_db_connections": "entry_name", "max_user_connections": "user_name"}.get(limit[0]) if limit else None
    return [row] if key is None else [pool for pool in pools if pool[key] == row[key]]


def is_all_paused(frames: Frames) -> bool:
    """Return whether the whole pooler is paused or suspended, as far as its version tells."""
    return "yes" in (pooler_setting(frames, "paused"), pooler_setting(frames, "suspended"))


def pooler_setting(frames: Frames, name: str) -> str | None:
    """Return a setting of the pooler; None where it was not captured or the pooler does not know it."""
    if "pooler_settings" not in frames:
        return None
    frame = frames["pooler_settings"]
    values = frame.loc[frame["setting_name"] == name, "setting"].dropna()
    return None if values.empty else str(values.iloc[0])


def pooler_number(frames: Frames, name: str) -> float | None:
    """Return a setting of the pooler as a number; None where it is not known or is no number."""
    text = pooler_setting(frames, name)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
