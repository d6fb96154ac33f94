"""The other databases of the instance: which relations and migration ledgers they hold.

Catalogs are per database, so a relation that "does not exist" may well exist next door. Each database is asked as the
first one is (READ ONLY, limits for the transaction alone), one after the other, and never while the first is open.
One that refuses is a row that says so and no gap: on every Cloud SQL there is one that lets nobody in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from psycopg.conninfo import make_conninfo

from kit.collect import masking
from kit.collect.asking import FAULTS, Collecting, Propose, run_group, run_probes
from kit.collect.connection import open_database
from kit.collect.queries import elsewhere_queries, fact_queries
from kit.collect.rows import ROW_LIMIT
from kit.collect.secrecy import secrecy_of
from kit.evidence.columns import Column, build_frame, conform, empty_frame
from kit.evidence.model import Cost, Evidence, Gap, provenance

MAXIMUM_DATABASES = 20
TOTAL_SECONDS = 20.0
DATABASE_SECONDS = 8.0
CONNECT_SECONDS = 3

_DATABASE = Column("database_name", "string", data_class="identifier")
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "other_databases": (_DATABASE, Column("status", "string"), Column("reason", "string")),
    "relations_elsewhere": (_DATABASE, *elsewhere_queries()["relations_elsewhere"][0].columns),
    "ledgers_elsewhere": (
        _DATABASE,
        Column("schema_name", "string", data_class="identifier"),
        Column("relation_name", "string", data_class="identifier"),
        Column("tool", "string"),
        Column("last_migration", "string", data_class="identifier"),
        Column("last_at", "datetime64[us, UTC]"),
    ),
}
_TITLES = {
    "other_databases": ("Other databases", "one row per other database that takes connections and is no template"),
    "relations_elsewhere": (
        "Relations of the other databases",
        "one row per table, view, materialized view, foreign table and sequence of another database",
    ),
    "ledgers_elsewhere": ("Migration ledgers of the other databases", "one row per ledger of a migration tool"),
}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the other databases say, or why nothing of it came, and what the asking cost."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one other database said: its status, and the evidence of its own queries by name."""

    database: str
    status: str
    reason: str | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


def collect_elsewhere(
    conninfo: str, evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap], propose: Propose | None, *, is_lost: bool = False
) -> Elsewhere:
    """Return what the instance's other databases hold, given what the first one has said.

    Without the list of databases the three frames are gaps; `is_lost` says that the server is gone, and nobody is asked.
    """
    missing = next((gap for name in ("databases", "session") if (gap := gaps.get(name))), None)
    if missing is not None or "databases" not in evidence or "session" not in evidence:
        kind, reason = (missing.kind, missing.reason) if missing else ("not given", "the databases were not asked for")
        return Elsewhere(gaps=dict.fromkeys(COLUMNS, Gap(kind=kind, reason=f"which databases there are is not known: {reason}")))
    at, clock = datetime.now(UTC), time.perf_counter()
    answers = list(_answers(conninfo, evidence, propose, is_lost))
    found = put_together(answers, evidence, at, time.perf_counter() - clock)
    return Elsewhere(found, cost=total([answer.cost for answer in answers]))


def put_together(
    answers: Sequence[Answer], evidence: Mapping[str, Evidence], at: datetime, seconds: float
) -> Mapping[str, Evidence]:
    """Return the three frames that the other databases' answers make, given the evidence of the first one."""
    return {name: _evidence(name, answers, evidence, at, seconds) for name in COLUMNS}


def total(costs: Sequence[Cost]) -> Cost:
    """Return the sum of what several askings cost."""
    return Cost(
        statements=sum(cost.statements for cost in costs),
        server_ms=round(sum(cost.server_ms for cost in costs), 1),
        rows=sum(cost.rows for cost in costs),
    )


def _answers(conninfo: str, evidence: Mapping[str, Evidence], propose: Propose | None, is_lost: bool) -> Iterator[Answer]:
    end = time.monotonic() + TOTAL_SECONDS
    for position, name in enumerate(others(evidence["databases"].frame)):
        left = end - time.monotonic()
        if is_lost:
            yield Answer(name, "not asked", "the connection to the first database was lost")
        elif position >= MAXIMUM_DATABASES:
            yield Answer(name, "not asked", f"no more than {MAXIMUM_DATABASES} other databases are asked")
        elif left <= CONNECT_SECONDS:
            yield Answer(name, "not asked", f"the {TOTAL_SECONDS:.0f} s for the other databases were used up")
        else:
            yield _asked(name, conninfo, min(left, DATABASE_SECONDS), evidence["session"].frame.iloc[0], propose)


def others(databases: pd.DataFrame) -> list[str]:
    """Return the names of the databases that could be asked too."""
    found = databases[databases["allows_connections"] & ~databases["is_template"] & ~databases["is_current"]]
    return sorted(found["database_name"])


