"""Symptoms: what an error text says, as SQLSTATEs and the relation it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from kit.analyze.error.text import read_error
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Source, provenance

NO_DATA = frozenset({"02000"})


@dataclass(frozen=True, slots=True)
class Symptom:
    """A case's symptom: its text, the SQLSTATEs it stands for (none: unknown), the relation it names.

    `relation_exists` is None until evidence has been looked at.
    """

    text: str
    sqlstates: frozenset[str]
    relation: str | None = None
    schema: str | None = None
    relation_exists: bool | None = None


def parse_symptom(text: str | None) -> Symptom | None:
    """Return what the error text, SQLSTATE or words say, or None where there is no symptom.

    >>> symptom = parse_symptom('ERROR: relation "app.siwe_nonces" does not exist')
    >>> symptom.sqlstates, symptom.schema, symptom.relation
    (frozenset({'42P01'}), 'app', 'siwe_nonces')
    """
    if text is None or not text.strip():
        return None
    reading = read_error(text)
    # Zero rows are no error, so no SQLSTATE stands there; the standard's own for it is "no data".
    states = reading.sqlstates or (NO_DATA if reading.trouble == "no rows" else frozenset())
    return Symptom(text, states, reading.relation, reading.schema if reading.relation else None)


COLUMNS = (
    Column("text", "string"),
    Column("sqlstates", "list[string]"),
    Column("schema_name", "string", data_class="identifier"),
    Column("relation_name", "string", data_class="identifier"),
)


def symptom_evidence(symptom: Symptom | None, at: datetime) -> Evidence:
    """Return the symptom as evidence: one row, or none where the case has no symptom."""
    rows = [(symptom.text, sorted(symptom.sqlstates), symptom.schema, symptom.relation)] if symptom else []
    about = provenance("Symptom", "one row, or none", symptom.text if symptom else "", at, 0.0, len(rows))
    return Evidence(build_frame(COLUMNS, rows), COLUMNS, about)


def located(symptom: Symptom | None, sources: Iterable[Source]) -> Symptom | None:
    """Return the symptom with the answer to: does the relation it names exist in any database looked at?"""
    frames = [source.evidence["relations"].frame for source in sources if "relations" in source.evidence]
    if symptom is None or symptom.relation is None or not frames:
        return symptom
    return replace(symptom, relation_exists=any((frame["relation_name"] == symptom.relation).any() for frame in frames))
