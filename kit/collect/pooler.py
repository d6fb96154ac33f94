"""A pooler's own view of its pools, from its admin console (PgBouncer 1.12 to 1.25).

The console is no database: it knows the simple protocol alone, no transaction and no setting, and answers each SHOW
from its memory. Nothing is sent but SHOW, so nothing stays behind; addresses of clients are not kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from kit.collect import masking
from kit.collect.connection import APPLICATION_NAME, CONNECT_TIMEOUT_SECONDS, NETWORK, Deadline, parameters, remember_password
from kit.collect.pooler_frames import CONSOLE, FRAMES, PoolerFrame, Row, login_waits
from kit.collect.rows import connection_evidence, refused_evidence
from kit.collect.secrecy import secrecy_of
from kit.errors import EvidenceMismatch
from kit.evidence.columns import build_frame
from kit.evidence.model import Cost, Evidence, Gap, GapKind, Source, provenance
from kit.target.poolers import PoolerSource

DEADLINE_SECONDS = 10.0
_REFUSALS = ("not allowed", "admin access needed")
# Whom the console lets in has nothing to do with the application's own login.
_LOGIN = re.compile(
    r"not allowed|password authentication failed|no such user|no password supplied|auth\w* (?:failed|required)", re.I
)
_PERMIT = "see its password, and name it in stats_users of the pooler's configuration"


@dataclass(slots=True)
class _Asked:
    evidence: dict[str, Evidence] = field(default_factory=dict)
    gaps: dict[str, Gap] = field(default_factory=dict)
    commands: int = 0
    seconds: float = 0.0
    rows: int = 0


def collect_pooler(pooler: PoolerSource) -> tuple[Source, Cost]:
    """Return what a pooler says of its pools, and the cost; one that cannot be reached, or does not permit it, is told too."""
    conninfo = _console(pooler.conninfo)
    at, clock = datetime.now(UTC), time.perf_counter()
    try:
        driver = _connect(conninfo)
    except (psycopg.Error, UnicodeError) as error:
        return _source(pooler, conninfo, _refused(conninfo, at, time.perf_counter() - clock, error)), Cost()
    made = connection_evidence(conninfo, at, time.perf_counter() - clock, None)
    asked, deadline = _Asked({"connection": made}), Deadline(DEADLINE_SECONDS)
    deadline.watch(driver)
    try:
        _ask_all(driver, asked)
        if deadline.passed:
            _told_hanging(asked)
    finally:
        deadline.close()
        driver.close()
    cost = Cost(statements=asked.commands, server_ms=round(asked.seconds * 1000, 1), rows=asked.rows)
    return _source(pooler, conninfo, asked), cost


def _console(conninfo: str) -> str:
    # Not libpq's default, the user's name: a service of that name may lead to a real database.
    return conninfo if parameters(conninfo).get("dbname") else make_conninfo(conninfo, dbname=CONSOLE)


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    given = parameters(conninfo)
    defaults = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": APPLICATION_NAME, **NETWORK}
    options: dict[str, Any] = {key: value for key, value in defaults.items() if key not in given}
    try:
        driver = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, **options)
    except psycopg.OperationalError as error:
        remember_password(error.pgconn)
        raise
    remember_password(driver.pgconn)
    return driver


def _refused(conninfo: str, at: datetime, seconds: float, error: Exception) -> _Asked:
    if _LOGIN.search(str(error)):
        # It answered, and it is not the application whom it turned away: no layer is broken by that.
        made = connection_evidence(conninfo, at, seconds, error)
        answered = replace(made, frame=made.frame.assign(is_connected=True).astype(made.frame.dtypes))
        return _Asked({"connection": answered}, _gaps("not permitted", f"{_words(answered)}: {_PERMIT}"))
    evidence = refused_evidence(conninfo, at, seconds, error)
    return _Asked(evidence, _gaps("not reached", "the pooler's console was not reached"))


def _words(answered: Evidence) -> str:
    said = str(answered.frame["message"][0]).rpartition("FATAL:")[2].strip()
    return f"the pooler's console refuses this user ({said})"


def _gaps(kind: GapKind, reason: str) -> dict[str, Gap]:
    return {frame.name: Gap(kind=kind, reason=reason) for frame in FRAMES}


def _source(pooler: PoolerSource, conninfo: str, asked: _Asked) -> Source:
    found = Source(pooler.name, "pooler", pooler.vantage, None, asked.evidence, asked.gaps)
    return secrecy_of([conninfo]).source(found)


def _ask_all(driver: psycopg.Connection[Any], asked: _Asked) -> None:
    for frame in FRAMES:
        at, clock = datetime.now(UTC), time.perf_counter()
        try:
            rows = _shown(driver, frame.command, asked)
            if frame.name == "pooler_pools":
                rows = _with_login_waits(driver, rows, asked)
            if frame.name == "pooler_settings":
                rows = [*rows, *_state(driver, asked)]
            asked.evidence[frame.name] = _evidence(frame, rows, at, time.perf_counter() - clock)
        except psycopg.Error as error:
            asked.gaps[frame.name] = _gap(error)
        except (LookupError, ValueError, TypeError, AttributeError, EvidenceMismatch) as error:
            asked.gaps[frame.name] = Gap(kind="unsupported", reason=f"{frame.command} answers in an unknown form: {error}")


def _told_hanging(asked: _Asked) -> None:
    # It was the kit that ended the connection; the driver says that it was the server.
    reason = f"the pooler's console did not answer within {DEADLINE_SECONDS:g} s"
    asked.gaps |= {name: Gap(kind="failed", reason=reason) for name in asked.gaps}


def _shown(driver: psycopg.Connection[Any], command: str, asked: _Asked) -> list[Row]:
    clock = time.perf_counter()
    try:
        # Without parameters psycopg speaks the simple protocol, the only one the console knows.
        cursor = driver.execute(command.encode())
        names = [column.name for column in cursor.description or ()]
        rows: list[Row] = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    finally:
        asked.commands += 1
        asked.seconds += time.perf_counter() - clock
    asked.rows += len(rows)
    return rows


def _state(driver: psycopg.Connection[Any], asked: _Asked) -> list[Row]:
    """Return the version, and whether all databases are paused, which older poolers do not tell."""
    version: list[Row] = [{"key": "version", "value": row["version"]} for row in _shown(driver, "SHOW VERSION", asked)]
    try:
        return [*version, *_shown(driver, "SHOW STATE", asked)]
    except psycopg.errors.ProtocolViolation:
        return version


def _with_login_waits(driver: psycopg.Connection[Any], pools: Sequence[Row], asked: _Asked) -> list[Row]:
    """Fill in the wait that SHOW POOLS calls zero: that of clients who wait to be let in, until a server was reached."""
    unknown = [row for row in pools if row["cl_waiting"] and not row.get("maxwait") and not row.get("maxwait_us")]
    waits = login_waits(_shown(driver, "SHOW CLIENTS", asked)) if unknown else {}
    return [{**row, _LOGIN_WAIT: waits.get(row["database"])} if row in unknown else row for row in pools]


_LOGIN_WAIT = "kit_login_wait"


def _evidence(frame: PoolerFrame, rows: Sequence[Row], at: datetime, seconds: float) -> Evidence:
    kept = [values for row in rows if (values := _values(frame, row)) is not None]
    about = provenance(frame.title, frame.grain, frame.command, at, seconds, len(kept))
    return Evidence(build_frame(frame.columns, kept), frame.columns, about)


def _values(frame: PoolerFrame, row: Row) -> tuple[Any, ...] | None:
    values = frame.row(row)
    wait = row.get(_LOGIN_WAIT)
    return values if values is None or wait is None else (*values[:-2], wait, True)


def _gap(error: psycopg.Error) -> Gap:
    words = masking.message(error.diag.message_primary or str(error))
    if any(refusal in words for refusal in _REFUSALS):
        return Gap(kind="not permitted", reason=f"the pooler does not answer this user: {_PERMIT}")
    if error.sqlstate == "42704":
        return Gap(kind="unsupported", reason=f"this is a database and no pooler's console: name the database {CONSOLE!r}")
    return Gap(kind="failed", reason=f"{words} ({error.sqlstate})" if error.sqlstate else words)
