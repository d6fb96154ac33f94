"""Collecting from one PostgreSQL database: short transactions, a savepoint a query, gaps instead of failures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg
import sqlalchemy as sa

from kit.collect import masking
from kit.collect.connection import STATEMENT_SECONDS, Database, open_database
from kit.collect.queries import GROUPS, FactQuery, choose, fact_queries, probes
from kit.collect.rows import connection_evidence, dated, evidence_of, identity_of, joined, tagged
from kit.collect.secrecy import secrecy_of
from kit.errors import EvidenceMismatch
from kit.evidence.model import Cost, Evidence, Gap, GapKind, ProbeRequest, Source
from kit.target import DatabaseSource

DEADLINE_SECONDS = 120.0
TRANSACTION_SECONDS = 10.0
# After so long no further query begins in a transaction: the last one may take all that the server allows it.
BEGIN_SECONDS = TRANSACTION_SECONDS - STATEMENT_SECONDS
_RETRIED = {"XX000", "42P01", "55P03"}
_CANCELLED = "57014"
_SESSION_QUERIES = ("session", "settings")
# The driver's own too: it is the driver that turns the rows into values, behind SQLAlchemy's back.
_FAULTS = (sa.exc.SQLAlchemyError, psycopg.Error)

Asked = tuple[FactQuery, Mapping[str, str]]
Propose = Callable[[Mapping[str, pd.DataFrame]], Sequence[ProbeRequest]]
Progress = Callable[[str], None]


@dataclass(slots=True)
class _Collecting:
    """What has been collected so far; frames are built after each transaction has ended."""

    database: Database
    evidence: dict[str, Evidence] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)
    raw: dict[str, tuple[FactQuery, str, datetime, float, list[tuple[Any, ...]]]] = field(default_factory=dict)
    rows: int = 0


def collect_database(
    source: DatabaseSource,
    *,
    only: Iterable[str] | None = None,
    propose: Propose | None = None,
    progress: Progress = lambda _: None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> tuple[Source, Cost]:
    """Return what one database says as one identity, and the cost; a server that does not answer is evidence too.

    `only` limits the fact queries to these names; `propose` turns the frames of the first stage into probes.
    """
    wanted = set(fact_queries()) if only is None else _with_needed(only)
    started_at, clock = datetime.now(UTC), time.perf_counter()
    with contextlib.ExitStack() as opened:
        try:
            database = opened.enter_context(open_database(source.conninfo, deadline_seconds))
        except (psycopg.Error, sa.exc.DBAPIError) as error:
            attempt = connection_evidence(source.conninfo, started_at, time.perf_counter() - clock, error)
            gap = Gap(kind="not reached", reason="the server was not reached")
            return _source(source, {"connection": attempt}, dict.fromkeys(wanted, gap)), Cost()
        attempt = connection_evidence(source.conninfo, started_at, time.perf_counter() - clock, None)
        state = _Collecting(database, {"connection": attempt})
        _collect_all(state, wanted, propose, progress)
    cost = Cost(statements=database.statements, server_ms=round(database.server_seconds * 1000, 1), rows=state.rows)
    return _source(source, dated(state.evidence), state.gaps), cost


def _source(asked: DatabaseSource, evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap]) -> Source:
    """Return the source without secrets; masked at the end, because the probes need the names as they are."""
    identity = identity_of(evidence)
    found = Source(asked.name, "postgres", asked.vantage, identity, evidence, gaps)
    return secrecy_of([asked.conninfo], [identity]).source(found)


def _collect_all(state: _Collecting, wanted: set[str], propose: Propose | None, progress: Progress) -> None:
    """Collect; a fault on the way ends the collecting, and takes nothing of what came before it."""
    try:
        _collect(state, wanted, propose, progress)
    except _FAULTS as error:
        _build(state)
        state.gaps |= {name: _gap(error, state) for name in wanted - state.evidence.keys() - state.gaps.keys()}
        state.gaps["capture"] = _gap(error, state)


def _with_needed(names: Iterable[str]) -> set[str]:
    """Return the fact queries among the names, the session's and, where one needs an extension, that which finds it."""
    wanted = {*names, *_SESSION_QUERIES} & fact_queries().keys()
    return wanted | {"extensions"} if any(fact_queries()[name][-1].extension for name in wanted) else wanted


def _collect(state: _Collecting, wanted: set[str], propose: Propose | None, progress: Progress) -> None:
    _session(state, progress)
    for group in GROUPS:
        names = [name for name in sorted(wanted) if _group(name) == group]
        _run_group(state, _chosen(state, names), progress)
    if propose is not None:
        _run_probes(state, propose({name: e.frame for name, e in state.evidence.items()}), progress)


def _session(state: _Collecting, progress: Progress) -> None:
    """Record the session as the server gave it, in the first transaction, before anything is set."""
    queries = [fact_queries()[name][0] for name in _SESSION_QUERIES]
    _attempt(state, [(query, {}) for query in queries], settings=False, progress=progress)
    _build(state)
    settings = state.evidence.get("settings")
    if settings is not None and "data_directory" not in set(settings.frame["setting_name"]):
        # pg_settings leaves their rows out without a word; data_directory is one of them on every server.
        reason = "settings that only members of pg_read_all_settings see, such as data_directory, were hidden"
        state.gaps["settings:hidden"] = Gap(kind="not permitted", reason=reason)


