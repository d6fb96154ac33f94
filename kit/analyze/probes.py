"""Which second-stage questions the first-stage evidence suggests."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from kit.evidence.columns import Column
from kit.evidence.model import ProbeRequest

LEDGER_TAGS = (
    Column("tool", "string"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
)


def propose(frames: Mapping[str, pd.DataFrame], known: frozenset[str]) -> list[ProbeRequest]:
    """Return a probe for every migration ledger that a known probe can read."""
    if "migration_ledgers" not in frames:
        return []
    ledgers = frames["migration_ledgers"].itertuples(index=False)
    return [_ledger_probe(row.tool, row.schema_name, row.relation_name) for row in ledgers if f"migrations_{row.tool}" in known]


def _ledger_probe(tool: str, schema: str, relation: str) -> ProbeRequest:
    return ProbeRequest(
        probe=f"migrations_{tool}",
        evidence="migrations",
        subject=f"{schema}.{relation}",
        identifiers={"ledger_schema": schema, "ledger_table": relation},
        tags=tuple(zip(LEDGER_TAGS, (tool, schema, relation), strict=True)),
    )
