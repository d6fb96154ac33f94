"""What a service's network reaches, as far as its template tells."""

from __future__ import annotations

import re

from kit.analyze.cloud.connections import DATABASE_NAME, Connection
from kit.analyze.cloud.scope import in_force
from kit.evidence.model import Frames

_SCHEMES = re.compile(r"postgres|mysql|mariadb|sqlserver|mssql|cockroach|prisma", re.IGNORECASE)


def is_in_a_vpc(frames: Frames, service: str | None) -> bool:
    """Return whether the service's template has a connector or a network interface of its own."""
    own = (row for _, row in in_force(frames, "runtime_settings") if row["service_name"] == service)
    return any(row["value"] for row in own if row["setting"] in ("VPC connector", "network interfaces"))


def is_database(found: Connection) -> bool:
    """Return whether the variable leads to the database, by its scheme or its name, and not to another service."""
    if found.scheme is not None:
        return _SCHEMES.match(found.scheme) is not None
    return found.row["value_shape"] == "connection string" or DATABASE_NAME.search(found.variable) is not None
