"""Collecting from one PostgreSQL database: which queries are asked, in which order, and what of it becomes evidence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa

from kit.collect.asking import FAULTS, Asked, Collecting, Progress, Propose, ask_all, build, gap_of, run_group, run_probes
from kit.collect.attempt import attempt
from kit.collect.connection import open_database
from kit.collect.connector_faults import WAY_CLOSED
from kit.collect.elsewhere import COLUMNS as ELSEWHERE
from kit.collect.elsewhere import collect_elsewhere, total
from kit.collect.exposed import exposed_evidence
from kit.collect.queries import GROUPS, choose, fact_queries
from kit.collect.rows import connection_evidence, dated, identity_of, refused_evidence
from kit.collect.secrecy import secrecy_of
from kit.errors import CaptureError
from kit.evidence.model import Cost, Evidence, Gap, Source
from kit.target import DatabaseSource

DEADLINE_SECONDS = 120.0
_NOT_REACHED = Gap(kind="not reached", reason="the server was not reached")
_SESSION_QUERIES = ("session", "settings")


def collect_database(
    source: DatabaseSource,
    *,
    only: Iterable[str] | None = None,
    propose: Propose | None = None,
    progress: Progress = lambda _: None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> tuple[Source, Cost]:
    """Return what one database says as one identity, and the cost; a server that does not answer is evidence too.

    `only` limits the fact queries to these names; `propose` turns the frames of the first stage into probes. The
    instance's other databases are asked where all is wanted, or one of their frames.
    """
    names = None if only is None else set(only)
    wanted = set(fact_queries()) if names is None else _with_needed(names)
    started_at, clock = datetime.now(UTC), time.perf_counter()
    with contextlib.ExitStack() as opened:
        try:
            database = opened.enter_context(open_database(source.conninfo, deadline_seconds))
        # A control character in a connection string, or a server's words in another encoding, end in a UnicodeError.
        except (psycopg.Error, sa.exc.DBAPIError, UnicodeError) as error:
            found = refused_evidence(source.conninfo, started_at, time.perf_counter() - clock, error)
            return _source(source, found, dict.fromkeys(wanted, _NOT_REACHED)), Cost()
        made = connection_evidence(source.conninfo, started_at, time.perf_counter() - clock, None)
        state = Collecting(database, {"connection": made})
        _collect_all(state, wanted, propose, progress)
        is_lost = database.is_lost
    # Only now: the kit holds one connection at a time.
    if "session" in wanted and "session" not in state.evidence:
        state.evidence["connection_steps"] = attempt(source.conninfo)
    if names is not None and not names & ELSEWHERE.keys():
        return _source(source, dated(state.evidence), state.gaps), state.cost
    progress("Other databases")
    elsewhere = collect_elsewhere(source.conninfo, state.evidence, state.gaps, propose, is_lost=is_lost)
    evidence, gaps = {**dated(state.evidence), **elsewhere.evidence}, {**state.gaps, **elsewhere.gaps}
    return _source(source, evidence, gaps), total([state.cost, elsewhere.cost])


def not_reached(source: DatabaseSource, error: CaptureError, only: Iterable[str] | None = None) -> Source:
    """Return a source that was never asked, because the way there (a tunnel, a token, a command) did not open."""
    words = f"{WAY_CLOSED}: {error.message} {error.hint or ''}".strip()
    made = connection_evidence(source.conninfo, datetime.now(UTC), 0.0, psycopg.OperationalError(words))
    wanted = set(fact_queries()) if only is None else _with_needed(only)
    return _source(source, {"connection": made}, dict.fromkeys(wanted, Gap(kind="not reached", reason=words)))


def _source(asked: DatabaseSource, evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap]) -> Source:
    """Return the source without secrets; masked at the end, because the probes need the names as they are."""
    identity = identity_of(evidence)
    evidence = {**evidence, **exposed_evidence(asked, evidence["connection"].provenance.at)}
    found = Source(asked.name, "postgres", asked.vantage, identity, evidence, gaps)
    return secrecy_of([asked.conninfo], [identity]).source(found)


def _collect_all(state: Collecting, wanted: set[str], propose: Propose | None, progress: Progress) -> None:
    """Collect; a fault on the way ends the collecting, and takes nothing of what came before it."""
    try:
        _collect(state, wanted, propose, progress)
    except FAULTS as error:
        build(state)
        state.gaps |= {name: gap_of(error, state) for name in wanted - state.evidence.keys() - state.gaps.keys()}
        state.gaps["capture"] = gap_of(error, state)


def _with_needed(names: Iterable[str]) -> set[str]:
    """Return the fact queries among the names, the session's and, where one needs an extension, that which finds it."""
    asked = set(names)
    wanted = {*asked, *_SESSION_QUERIES, *(["databases"] if asked & ELSEWHERE.keys() else [])} & fact_queries().keys()
    return wanted | {"extensions"} if any(fact_queries()[name][-1].extension for name in wanted) else wanted


def _collect(state: Collecting, wanted: set[str], propose: Propose | None, progress: Progress) -> None:
    _session(state, progress)
    for group in GROUPS:
        names = [name for name in sorted(wanted) if _group(name) == group]
        run_group(state, _chosen(state, names), progress)
    if propose is not None:
        run_probes(state, propose({name: e.frame for name, e in state.evidence.items()}), progress)


def _session(state: Collecting, progress: Progress) -> None:
    """Record the session as the server gave it, in the first transaction, before anything is set."""
    queries = [fact_queries()[name][0] for name in _SESSION_QUERIES]
    ask_all(state, [(query, {}) for query in queries], settings=False, progress=progress)
    build(state)
    settings = state.evidence.get("settings")
    if settings is not None and "data_directory" not in set(settings.frame["setting_name"]):
        # pg_settings leaves their rows out without a word; data_directory is one of them on every server.
        reason = "settings that only members of pg_read_all_settings see, such as data_directory, were hidden"
        state.gaps["settings:hidden"] = Gap(kind="not permitted", reason=reason)


def _chosen(state: Collecting, names: Sequence[str]) -> list[Asked]:
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


def _extensions(state: Collecting) -> tuple[dict[str, str], dict[str, str]]:
    """Return the extensions' versions, and their schemas as the psql variables of the queries."""
    evidence = state.evidence.get("extensions")
    if evidence is None:
        return {}, {}
    frame = evidence.frame
    versions = dict(zip(frame["extension_name"], frame["version"], strict=True))
    schemas = {f"{name}_schema": schema for name, schema in zip(frame["extension_name"], frame["schema_name"], strict=True)}
    return versions, schemas


def _unknown_extension(name: str, state: Collecting) -> Gap | None:
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


def _server_major(state: Collecting) -> int:
    evidence = state.evidence.get("session")
    return int(evidence.frame["server_version_number"][0]) // 10_000 if evidence is not None else 13


def _group(name: str) -> str:
    return fact_queries()[name][0].group
