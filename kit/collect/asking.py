"""Asking one open database: short transactions, a savepoint a query, gaps instead of failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg
import sqlalchemy as sa

from kit.collect import masking
from kit.collect.connection import STATEMENT_SECONDS, Database
from kit.collect.queries import FactQuery, probes
from kit.collect.rows import evidence_of, joined, tagged
from kit.errors import EvidenceMismatch
from kit.evidence.model import Cost, Evidence, Gap, GapKind, ProbeRequest

TRANSACTION_SECONDS = 10.0
# After so long no further query begins in a transaction: the last one may take all that the server allows it.
BEGIN_SECONDS = TRANSACTION_SECONDS - STATEMENT_SECONDS
_RETRIED = {"XX000", "42P01", "55P03"}
_CANCELLED = "57014"
# The driver's own too: it is the driver that turns the rows into values, behind SQLAlchemy's back.
FAULTS = (sa.exc.SQLAlchemyError, psycopg.Error)

Asked = tuple[FactQuery, Mapping[str, str]]
Propose = Callable[[Mapping[str, pd.DataFrame]], Sequence[ProbeRequest]]
Progress = Callable[[str], None]


@dataclass(slots=True)
class Collecting:
    """What has been collected so far; frames are built after each transaction has ended."""

    database: Database
    evidence: dict[str, Evidence] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)
    raw: dict[str, tuple[FactQuery, str, datetime, float, list[tuple[Any, ...]]]] = field(default_factory=dict)
    rows: int = 0

    @property
    def cost(self) -> Cost:
        """What the asking has cost so far."""
        seconds = self.database.server_seconds
        return Cost(statements=self.database.statements, server_ms=round(seconds * 1000, 1), rows=self.rows)


def run_group(state: Collecting, queries: list[Asked], progress: Progress) -> None:
    """Run the queries, those that a second try may help twice, and turn their rows into frames."""
    retry = ask_all(state, queries, progress=progress)
    if retry:
        ask_all(state, retry, progress=progress)
    build(state)


def ask_all(
    state: Collecting,
    queries: Sequence[Asked],
    *,
    progress: Progress,
    settings: bool = True,
) -> list[Asked]:
    """Run the queries in transactions of at most ten seconds; return those worth one more try."""
    retry, waiting = [], list(queries)
    while waiting and not state.database.is_lost:
        clock = time.perf_counter()
        try:
            with state.database.transaction(settings=settings):
                asked = 0
                # One at least, however slow the settings were: else nothing would ever be asked.
                while waiting and (asked == 0 or time.perf_counter() - clock < BEGIN_SECONDS):
                    item = waiting.pop(0)
                    asked += 1
                    progress(item[0].title)
                    sqlstate = _ask(state, *item)
                    if sqlstate in _RETRIED:
                        retry.append(item)
                    # After a cancelled query its transaction's time is used up.
                    if sqlstate == _CANCELLED or state.database.is_lost:
                        break
        except FAULTS as error:
            state.gaps |= {query.name: gap_of(error, state) for query, _ in waiting if query.name not in state.gaps}
            break
    for query, _ in waiting:
        state.gaps.setdefault(query.name, _lost(state))
    return retry


def _ask(state: Collecting, query: FactQuery, identifiers: Mapping[str, str]) -> str | None:
    """Run one query behind a savepoint, keep its rows or its gap; return the SQLSTATE if it failed."""
    text, at, clock = query.text(identifiers), datetime.now(UTC), time.perf_counter()
    try:
        with state.database.savepoint():
            rows = state.database.execute(text)
    except FAULTS as error:
        # Not DBAPIError alone: what follows on a connection that was lost is SQLAlchemy's own PendingRollbackError.
        state.gaps[query.name] = gap_of(error, state)
        return getattr(_cause(error), "sqlstate", None)
    except UnicodeError as error:
        state.gaps[query.name] = Gap(kind="failed", reason=f"text in an unknown encoding: {error}")
        return None
    state.gaps.pop(query.name, None)
    state.raw[query.name] = (query, text, at, time.perf_counter() - clock, rows)
    state.rows += len(rows)
    return None


def build(state: Collecting) -> None:
    """Turn the rows of the ended transaction into frames."""
    for name, (query, text, at, seconds, rows) in state.raw.items():
        try:
            state.evidence[name] = evidence_of(query, text, at, seconds, rows)
        except EvidenceMismatch as error:
            state.gaps[name] = Gap(kind="failed", reason=str(error))
    state.raw.clear()


def run_probes(state: Collecting, requests: Sequence[ProbeRequest], progress: Progress) -> None:
    """Run the proposed probes; the rows of one evidence name are put together, a failing probe is a gap of its own."""
    parts: dict[str, list[Evidence]] = {}
    for request in requests:
        query = probes()[request.probe][0]
        run_group(state, [(query, request.identifiers)], progress)
        gap, found = state.gaps.pop(query.name, None), state.evidence.pop(query.name, None)
        if gap:
            state.gaps[f"{request.evidence}:{request.subject}"] = gap
        if found:
            parts.setdefault(request.evidence, []).append(tagged(found, request))
    state.evidence |= {name: joined(items) for name, items in parts.items()}


_KINDS: dict[str, GapKind] = {"42501": "not permitted", "57014": "timed out", "55P03": "locked", "42P01": "unsupported"}


def gap_of(error: Exception, state: Collecting) -> Gap:
    """Return what an error means for the evidence: the server's own words, without secrets."""
    cause = _cause(error)
    sqlstate = getattr(cause, "sqlstate", None)
    if state.database.is_lost:
        return _lost(state, _words(cause) if sqlstate else "")
    words = _words(cause or error)
    return Gap(kind=_KINDS.get(sqlstate or "", "failed"), reason=f"{words} ({sqlstate})" if sqlstate else words)


def _cause(error: Exception) -> Any:
    return error if isinstance(error, psycopg.Error) else getattr(error, "orig", None)


def _words(error: Any) -> str:
    return masking.message(getattr(getattr(error, "diag", None), "message_primary", None) or str(error))


def _lost(state: Collecting, words: str = "") -> Gap:
    if state.database.deadline.passed:
        return Gap(kind="timed out", reason=f"the capture's deadline of {state.database.deadline.seconds:.0f} s passed")
    reason = "the connection was lost during the capture"
    return Gap(kind="not reached", reason=f"{reason}: {words}" if words else reason)
