"""What every session of a role begins with, besides its search_path: settings that stop writes or make it another role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explanation import Gate, Remedy
from kit.analyze.findings import quoted

WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE", "CREATE"})
_TRUE = frozenset({"on", "true", "yes", "1"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that sessions begin with, and the statement that set it, without its value."""

    value: str
    statement: str


def setting_of(catalog: Catalog, role: str, name: str) -> Setting | None:
    """Return what was set for the role here: in a database before the role, the role before the database, that before all."""
    records: Mapping[tuple[Any, ...], list[dict[str, Any]]] = catalog.indexed(
        "role_settings", "setting_name", "role_name", "database_name"
    )
    here = catalog.access.database
    places = (
        (role, here, f"alter role {quoted(role)} in database {quoted(here)}"),
        (role, None, f"alter role {quoted(role)}"),
        (None, here, f"alter database {quoted(here)}"),
        (None, None, "alter role all"),
    )
    for role_name, database_name, statement in places:
        found = records.get((name, role_name, database_name))
        if found:
            return Setting(str(found[0]["setting_value"]), statement)
    return None


def stopped(catalog: Catalog, role: str, action: str) -> Gate | None:
    """Return the gate where a session of the role cannot do this, whatever its privileges; None where nothing is set so."""
    own = setting_of(catalog, role, "role")
    if own and own.value not in ("none", role):
        because = f"its sessions begin as {quoted(own.value)} ({own.statement} set role): ask about that role"
        return Gate("connect", "unknown", because)
    if action not in WRITES:
        return None
    if catalog.frames.identity and catalog.frames.identity.in_recovery:
        return Gate("connect", "failed", "this server is a standby, which takes no writes (25006): connect to the primary")
    read_only = setting_of(catalog, role, "default_transaction_read_only")
    if read_only and read_only.value.lower() in _TRUE:
        because = f"its transactions begin read-only ({read_only.statement} set default_transaction_read_only), error 25006"
        remedy = Remedy(
            f"{read_only.statement} reset default_transaction_read_only",
            "whoever may alter that role or database, or a superuser",
            "writes in every new session that it holds for",
        )
        return Gate("connect", "failed", because, remedy)
    return None