def _asked(name: str, conninfo: str, seconds: float, here: pd.Series, propose: Propose | None) -> Answer:
    """Return the answer of one database; what it refuses, or whatever goes wrong on the way, is its own affair."""
    state = None
    try:
        there = make_conninfo(conninfo, dbname=name, connect_timeout=CONNECT_SECONDS)
        with open_database(there, seconds) as database:
            state = Collecting(database)
            reason = _read(state, name, here, propose)
    except FAULTS as error:
        reason = masking.message(secrecy_of([conninfo]).text(str(getattr(error, "orig", None) or error)))
    cost = state.cost if state else Cost()
    if reason is not None or state is None:
        return Answer(name, "refused", reason, cost=cost)
    return Answer(name, "read", None, state.evidence, cost)


def _read(state: Collecting, name: str, here: pd.Series, propose: Propose | None) -> str | None:
    """Read the database into the state; return why it does not count, if it does not."""
    queries = [fact_queries()["session"], elsewhere_queries()["relations_elsewhere"], fact_queries()["migration_ledgers"]]
    run_group(state, [(query, {}) for (query,) in queries], lambda _: None)
    missing = next((gap.reason for gap in state.gaps.values()), None)
    if missing is not None:
        return missing
    there = state.evidence["session"].frame.iloc[0]
    if there["database_name"] != name or there["server_started_at"] != here["server_started_at"]:
        # A pooler's name may lead anywhere.
        return "another database or another server answered under this name"
    if propose is not None:
        run_probes(state, propose({"migration_ledgers": state.evidence["migration_ledgers"].frame}), lambda _: None)
    return None


def _evidence(name: str, answers: Sequence[Answer], evidence: Mapping[str, Evidence], at: datetime, seconds: float) -> Evidence:
    frame, text = _FRAMES[name](answers), "\n".join(dict.fromkeys(_texts(name, answers, evidence)))
    about = provenance(*_TITLES[name], text, at, seconds, min(len(frame), ROW_LIMIT))
    is_cut = len(frame) > ROW_LIMIT or any(item.provenance.truncated for answer in answers for item in answer.evidence.values())
    columns = COLUMNS[name]
    return Evidence(frame.head(ROW_LIMIT), columns, about.model_copy(update={"truncated": is_cut}))


def _texts(name: str, answers: Sequence[Answer], evidence: Mapping[str, Evidence]) -> Iterator[str]:
    """Yield the statements behind a frame, as they were sent."""
    if name == "other_databases":
        yield evidence["databases"].provenance.text
    origins = ("migration_ledgers", "migrations") if name == "ledgers_elsewhere" else (name,)
    for answer in answers:
        yield from (answer.evidence[origin].provenance.text for origin in origins if origin in answer.evidence)


def _statuses(answers: Sequence[Answer]) -> pd.DataFrame:
    rows = [(answer.database, answer.status, answer.reason) for answer in answers]
    return build_frame(COLUMNS["other_databases"], rows)


def _relations(answers: Sequence[Answer]) -> pd.DataFrame:
    columns = COLUMNS["relations_elsewhere"]
    parts = [_named(answer) for answer in answers if answer.status == "read"]
    filled = [part for part in parts if len(part)]
    return conform(pd.concat(filled, ignore_index=True), columns) if filled else empty_frame(columns)


def _named(answer: Answer) -> pd.DataFrame:
    frame = answer.evidence["relations_elsewhere"].frame
    return frame.assign(database_name=answer.database)[[column.name for column in COLUMNS["relations_elsewhere"]]]


def _ledgers(answers: Sequence[Answer]) -> pd.DataFrame:
    return build_frame(
        COLUMNS["ledgers_elsewhere"], [row for answer in answers if answer.status == "read" for row in _ledger_rows(answer)]
    )


def _ledger_rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    """Yield the ledgers of a database, each with what was applied last; None where it could not be read or says nothing."""
    last = _last_applied(answer.evidence["migrations"].frame) if "migrations" in answer.evidence else {}
    for row in answer.evidence["migration_ledgers"].frame.itertuples(index=False):
        key = (row.schema_name, row.relation_name, row.tool)
        yield (answer.database, *key, *last.get(key, (None, None)))


def _last_applied(entries: pd.DataFrame) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    applied = entries[entries["rolled_back_at"].isna() & ~entries["is_failed"].fillna(False)]
    times = applied["finished_at"].fillna(applied["started_at"])
    keys = zip(applied["schema_name"], applied["relation_name"], applied["tool"], strict=True)
    values = zip(applied["migration_name"], (None if pd.isna(at) else at for at in times), strict=True)
    # The probes sort by when, so far as a ledger knows it, and of equal keys the last stays.
    return dict(zip(keys, values, strict=True))


_FRAMES = {"other_databases": _statuses, "relations_elsewhere": _relations, "ledgers_elsewhere": _ledgers}
