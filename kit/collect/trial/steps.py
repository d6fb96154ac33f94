"""The steps of a trial on the server: prepare a transaction, explain, count."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa

from kit.collect import masking
from kit.collect.connection import Database
from kit.collect.queries import MARKER
from kit.collect.secrecy import Secrecy
from kit.collect.trial.facts import Facts, Session
from kit.collect.trial.plan import plan_text
from kit.collect.trial.records import Outcome, Subject, VisibleRows
from kit.collect.trial.settings import Setting, claim_settings, is_custom, literal, set_locally
from kit.collect.trial.statement import Statement

FAULTS = (sa.exc.SQLAlchemyError, psycopg.Error, UnicodeError)
# Out of time, locked, and a write that the trial itself forbids: they say nothing of what the role may do.
_UNDECIDED = ("57014", "55P03", "25006")
_TABLES = ("r", "p", "m")
# Errors of this class repeat the value that they are about.
_DATA_EXCEPTION = "22"
# Words that a function's author put together; RAISE may take any SQLSTATE, so that the place in the source tells it too.
_RAISED_CLASS = "P0"
_LANGUAGES = ("pl_exec", "plperl", "plpy", "pltcl", "plv8")
_ADVISORY = """
select exists (select from pg_catalog.pg_locks as l where l.locktype = 'advisory' and l.pid = pg_catalog.pg_backend_pid()),
  pg_catalog.has_function_privilege('pg_catalog.pg_advisory_unlock_all()', 'EXECUTE')"""
_TRACE = "once set, it says '' instead of NULL to the application for ever; connect to the server itself"


@dataclass(slots=True)
class Trying:
    """One trial on its way: the conversation with the server, and what is known so far."""

    database: Database
    subject: Subject
    secrecy: Secrecy
    hide: Callable[[str], str]
    claims: Mapping[str, Any]
    count_limit: int
    started_at: datetime
    clock: float
    sent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def transaction(self, *, settings: bool = True) -> Iterator[None]:
        """One short READ ONLY transaction, noted for the reader; rolled back, since COMMIT delivers a NOTIFY."""
        limits = "-- until its end: empty search_path, short statement_timeout and lock_timeout, row_security off"
        self.sent += ["begin read only", limits] if settings else ["begin read only"]
        try:
            with _undone(self.database.transaction(settings=settings)):
                yield
        finally:
            self.sent.append("rollback")

    def ask(self, sql: str, shown: str | None = None) -> list[tuple[Any, ...]]:
        """Return the rows; the statement, without values to hide, is kept for the reader."""
        self.sent.append(self.secrecy.text(" ".join(_marked(shown or sql).split()), pairs=False))
        return self.database.execute(_marked(sql))


class _Undone(Exception):
    pass


@contextlib.contextmanager
def _undone(context: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    with contextlib.suppress(_Undone), context:
        yield
        raise _Undone


@contextlib.contextmanager
def _as_role(trying: Trying, session: Session, facts: Facts) -> Iterator[str | None]:
    """One transaction as the role, without a trace; yields why nothing can be run in it, if so."""
    with trying.transaction():
        reason = _lasting_locks(trying) if session.is_pooled else None
        if reason:
            yield reason
            return
        try:
            # An error ends a transaction, and its end gives a pooled connection back: the locks go before it.
            trying.sent.append("savepoint trial")
            with _undone(trying.database.savepoint()):
                yield _prepare(trying, session, facts)
        finally:
            trying.sent.append("rollback to savepoint trial")
            _release(trying)


def _lasting_locks(trying: Trying) -> str | None:
    are_held, may_release = trying.ask(_ADVISORY)[0]
    if are_held:
        return "the pooled connection holds advisory locks of its application, which releasing the trial's would release too"
    if not may_release:
        return "an advisory lock would stay on the pooled connection: the asker may not execute pg_advisory_unlock_all"
    return None


def _release(trying: Trying) -> None:
    # On a connection of its own it only hastens what closing does.
    with contextlib.suppress(*FAULTS):
        trying.ask("select pg_catalog.pg_advisory_unlock_all()")


def _prepare(trying: Trying, session: Session, facts: Facts) -> str | None:
    """Set all of the trial in the running transaction, the role last; return why that cannot be done, if so."""
    plain = [Setting("standard_conforming_strings", "on", "kit"), *(s for s in facts.settings.applied if not is_custom(s.name))]
    custom = [setting for setting in facts.settings.applied if is_custom(setting.name)]
    carried = carried_claims(trying)
    unknown = _unknown_to_session(trying, [*custom, *carried]) if session.is_pooled else []
    if unknown:
        return f"the connection goes through a pooler and does not know {', '.join(unknown)}: {_TRACE}"
    for setting in custom:
        _set_or_leave_out(trying, setting)
    everything = [*carried, *plain, Setting("role", trying.subject.role, "trial")]
    try:
        trying.ask(set_locally(everything), set_locally(everything, shown=True))
    except (sa.exc.DBAPIError, UnicodeError) as error:
        if trying.database.is_lost:
            raise
        return f"the role and its settings could not be set: {refusal(trying, error).message}"
    return None


def _set_or_leave_out(trying: Trying, setting: Setting) -> None:
    try:
        with trying.database.savepoint():
            trying.ask(set_locally([setting]), set_locally([setting], shown=True))
    except sa.exc.DBAPIError:
        trying.left_out += [setting.name] if setting.name not in trying.left_out else []


def _unknown_to_session(trying: Trying, settings: list[Setting]) -> list[str]:
    names = [setting.name for setting in settings]
    if not names:
        return []
    tests = ", ".join(f"pg_catalog.current_setting({literal(name)}, true) is null" for name in names)
    return [name for name, is_unknown in zip(names, trying.ask(f"select {tests}")[0], strict=True) if is_unknown]


def carried_claims(trying: Trying) -> tuple[Setting, ...]:
    """Return the settings that carry the claims; none where no claims were given."""
    return claim_settings(trying.claims, trying.subject.role) if trying.claims else ()


def explained(trying: Trying, session: Session, facts: Facts, statement: Statement) -> tuple[Outcome, str | None, bool | None]:
    """Return what EXPLAIN came to, the plan, and whether row security would hide rows from the role."""
    plan, is_active = None, None
    try:
        with _as_role(trying, session, facts) as reason:
            if reason:
                return Outcome("not run", message=reason), None, None
            plan = plan_text(_explain(trying, statement))
            is_active = _is_row_security_active(trying, statement)
    except FAULTS as error:
        if trying.database.is_lost:
            raise
        return refusal(trying, error), plan, is_active
    return Outcome("ok"), plan, is_active


def _explain(trying: Trying, statement: Statement) -> Any:
    options = "format json, generic_plan" if statement.has_parameters else "format json"
    text = f"explain ({options}) {statement.text}"
    shown = f"explain ({options}) {masking.normalise_statement(statement.text)}"
    if not statement.has_parameters:
        return trying.ask(text, shown)[0][0]
    trying.sent.append(" ".join(_marked(shown).split()))
    return _explain_generically(trying.database, _marked(text))


def _explain_generically(database: Database, text: str) -> Any:
    # The extended protocol wants a value for each $1 and folds it into the plan. The simple one takes several statements,
    # so that a text comes here only after the parser found one in it, and no semicolon.
    rows: list[Any] = psycopg.Cursor(_driver(database)).execute(text.encode()).fetchall()
    database.statements += 1
    return rows[0][0]


def _is_row_security_active(trying: Trying, statement: Statement) -> bool | None:
    """Return whether the server refuses to go on without row security, as it does where that would hide rows."""
    try:
        with trying.database.savepoint():
            trying.ask(set_locally([Setting("row_security", "off", "trial")]))
            _explain(trying, statement)
    except FAULTS as error:
        if trying.database.is_lost:
            raise
        return True if sqlstate(error) == "42501" else None
    return False


def counted(trying: Trying, session: Session, facts: Facts, is_active: bool | None) -> tuple[Outcome, VisibleRows]:
    """Return the outcome of counting as the role, and the rows visible and hidden."""
    rows = VisibleRows(limit=trying.count_limit, estimated=facts.estimated_rows)
    try:
        with _as_role(trying, session, facts) as reason:
            if reason:
                return Outcome("not run", message=reason), rows
            rows = replace(rows, counted=_count(trying))
    except FAULTS as error:
        if trying.database.is_lost:
            raise
        said = refusal(trying, error)
        rows = replace(rows, why_unknown=f"counting ended with {said.sqlstate}: {said.message}")
        return (Outcome("ok") if said.status == "unknown" else said), rows
    if is_active is False:
        return Outcome("ok"), replace(rows, is_all=True)
    total, why = _total(trying, facts)
    return Outcome("ok"), replace(rows, total=total, why_unknown=why)


def _total(trying: Trying, facts: Facts) -> tuple[int | None, str | None]:
    """Return how many rows there are for somebody who sees all, if the asker is such a one; else why that is unknown."""
    if facts.kind not in _TABLES:
        return None, "only a table is counted as the asker: a view would run its functions with the asker's rights"
    try:
        with trying.transaction():
            return _count(trying), None
    except FAULTS as error:
        if trying.database.is_lost:
            raise
        return None, f"the asker does not see all rows: {refusal(trying, error).message}"


def _count(trying: Trying) -> int:
    bounded = f"select from {trying.subject.relation_sql} limit {trying.count_limit + 1}"
    return int(trying.ask(f"select pg_catalog.count(*) from ({bounded}) as bounded")[0][0])


def refusal(trying: Trying, error: Exception) -> Outcome:
    """Return the server's own words without values of the claims, and without the value that a data exception repeats.

    What a function raises may hold anything: its words are not told.
    """
    state, words = sqlstate(error), message(error, trying.hide)
    if _is_raised(error, state):
        words = f"the function raised an exception ({state})"
    elif state and state.startswith(_DATA_EXCEPTION):
        words = re.sub(r'".*"', '"…"', words)
    return Outcome("unknown" if state in _UNDECIDED else "refused", state, trying.secrecy.text(words))


def _is_raised(error: Exception, state: str | None) -> bool:
    place = getattr(getattr(_cause(error), "diag", None), "source_file", None) or ""
    return (state or "").startswith(_RAISED_CLASS) or place.rpartition("/")[2].startswith(_LANGUAGES)


def message(error: Exception, hide: Callable[[str], str]) -> str:
    """Return an error's first words in one line, masked, `hide` first."""
    cause = _cause(error)
    return masking.message(hide(getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause or error)))


def _cause(error: Exception) -> Any:
    """Return the driver's error, also inside SQLAlchemy's."""
    return error if isinstance(error, psycopg.Error) else getattr(error, "orig", None)


def backend_process(database: Database) -> int:
    """Return the number of the server's process as it was told at connecting."""
    return _driver(database).info.backend_pid


def _driver(database: Database) -> psycopg.Connection[Any]:
    if database.driver is None:
        raise psycopg.OperationalError("the connection is closed")
    return database.driver


def sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of the driver's error, or of SQLAlchemy's around it."""
    return getattr(_cause(error), "sqlstate", None)


def _marked(sql: str) -> str:
    verb, rest = sql.split(maxsplit=1)
    return f"{verb} /* {MARKER} trial */ {rest}"
