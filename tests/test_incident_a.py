"""Every variant of incident A: the first gate named right, the smallest remedy, access afterwards, and nothing wider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.analyze.document import FindingsDocument
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests import incident_a
from tests.incident_a import DATABASE, HBA, PASSWORD_ROLE, SERVICE, SETTINGS, Stage, Variant, access, changed, snapshot, staged

TABLES = ("tables", "on_the_path")
INSERT = "insert into login_attempts (address) values ('0x1') returning 1"

MENDED_BY_SQL = [
    Variant(
        "schema off the search_path", ("tables", "granted"), "name resolution", "schema", "42P01",
        gains=frozenset({(SERVICE, "setting", 'search_path="$user", public, app', "")}),
    ),
    Variant(
        "schema without USAGE, plain name", (*TABLES, "usage_forgotten"), "schema usage", "privileges", "42P01",
        gains=frozenset({(SERVICE, "schema", "app", "USAGE")}),
    ),
    Variant(
        "schema without USAGE, qualified", (*TABLES, "usage_forgotten"), "schema usage", "privileges", "42501",
        statement="select * from app.siwe_nonces", gains=frozenset({(SERVICE, "schema", "app", "USAGE")}),
    ),
    Variant(
        "default privileges of the wrong creator", (*TABLES, "wrong_creator"), "object privilege", "privileges", "42501",
        statement="select * from sessions", gains=frozenset({(SERVICE, "relation", "app.sessions", "SELECT")}),
    ),
    Variant(
        "nothing granted at all", TABLES, "schema usage", None, "42P01",
        gains=frozenset({(SERVICE, "schema", "app", "USAGE"), (SERVICE, "relation", "app.siwe_nonces", "SELECT")}),
    ),
    Variant(
        "row security without a policy", (*TABLES, "granted", "row_security"), "row security", "row security", None,
        gains=frozenset({("app.siwe_nonces", "policy", "interspace_dev may select", "r")}),
    ),
    Variant(
        "a column that is not granted", (*TABLES, "columns"), "column privilege", "privileges", "42501",
        gains=frozenset({(SERVICE, "column", "app.siwe_nonces.address", "SELECT")}),
    ),
    Variant(
        "a view whose owner may not read", (*TABLES, "view"), "view owner", "privileges", "42501",
        statement="select * from logins", gains=frozenset({("reporting", "relation", "app.siwe_nonces", "SELECT")}),
    ),
    Variant(
        "a sequence behind a serial", (*TABLES, "sequence"), "sequence", "privileges", "42501", rows=1,
        statement=INSERT, gains=frozenset({(SERVICE, "sequence", "app.login_attempts_attempt_id_seq", "USAGE")}),
    ),
    Variant(
        "a policy's function", (*TABLES, "granted", "policy_function"), "function", "privileges", "42501",
        gains=frozenset({(SERVICE, "function", "app.is_mine", "EXECUTE")}),
    ),
    Variant(
        "NOLOGIN", (*TABLES, "granted", "no_login"), "login", "authentication", "28000",
        gains=frozenset({(SERVICE, "role", "may log in", "")}),
    ),
    Variant(
        "no CONNECT", (*TABLES, "granted", "no_connect"), "connect", "authentication", "42501",
        gains=frozenset({(SERVICE, "database", DATABASE, "CONNECT")}),
    ),
    Variant(
        "no connection left", (*TABLES, "granted", "connection_limit"), "login", "capacity and performance", "53300",
        gains=frozenset({(SERVICE, "role", "connections", "-1")}),
    ),
    Variant(
        "membership without inheritance", (*TABLES, "group"), "schema usage", "privileges", "42P01",
        gains=frozenset({(SERVICE, "schema", "app", "USAGE"), (SERVICE, "relation", "app.siwe_nonces", "SELECT")}),
    ),
    Variant(
        "search_path as one quoted name", ("tables", "granted", "quoted_path"), "name resolution", "schema", "42P01",
        gains=frozenset({(SERVICE, "setting", 'search_path="app, public", app', "")}),
    ),
    Variant(
        "an expired password", (*TABLES, "expired"), "login", "authentication", "28P01", role=PASSWORD_ROLE,
        gains=frozenset({(PASSWORD_ROLE, "role", "may log in", "")}),
    ),
]  # fmt: skip
MATRIX = [pytest.param(major, marks=pytest.mark.matrix) for major in binaries.MATRIX_VERSIONS]


@pytest.fixture(scope="module", params=[None, *MATRIX], ids=lambda major: str(major or "embedded"))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param and (reason := binaries.npm_is_missing(request.param)):
        pytest.skip(f"PostgreSQL {request.param} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(request.param) if request.param else None, SETTINGS, hba=HBA) as running:
        running.execute("create extension pg_stat_statements")
        yield running


def asked_of(variant: Variant) -> list[str]:
    return ["--role", variant.role, "--statement", variant.statement]


def document_of(stage: Stage, symptom: str, database: str = DATABASE) -> FindingsDocument:
    taken = collected(Target("backend", (DatabaseSource("database", stage.dsn(database)),)))
    return judged(taken, Question("incident-a", symptom))


@pytest.mark.parametrize("variant", MENDED_BY_SQL, ids=str)
def test_the_smallest_remedy_mends_it_and_nothing_more(server: Server, variant: Variant) -> None:
    with staged(server, variant) as stage:
        state, rows, _ = stage.tried()
        assert (state, rows) == ((variant.sqlstate, None) if variant.sqlstate else (None, 0)), "the staged symptom"

        status, answer = access("--target", stage.dsn(), *asked_of(variant))

        assert answer["first_failed"] == variant.gate, answer
        assert (status, answer["allowed"]) == ((1, False) if variant.sqlstate else (0, True))
        assert answer["rows"] == (None if variant.sqlstate else "none")
        before = snapshot(server)
        stage.apply(answer["remedy"], answer["run_by"])
        assert stage.tried()[:2] == (None, variant.rows), answer["remedy"]
        lost, gained = changed(before, snapshot(server))
        assert not lost - {item for item in lost if item[1] in ("setting", "role")}
        assert gained - {(SERVICE, "rows", "app.siwe_nonces", "")} == variant.gains
        assert access("--target", stage.dsn(), *asked_of(variant))[0] == 0


@pytest.mark.parametrize("variant", MENDED_BY_SQL, ids=str)
def test_the_log_line_alone_leads_to_the_same_gate(server: Server, variant: Variant) -> None:
    with staged(server, variant) as stage:
        _, _, logged = stage.tried()
        words = ["--error", logged] if variant.sqlstate else ["--error", "zero rows", *asked_of(variant)]
        status, answer = access("--target", stage.dsn(), *words)

        assert (answer["first_failed"], answer["role"]) == (variant.gate, variant.role), logged
        assert status == (1 if variant.sqlstate else 0)


@pytest.mark.parametrize("variant", MENDED_BY_SQL, ids=str)
def test_the_verdict_of_a_run_with_the_symptom(server: Server, variant: Variant) -> None:
    with staged(server, variant) as stage:
        _, _, logged = stage.tried()
        found = document_of(stage, logged or 'zero rows from "siwe_nonces"').verdict

        assert found.layer == variant.layer, found.summary
