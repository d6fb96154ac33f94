"""Which login role can use which schema, as one table."""

from __future__ import annotations

import pandas as pd

from kit.analyze.access.privileges import NEEDS, Access, Flags, mask
from kit.analyze.names import is_system_schema
from kit.evidence.model import Frames

__all__ = ["COLUMNS", "NEEDS", "schema_access"]
COLUMNS = ("role_name", "schema_name", "has_usage", "relations", "readable_relations", "status")


def schema_access(frames: Frames) -> pd.DataFrame:
    """Return one row per login role and user schema with relations: how many of them the role can read.

    `status` is `allowed` (all readable), `partly`, or `denied`; superusers are left out, they can all.
    """
    access, relations = Access(frames), frames["relations"]
    schemas = relations["schema_name"]
    counted = (relations["kind"] != "sequence") & ~schemas.map(is_system_schema)
    readable = {role: _readable(access, role) for role in _roles(frames)}
    rows = [
        _row(access, role, str(schema), reads[mine.index])
        for role, reads in readable.items()
        for schema, mine in schemas[counted].groupby(schemas[counted])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _roles(frames: Frames) -> list[str]:
    roles = frames["roles"]
    return list(roles[roles["can_login"] & ~roles["is_superuser"] & ~roles["role_name"].str.startswith("pg_")]["role_name"])


def _readable(access: Access, role: str) -> Flags:
    """Return which relations the role can read, be it only a column of them."""
    reads: Flags = ((access.relation_privileges(role) | access.column_privileges(role)) & mask(("SELECT",))) != 0
    return reads


def _row(access: Access, role: str, schema: str, reads: Flags) -> tuple[str, str, bool, int, int, str]:
    usage = access.has_schema_privilege(role, schema, "USAGE")
    readable = int(reads.sum()) if usage else 0
    status = "denied" if readable == 0 else "allowed" if readable == len(reads) else "partly"
    return role, schema, usage, len(reads), readable, status
