"""Row security, tried safely: what the server says to one role with one token, without a write and without a trace.

Short READ ONLY transactions; everything is set until the end of one. The kit's limits, the role's own settings, the
claims, the role; then EXPLAIN, and for SELECT a bounded count. What would be called is checked for EXECUTE before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from kit.collect import masking
from kit.collect.connection import open_database
from kit.collect.reaching import reached
from kit.collect.secrecy import secrecy_of
from kit.collect.trial.claim_values import hider
from kit.collect.trial.facts import Facts, Session, facts_of, session_of
from kit.collect.trial.functions import Calls, functions_called
from kit.collect.trial.records import Outcome, Subject, Trial, VisibleRows
from kit.collect.trial.settings import unsettable_claims
from kit.collect.trial.statement import ACTIONS, Statement, read_statement
from kit.collect.trial.steps import FAULTS, Trying, backend_process, carried_claims, counted, explained, message
from kit.errors import CaptureError
from kit.target import DatabaseSource

DEADLINE_SECONDS = 60.0
COUNT_LIMIT = 100_000


def try_access(
    source: DatabaseSource,
    role: str,
    relation: tuple[str, str],
    action: str,
    claims: Mapping[str, Any] | None = None,
    statement: str | None = None,
    *,
    count_limit: int = COUNT_LIMIT,
) -> Trial:
    """Return what the server does when `role` tries `action` on `relation` with these claims; nothing is changed.

    A `statement` is explained in the place of the action's plainest one. ParameterError for one that is not tried and
    for an unknown role; CaptureError where the server does not answer.
    """
    subject = Subject(role, relation, action.upper(), None if statement is None else read_statement(statement))
    hide = hider(claims or {}, role)
    started_at, clock, secrecy = datetime.now(UTC), time.perf_counter(), secrecy_of([source.conninfo])
    try:
        with reached(source) as there, open_database(there.conninfo, DEADLINE_SECONDS) as database:
            return _tried(Trying(database, subject, secrecy, hide, claims or {}, count_limit, started_at, clock))
    except FAULTS as error:
        words = secrecy.text(message(error, hide))
        raise CaptureError(f"The server did not answer the trial: {words}", "See `kit run`: it names the broken layer.") from None


def _tried(trying: Trying) -> Trial:
    with trying.transaction(settings=False):
        session = session_of(trying.ask, backend_process(trying.database))
    with trying.transaction():
        facts = facts_of(trying.ask, session, trying.subject)
        statement = trying.subject.given or _plainest(trying.subject, facts)
        calls = _calls(trying, session, facts, statement)
    trying.notes += _warnings(trying, session, facts, calls)
    reason = _obstacle(trying.subject, session, facts, statement, calls)
    if reason or statement is None:
        return _trial(trying, session, facts, statement, calls, Outcome("not run", message=reason or "there is nothing to try"))
    outcome, plan, is_active = explained(trying, session, facts, statement)
    rows = VisibleRows()
    if outcome.status == "ok" and trying.subject.action == "SELECT":
        # A given statement may be about other relations than the one whose rows are counted.
        outcome, rows = counted(trying, session, facts, is_active if trying.subject.given is None else None)
    return _trial(trying, session, facts, statement, calls, outcome, plan, is_active, rows)


def _trial(
    trying: Trying,
    session: Session,
    facts: Facts,
    statement: Statement | None,
    calls: Calls,
    outcome: Outcome,
    plan: str | None = None,
    is_active: bool | None = None,
    rows: VisibleRows | None = None,
) -> Trial:
    return Trial(
        asker=session.session_user,
        database=session.database,
        server_version=session.version,
        subject=trying.subject,
        statement=masking.normalise_statement(statement.text) if statement else None,
        may_set_role=facts.may_set_role,
        functions=calls.functions,
        denied=calls.denied,
        unread_functions=calls.unread,
        settings=tuple((setting.name, setting.shown, setting.origin) for setting in facts.settings.applied),
        settings_left_out=(*facts.settings.left_out, *trying.left_out),
        claims=tuple(setting.name for setting in carried_claims(trying)),
        outcome=outcome,
        is_row_security_active=is_active,
        rows=rows or VisibleRows(),
        plan=None if plan is None else trying.secrecy.text(trying.hide(plan), pairs=False),
        sent=tuple(trying.sent),
        notes=tuple(map(trying.hide, trying.notes)),
        at=trying.started_at,
        seconds=round(time.perf_counter() - trying.clock, 3),
    )


def _plainest(subject: Subject, facts: Facts) -> Statement | None:
    """Return the statement that needs the least for this action; None where only doing it could tell."""
    texts = {
        "SELECT": f"select from {subject.relation_sql}",
        "INSERT": f"insert into {subject.relation_sql} default values",
        "DELETE": f"delete from {subject.relation_sql}",
    }
    if facts.column:
        texts["UPDATE"] = f"update {subject.relation_sql} set {facts.column} = default"
    elif subject.action == "UPDATE" and facts.relation_oid is None:
        return read_statement(texts["SELECT"])
    return read_statement(texts[subject.action]) if subject.action in texts else None


def _calls(trying: Trying, session: Session, facts: Facts, statement: Statement | None) -> Calls:
    if statement is None or not facts.may_set_role:
        return Calls((), ())
    return functions_called(trying.ask, facts.role_oid, session.version, facts.path, statement, facts.relation_oid)


def _warnings(trying: Trying, session: Session, facts: Facts, calls: Calls) -> Iterator[str]:
    if facts.settings.is_path_assumed and facts.may_set_role:
        yield "The asker's own search_path hides the server's; the built-in default was taken for the role's."
    if calls.unread:
        yield f"Bodies that could not be looked into for further functions: {', '.join(calls.unread)}."
    own = [called.signature for called in calls.functions if not called.is_builtin]
    if own:
        yield f"Planning may run, and counting does run, functions as the role: {', '.join(own)}."
    volatile = [called.signature for called in calls.functions if called.is_volatile]
    if volatile and trying.subject.action == "SELECT":
        yield f"Volatile functions of policies run when rows are counted, and the trial is rolled back: {', '.join(volatile)}."
    if session.power and own:
        yield f"The asker {session.power}: a function that left the role would have such rights. Better ask as a role without."
    if trying.claims.get("role", trying.subject.role) != trying.subject.role:
        yield "The claims name another role than the one that was tried."
    if unsettable_claims(trying.claims):
        yield f"Claims without a legacy setting of their own: {len(unsettable_claims(trying.claims))}."
    if trying.subject.action in ("INSERT", "UPDATE", "MERGE"):
        yield "EXPLAIN shows neither WITH CHECK conditions of policies nor constraints and triggers: they were not tried."


def _obstacle(subject: Subject, session: Session, facts: Facts, statement: Statement | None, calls: Calls) -> str | None:
    """Return why nothing is run, if so."""
    if not facts.may_set_role:
        return facts.why_not
    if statement is None:
        return f"{subject.action} cannot be tried without doing it; tried are {', '.join(ACTIONS)}"
    if calls.denied:
        names = ", ".join(f"{called.signature} ({called.called_by})" for called in calls.denied)
        return f"the role lacks EXECUTE on {names}; running it has crashed some hosted servers"
    if session.power and calls.leaving:
        names = ", ".join(calls.leaving)
        return f"the asker {session.power}, and SET ROLE may be undone by {names}: ask as a role that may only set this one"
    if statement.has_parameters and session.version < 160_000:
        return "a statement with $1 parameters is explained from PostgreSQL 16 on; put values in their place"
    if statement.has_parameters and ";" in statement.text:
        return "a statement with $1 parameters must not hold a semicolon"
    return None
