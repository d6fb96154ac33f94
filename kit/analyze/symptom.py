"""Symptoms: what an error text says, as SQLSTATEs and the relation it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Source, provenance

# Messages of PostgreSQL (backend/po, untranslated) and of libpq, and the SQLSTATE each belongs to.
_MESSAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?<!of )relation .+ does not exist|table (?:.+ )?does(?: not|n't) exist|undefined_table|no such table", ("42P01",)),
    (r"column .+ does not exist", ("42703",)),
    (r"schema .+ does not exist", ("3F000",)),
    (r"function .+ does not exist", ("42883",)),
    (r"database .+ does not exist", ("3D000",)),
    (r"role .+ does not exist|password authentication failed", ("28P01", "28000")),
    (r"no pg_hba\.conf entry|not permitted to log in", ("28000",)),
    (r"permission denied|must be owner", ("42501",)),
    (r"row-level security|row level security", ("42501",)),
    (r"too many (clients|connections)|connection slots", ("53300",)),
    (r"connection (?:.* )?refused|could not connect|no such file or directory", ("08006", "08001")),
    (r"is not reachable|timed out|timeout expired", ("08006", "08001")),
    (r"starting up|shutting down|recovery mode", ("57P03",)),
    (r"statement timeout|canceling statement|slow|takes too long|hangs?\b", ("57014",)),
    (r"\b(?:database|db|connection|query|request)s? (?:has )?time(?:d )?-?outs?\b|\btimeouts?\b", ("57014", "08006")),
    (r"lock timeout|could not obtain lock", ("55P03",)),
    (r"deadlock", ("40P01",)),
    (r"no space left|disk full", ("53100",)),
)
KNOWN = frozenset(state for _, states in _MESSAGES for state in states)
# Five characters alone may be a port, a duration or an order's number: unknown ones count only after the word
# SQLSTATE, or as the whole text.
_BARE = re.compile(r"\b[0-9A-Z]{5}\b")
_NAME = r"""(?:"([^"]+)"|`([^`]+)`|'([^']+)'|(?!(?:does|is|was|not|or)\b)([\w$.]+))"""
_RELATION = re.compile(rf"(?:relation|table)\s+{_NAME}", re.IGNORECASE)


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
    stated = _stated(text)
    worded = {state for pattern, states in _MESSAGES if re.search(pattern, text, re.IGNORECASE) for state in states}
    schema, relation = _named_relation(text)
    return Symptom(text, frozenset(stated | worded), relation, schema)


def _stated(text: str) -> set[str]:
    known = KNOWN & set(_BARE.findall(text))
    explicit = set(re.findall(r"\bSQLSTATE\W{0,3}([0-9A-Z]{5})\b", text))
    whole = {text.strip()} if re.fullmatch(r"(?=.*\d)[0-9A-Z]{5}", text.strip()) else set()
    return {*known, *explicit, *whole}


def _named_relation(text: str) -> tuple[str | None, str | None]:
    match = _RELATION.search(text)
    name = next((group for group in match.groups() if group), "") if match else ""
    schema, _, relation = name.rpartition(".")
    return schema or None, relation or None


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
