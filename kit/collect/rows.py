"""From rows to evidence: what the kit itself did is left out, values are masked, provenance is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd

from kit.collect import masking
from kit.collect.attempt import attempt
from kit.collect.connection import APPLICATION_NAME, parameters
from kit.collect.queries import MARKER, FactQuery
from kit.collect.secrecy import secrecy_of
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Identity, ProbeRequest, provenance

# A frame of more rows would not fit the machine of whoever investigates; the evidence says that it was cut.
ROW_LIMIT = 1_000_000

CONNECTION_COLUMNS = (
    Column("is_connected", "boolean"),
    Column("message", "string"),
    Column("host", "string", data_class="identifier"),
    Column("port", "string"),
    Column("database_name", "string", data_class="identifier"),
    Column("user_name", "string", data_class="identifier"),
    Column("seconds", "Float64", "s"),
)


def evidence_of(query: FactQuery, text: str, at: datetime, seconds: float, rows: list[tuple[Any, ...]]) -> Evidence:
    """Return the rows as evidence: without the kit's own sessions and statements, masked as the columns declare."""
    kept = _without_own(query, rows[:ROW_LIMIT])
    frame = build_frame(query.columns, masking.masked(query.columns, kept))
    about = provenance(query.title, query.grain, text, at, seconds, len(kept))
    return Evidence(frame, query.columns, about.model_copy(update={"truncated": len(rows) > ROW_LIMIT}))


def _without_own(query: FactQuery, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave out the kit's own sessions and statements."""
    names = [column.name for column in query.columns]
    if "application_name" in names:
        position = names.index("application_name")
        rows = [row for row in rows if row[position] != APPLICATION_NAME]
    if "statement" in names:
        position = names.index("statement")
        rows = [row for row in rows if f"/* {MARKER} " not in str(row[position])]
    return rows


def connection_evidence(conninfo: str, at: datetime, seconds: float, error: Exception | None) -> Evidence:
    """Return the attempt to connect as evidence: one row, without any secret."""
    given = parameters(conninfo)
    # Not every place where its letters stand: a short password would cut the server's own words to pieces, and show itself.
    words = "" if error is None else masking.message(secrecy_of([conninfo]).text(str(getattr(error, "orig", error))))
    row = (error is None, words or None, given.get("host"), given.get("port"), given.get("dbname"), given.get("user"), seconds)
    text = f"connect to {given.get('host', 'the default host')} as {given.get('user', 'the default user')}"
    about = provenance("Connection", "one row per attempt", text, at, seconds, 1)
    return Evidence(build_frame(CONNECTION_COLUMNS, [row]), CONNECTION_COLUMNS, about)


def refused_evidence(conninfo: str, at: datetime, seconds: float, error: Exception) -> dict[str, Evidence]:
    """Return a failed attempt as evidence: the attempt itself, and where it failed, tried again step by step (8 s at most)."""
    return {
        "connection": connection_evidence(conninfo, at, seconds, error),
        "connection_steps": attempt(conninfo, error),
    }


def identity_of(evidence: Mapping[str, Evidence]) -> Identity | None:
    """Return who asked and which server answered, as the session said before anything was set; None if it did not."""
    if "session" not in evidence:
        return None
    row = evidence["session"].frame.iloc[0]
    return Identity(
        user=row["user_name"],
        session_user=row["session_user_name"],
        database=row["database_name"],
        server_version=int(row["server_version_number"]),
        server_version_text=row["server_version_text"],
        server=_server(row["server_address"], row["server_port"]),
        is_superuser=row["is_superuser_text"] == "on",
        in_recovery=bool(row["is_in_recovery"]),
        search_path=row["search_path"],
        visible_schemas=list(row["visible_schemas"]),
    )


def _server(address: Any, port: Any) -> str:
    return "local socket" if pd.isna(address) else f"{address}:{port}"


def dated(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Return the evidence, cumulative counters with the time since when they run, where the server tells."""
    since = {name: _since(evidence.get(origin)) for name, origin in _COUNTED_SINCE.items() if name in evidence}
    return {**evidence, **{name: _with_since(evidence[name], at) for name, at in since.items()}}


_COUNTED_SINCE = {"table_statistics": "databases", "indexes": "databases", "statements": "statements_info"}


def _since(origin: Evidence | None) -> datetime | None:
    if origin is None:
        return None
    frame = origin.frame[origin.frame["is_current"]] if "is_current" in origin.frame else origin.frame
    resets = frame["statistics_reset_at"].dropna()
    return resets.iloc[0].to_pydatetime() if len(resets) else None


def _with_since(evidence: Evidence, since: datetime | None) -> Evidence:
    return replace(evidence, provenance=evidence.provenance.model_copy(update={"statistics_since": since}))


def tagged(evidence: Evidence, request: ProbeRequest) -> Evidence:
    """Return a probe's evidence with the request's tags as columns in front."""
    columns = (*(column for column, _ in request.tags), *evidence.columns)
    values = tuple(value for _, value in request.tags)
    rows = [(*values, *row) for row in evidence.frame.astype(object).where(evidence.frame.notna(), None).itertuples(index=False)]
    return Evidence(build_frame(columns, rows), columns, evidence.provenance)


def joined(items: Sequence[Evidence]) -> Evidence:
    """Return several probes' evidence as one; its text is that of all of them."""
    first = items[0].provenance
    frame = pd.concat([item.frame for item in items], ignore_index=True)
    texts = ";\n".join(dict.fromkeys(item.provenance.text for item in items))
    return Evidence(frame, items[0].columns, provenance(first.title, first.grain, texts, first.at, first.seconds, len(frame)))
