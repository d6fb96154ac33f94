"""Every table a person may ask for: evidence as captured, and frames derived from it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from kit.analyze import applications, bloat, locks
from kit.analyze.access import forecast, matrix, powers
from kit.case.collecting import DECLARED
from kit.collect.cloud.frames import EVIDENCE
from kit.collect.forms.seen import SEEN
from kit.collect.pooler_frames import NAMES as POOLER
from kit.collect.queries import fact_queries
from kit.collect.services.frame import NAME as SERVICE_PROBES
from kit.errors import UsageError
from kit.evidence.model import Frames, Source

Derive = Callable[[Frames], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Derived:
    """A table made from evidence: what it is, which evidence it needs, how it is made.

    A notebook shows the columns `shown`, the greatest `order` first.
    """

    title: str
    needs: tuple[str, ...]
    derive: Derive
    order: str
    shown: tuple[str, ...]


DERIVED = {
    "bloat": Derived(
        "Estimated bloat of tables, the most wasted first",
        ("relation_sizes", "relations", "column_widths", "table_statistics"),
        bloat.estimate_heap,
        "wasted_bytes",
        ("schema_name", "relation_name", "table_bytes", "wasted_bytes", "wasted_fraction", "live_rows", "dead_rows", "reason"),
    ),
    "access_by_schema": Derived(
        "How many relations of each schema each role may read and change",
        matrix.NEEDS,
        matrix.schema_matrix,
        "allowed",
        ("role", "schema", "action", "relations", "allowed", "after_set_role", "filtered", "hidden"),
    ),
    "default_privileges_forecast": Derived(
        "What each role could do with an object that each creator makes next",
        forecast.NEEDS,
        forecast.default_privileges_forecast,
        "remedy",
        ("creator_name", "schema_name", "kind", "role_name", "privileges", "via", "can_read", "existing_of_creator", "remedy"),
    ),
    "exposed_reach": Derived(
        "What PUBLIC, anon, authenticated or the roles that kit.toml exposes can reach",
        matrix.NEEDS,
        matrix.reach,
        "role",
        ("role", "kind", "schema", "name", "action", "rows", "via"),
    ),
    "powers": Derived(
        "Which roles reach a superuser or the server's files and programs, and how",
        powers.NEEDS,
        powers.paths_to_power,
        "role_name",
        powers.COLUMNS,
    ),
    "applications": Derived(
        "Who is connected: role, database, application and address",
        ("sessions",),
        applications.applications,
        "sessions",
        ("role_name", "database_name", "application_name", "client_address", "sessions", "states", "oldest_started_at"),
    ),
    "blocked_sessions": Derived(
        "Who waits for whom, the longest first",
        ("blocking", "sessions"),
        locks.blocked_sessions,
        "waiting_seconds",
        tuple(column.name for column in locks.COLUMNS),
    ),
}


def evidence_for(table: str) -> tuple[str, ...]:
    """Return the evidence that a table is made of; UsageError with the nearest name if there is no such table."""
    if table in DERIVED:
        return DERIVED[table].needs
    if table in fact_queries() or table in CLOUD or table in _OTHER:
        return (table,)
    if table == "changes":
        return ("session", "statements_info", "migration_ledgers")
    names = table_names()
    near = difflib.get_close_matches(table, names, 1)
    raise UsageError(f"There is no table {table!r}.", f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}.")


def queries_for(table: str) -> tuple[str, ...]:
    """Return the fact queries that must be asked of a live target for this table; probes follow from their answers."""
    if table == "migrations":
        return ("migration_ledgers",)
    if table in (*ELSEWHERE, *POOLER, *DECLARED, SERVICE_PROBES):
        return (table,)
    return tuple(name for name in evidence_for(table) if name in fact_queries())


def table_names() -> list[str]:
    """Return the name of every table, sorted."""
    return sorted({*DERIVED, *fact_queries(), *CLOUD, *_OTHER, "changes"})


def table(name: str, sources: Iterable[Source]) -> pd.DataFrame:
    """Return a table over all sources that have it, with a `source` column in front where there are several.

    Raises UsageError saying why where no source has it.
    """
    found, reasons = [], []
    for source in sources:
        missing = [need for need in evidence_for(name) if need not in source.evidence]
        if missing:
            reasons += [f"{source.name}: {source.gaps[need].reason}" for need in missing if need in source.gaps]
        else:
            found.append((source.name, _frame(name, source)))
    if not found:
        raise UsageError(f"{name} was not captured: {'; '.join(reasons) or 'no source holds it'}.", "See what was not examined.")
    if len(found) == 1:
        return found[0][1]
    return pd.concat([frame.assign(source=source) for source, frame in found], ignore_index=True)


def _frame(name: str, source: Source) -> pd.DataFrame:
    if name in DERIVED:
        return DERIVED[name].derive(Frames(source))
    return source.evidence[name].frame


CLOUD = EVIDENCE
# What the other databases of the instance hold.
ELSEWHERE = ("other_databases", "relations_elsewhere", "ledgers_elsewhere")
# No fact queries: every attempt to connect is evidence, the probes read the ledgers that a fact query has found, and a
# collector in a job looks at what the service sees.
_OTHER = ("connection", "connection_steps", "migrations", "exposed_roles", *ELSEWHERE, *SEEN, *POOLER, *DECLARED, SERVICE_PROBES)
