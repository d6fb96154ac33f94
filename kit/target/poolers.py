"""Where a pooler's admin console is, as kit.toml says it beside a database. Nothing is asked here.

pooler = "postgresql://stats@bouncer:6432/pgbouncer"   # without password; the database `pgbouncer` may be left out
pooler_env = "SHOP_POOLER"                             # or the environment's, with one
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.errors import TargetError

KEYS = frozenset({"pooler", "pooler_env"})
# After the name of the source whose database the pooler stands before.
SUFFIX = ".pooler"
_HOLDS_PASSWORD = re.compile(r"://[^@]*:[^@]+@|password\s*=")


@dataclass(frozen=True, slots=True)
class PoolerSource:
    """The admin console of a pooler, asked as one user; `conninfo` may hold a password, so it is never shown."""

    name: str
    conninfo: str = field(repr=False)
    vantage: str = "here"


def pooler_of(name: str, entry: Mapping[str, Any], where: str) -> PoolerSource | None:
    """Return the pooler that stands before the source `name`, or None; TargetError where its key cannot be meant."""
    if not KEYS & entry.keys():
        return None
    if entry.keys() >= KEYS:
        raise TargetError(f"{where} names the pooler twice.", "Keep pooler or pooler_env.")
    return PoolerSource(f"{name}{SUFFIX}", _conninfo(entry, where), entry.get("vantage", "here"))


def _conninfo(entry: Mapping[str, Any], where: str) -> str:
    if "pooler_env" in entry:
        value = os.environ.get(entry["pooler_env"])
        if not (value and value.strip()):
            raise TargetError(f"{where} reads its pooler from ${entry['pooler_env']}, which is not set.", "Export it first.")
        return value
    conninfo = str(entry["pooler"])
    if not conninfo.strip():
        raise TargetError(f"The pooler of {where} is empty.", 'Write it as pooler = "postgresql://stats@HOST:6432/pgbouncer".')
    if _HOLDS_PASSWORD.search(conninfo):
        raise TargetError(f"The pooler of {where} holds a password.", "Use pooler_env, service=NAME, or ~/.pgpass.")
    return conninfo
