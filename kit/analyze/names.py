"""Names of the catalogs: which schemas are the server's own."""

from __future__ import annotations

_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")
_SYSTEM_PREFIXES = ("pg_temp_", "pg_toast_temp_")


def is_system_schema(name: str) -> bool:
    """Return whether a schema is the server's own, or holds the temporary tables of one session.

    >>> is_system_schema("pg_temp_3"), is_system_schema("public")
    (True, False)
    """
    return name in _SYSTEM_SCHEMAS or name.startswith(_SYSTEM_PREFIXES)