def _run_group(state: _Collecting, queries: list[Asked], progress: Progress) -> None:
    retry = _attempt(state, queries, progress=progress)
    if retry:
        _attempt(state, retry, progress=progress)
    _build(state)


def _attempt(
    state: _Collecting,
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
        except _FAULTS as error:
            state.gaps |= {query.name: _gap(error, state) for query, _ in waiting if query.name not in state.gaps}
            break
    for query, _ in waiting:
        state.gaps.setdefault(query.name, _lost(state))
    return retry


def _ask(state: _Collecting, query: FactQuery, identifiers: Mapping[str, str]) -> str | None:
    """Run one query behind a savepoint, keep its rows or its gap; return the SQLSTATE if it failed."""
    text, at, clock = query.text(identifiers), datetime.now(UTC), time.perf_counter()
    try:
        with state.database.savepoint():
            rows = state.database.execute(text)
    except _FAULTS as error:
        # Not DBAPIError alone: what follows on a connection that was lost is SQLAlchemy's own PendingRollbackError.
        state.gaps[query.name] = _gap(error, state)
        return getattr(_cause(error), "sqlstate", None)
    except UnicodeError as error:
        state.gaps[query.name] = Gap(kind="failed", reason=f"text in an unknown encoding: {error}")
        return None
    state.gaps.pop(query.name, None)
    state.raw[query.name] = (query, text, at, time.perf_counter() - clock, rows)
    state.rows += len(rows)
    return None


def _build(state: _Collecting) -> None:
    """Turn the rows of the ended transaction into frames."""
    for name, (query, text, at, seconds, rows) in state.raw.items():
        try:
            state.evidence[name] = evidence_of(query, text, at, seconds, rows)
        except EvidenceMismatch as error:
            state.gaps[name] = Gap(kind="failed", reason=str(error))
    state.raw.clear()


def _run_probes(state: _Collecting, requests: Sequence[ProbeRequest], progress: Progress) -> None:
    """Run the proposed probes; the rows of one evidence name are put together, a failing probe is a gap of its own."""
    parts: dict[str, list[Evidence]] = {}
    for request in requests:
        query = probes()[request.probe][0]
        _run_group(state, [(query, request.identifiers)], progress)
        gap, found = state.gaps.pop(query.name, None), state.evidence.pop(query.name, None)
        if gap:
            state.gaps[f"{request.evidence}:{request.subject}"] = gap
        if found:
            parts.setdefault(request.evidence, []).append(tagged(found, request))
    state.evidence |= {name: joined(items) for name, items in parts.items()}


def _chosen(state: _Collecting, names: Sequence[str]) -> list[Asked]:
    extensions, schemas = _extensions(state)
    server = _server_major(state)
    chosen: list[Asked] = []
    for name in names:
        query = choose(fact_queries()[name], server, extensions)
        if query is None:
            state.gaps[name] = _unknown_extension(name, state) or _unsupported(name, server, extensions)
        else:
            chosen.append((query, schemas))
    return chosen


def _extensions(state: _Collecting) -> tuple[dict[str, str], dict[str, str]]:
    """Return the extensions' versions, and their schemas as the psql variables of the queries."""
    evidence = state.evidence.get("extensions")
    if evidence is None:
        return {}, {}
    frame = evidence.frame
    versions = dict(zip(frame["extension_name"], frame["version"], strict=True))
    schemas = {f"{name}_schema": schema for name, schema in zip(frame["extension_name"], frame["schema_name"], strict=True)}
    return versions, schemas


def _unknown_extension(name: str, state: _Collecting) -> Gap | None:
    """Return the gap of a query whose extension may be there: the list of extensions itself did not come."""
    extension, gap = fact_queries()[name][-1].extension, state.gaps.get("extensions")
    if extension is None or gap is None:
        return None
    return Gap(kind=gap.kind, reason=f"whether {extension} is installed is not known: {gap.reason}")


def _unsupported(name: str, server: int, extensions: Mapping[str, str]) -> Gap:
    oldest = fact_queries()[name][-1]
    if oldest.extension and oldest.extension not in extensions:
        return Gap(kind="unsupported", reason=f"the extension {oldest.extension} is not installed in this database")
    wants = ".".join(str(part) for part in oldest.since)
    return Gap(kind="unsupported", reason=f"needs {oldest.extension or 'PostgreSQL'} {wants}; the server is {server}")


def _server_major(state: _Collecting) -> int:
    evidence = state.evidence.get("session")
    return int(evidence.frame["server_version_number"][0]) // 10_000 if evidence is not None else 13


def _group(name: str) -> str:
    return fact_queries()[name][0].group


_KINDS: dict[str, GapKind] = {"42501": "not permitted", "57014": "timed out", "55P03": "locked", "42P01": "unsupported"}


def _gap(error: Exception, state: _Collecting) -> Gap:
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


def _lost(state: _Collecting, words: str = "") -> Gap:
    if state.database.deadline.passed:
        return Gap(kind="timed out", reason=f"the capture's deadline of {state.database.deadline.seconds:.0f} s passed")
    reason = "the connection was lost during the capture"
    return Gap(kind="not reached", reason=f"{reason}: {words}" if words else reason)
