"""The exposed roles of a target as evidence, so that a bundle is judged the same wherever it is opened."""

from __future__ import annotations

from datetime import datetime

from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, provenance
from kit.target import DatabaseSource

EXPOSED_ROLES = "exposed_roles"
COLUMNS = (Column("role_name", "string", data_class="identifier"),)


def exposed_evidence(source: DatabaseSource, at: datetime) -> dict[str, Evidence]:
    """Return the roles that the target names as exposed, one row each and PUBLIC as "public"; nothing where it names none."""
    if source.exposed is None:
        return {}
    rows = [(name,) for name in source.exposed]
    about = provenance("Exposed roles", "one row per role", "exposed, in kit.toml", at, 0.0, len(rows))
    return {EXPOSED_ROLES: Evidence(build_frame(COLUMNS, rows), COLUMNS, about)}
