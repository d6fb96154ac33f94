"""Symptom and state together, on a real server: what the verdict must be, and what it must not claim."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.analyze.document import FindingsDocument
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.report.running import exit_status
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

ROLE = "verdict_api"
TABLE = "create schema app; create table app.nonces (nonce text)"
STATES = {
    "healthy": "",
    "no usage": f"{TABLE}; grant select on app.nonces to {ROLE}; alter role {ROLE} in database {{}} set search_path = app",
    "off the path": f"{TABLE}; grant usage on schema app to {ROLE}; grant select on app.nonces to {ROLE}",
    "owner off the path": f"{TABLE}; alter schema app owner to {ROLE}; alter table app.nonces owner to {ROLE}",
    "reachable": (
        f"{TABLE}; grant usage on schema app to {ROLE}; grant select on app.nonces to {ROLE};"
        f"alter role {ROLE} in database {{}} set search_path = app"
    ),
}
MISSING = 'relation "nonces" does not exist'


@pytest.fixture
def role(server: Server, database: str) -> Iterator[str]:
    server.execute("create extension pg_stat_statements", database)
    server.execute(f"create role {ROLE} login")
    yield ROLE
    server.execute(f"drop owned by {ROLE}; drop role {ROLE}", database)


def _judged(conninfo: str, symptom: str | None) -> FindingsDocument:
    return judged(collected(Target("t", (DatabaseSource("database", conninfo),))), Question("case", symptom))


@pytest.mark.parametrize(
    ("state", "symptom", "status", "layer"),
    [
        ("healthy", None, "healthy", None),
        ("healthy", "database timeout after 30000 ms", "healthy", None),
        ("healthy", MISSING, "broken", "schema"),
        ("healthy", "column n.foo does not exist", "broken", "schema"),
        ("healthy", "could not extend file: No space left on device", "open", None),
        ("healthy", "ERROR: deadlock detected", "open", None),
        ("no usage", MISSING, "broken", "privileges"),
        ("no usage", "users get 500 errors on /login since deploy 00042", "broken", "privileges"),
        ("no usage", "order 12345 is missing", "broken", "privileges"),
        ("off the path", MISSING, "broken", "schema"),
        ("owner off the path", MISSING, "broken", "schema"),
        ("reachable", 'relation "public.nonces" does not exist', "broken", "schema"),
        ("reachable", MISSING, "open", None),
    ],
)
def test_the_verdict(server: Server, database: str, role: str, state: str, symptom: str, status: str, layer: str | None):
    if STATES[state]:
        server.execute(STATES[state].format(database), database)

    found = _judged(server.dsn(database), symptom).verdict

    assert (found.status, found.layer) == (status, layer), found.summary


def test_not_the_database_is_said_only_where_it_was_looked_for(server: Server, database: str, role: str):
    assert "Not the database" in _judged(server.dsn(database), "database timeout").verdict.summary
    assert "Not the database" not in _judged(server.dsn(database), None).verdict.summary
    assert "Not the database" not in _judged(server.dsn(database), "everything is on fire").verdict.summary


@pytest.mark.parametrize("symptom", [None, MISSING, "checkout is slow"])
def test_a_server_that_is_not_there_is_the_verdict_and_clears_nothing(symptom: str | None):
    document = _judged("postgresql://kit@127.0.0.1:1/shop", symptom)
    statuses = {entry.layer: entry.status for entry in document.layers}

    assert document.verdict.layer == "reachability"
    assert {layer for layer, status in statuses.items() if status == "cleared"} == set()


def test_a_healthy_database_is_healthy_and_nought(server: Server, database: str, role: str):
    document = _judged(server.dsn(database), None)

    assert (document.verdict.status, exit_status(document, "critical")) == ("healthy", 0)


def test_a_silent_ledger_does_not_keep_a_case_open(server: Server, database: str, role: str):
    server.execute("create table alembic_version (version_num varchar(32) primary key)", database)
    server.execute("insert into alembic_version values ('ab12')", database)

    assert _judged(server.dsn(database), None).verdict.status == "healthy"
