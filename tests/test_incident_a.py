"""Every variant of incident A: the first gate named right, the smallest remedy, access afterwards, and nothing wider."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.analyze.document import Verdict
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests.incident_a import DATABASE, HBA, PASSWORD_ROLE, SERVICE, SETTINGS, Stage, Variant, access, changed, snapshot, staged

TABLES = ("tables", "on_the_path")
INSERT = "insert into login_attempts (address) values ('0x1') returning 1"


def columns(role: str) -> frozenset[tuple[str, ...]]:
    return frozenset((role, "column", f"app.siwe_nonces.{name}", "SELECT") for name in ("nonce", "address"))


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
        statement="select * from sessions", gains=frozenset({(SERVICE, "column", "app.sessions.session", "SELECT")}),
    ),
    Variant(
        "nothing granted at all", TABLES, "schema usage", "privileges", "42P01",
        gains=frozenset({(SERVICE, "schema", "app", "USAGE"), *columns(SERVICE)}),
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
        statement="select * from logins", gains=columns("reporting"),
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
        "no connection left", (*TABLES, "granted", "connection_limit"), "login", "authentication", "53300",
        gains=frozenset({(SERVICE, "role", "connections", "-1")}),
    ),
    Variant(
        "membership without inheritance", (*TABLES, "group"), "schema usage", "privileges", "42P01",
        gains=frozenset({(SERVICE, "schema", "app", "USAGE"), *columns(SERVICE)}),
    ),
    Variant(
        "search_path as one quoted name", ("tables", "granted", "quoted_path"), "name resolution", "schema", "42P01",
        gains=frozenset({(SERVICE, "setting", "search_path=app, public", "")}),
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


def verdicts(stage: Stage, *symptoms: str, database: str = DATABASE) -> list[Verdict]:
    """Return what `kit run` comes to with each symptom, from one capture."""
    taken = collected(Target("backend", (DatabaseSource("database", stage.dsn(database)),)))
    return [judged(taken, Question("incident-a", symptom)).verdict for symptom in symptoms]


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
        lost, gained, seers = changed(before, snapshot(server))
        assert stage.tried()[:2] == (None, variant.rows), answer["remedy"]
        assert gained == variant.gains
        assert {item[1] for item in lost} <= {"setting", "role"}, "an old setting or limit gives way to the new one"
        assert seers <= {SERVICE, variant.role} | {item[0] for item in gained}
        assert access("--target", stage.dsn(), *asked_of(variant))[0] == 0


@pytest.mark.parametrize("variant", MENDED_BY_SQL, ids=str)
def test_the_log_line_alone_leads_to_the_same_gate_and_layer(server: Server, variant: Variant) -> None:
    with staged(server, variant) as stage:
        _, _, logged = stage.tried()
        words = ["--error", logged] if variant.sqlstate else ["--error", "zero rows", *asked_of(variant)]
        status, answer = access("--target", stage.dsn(), *words)

        assert (answer["first_failed"], answer["role"]) == (variant.gate, variant.role), logged
        assert status == (1 if variant.sqlstate else 0)
        whole, alone = verdicts(stage, logged or NO_ROWS, message_of(logged) or NO_ROWS)
        assert (whole.status, whole.layer) == ("broken", variant.layer), whole.summary
        # The message without its log line names no role: it may stay open, and is never an all-clear.
        assert (alone.status, alone.layer) in {("broken", variant.layer), ("open", variant.layer), ("open", None)}, alone.summary


NO_ROWS = "siwe_nonces returns zero rows"


def message_of(logged: str) -> str:
    """Return what a driver shows of a log line: the message alone."""
    return re.sub(r".*?(?:ERROR|FATAL):  ", "", logged.partition("\n")[0])


# --- the cause is not a privilege: no SQL mends it, the answer says where to look ---------------------------------------


ABSENT = Variant("migrated in another database", (), "name resolution", "database identity", "42P01")


def test_the_migrations_ran_in_another_database(server: Server) -> None:
    with staged(server, ABSENT) as stage:
        server.create_database("interspace_main")
        stage.run("tables", "on_the_path", "granted", database="interspace_main")
        state, _, logged = stage.tried()
        assert state == "42P01"

        for words in (asked_of(ABSENT), ["--error", logged]):
            status, answer = access("--target", stage.dsn(), *words)
            because = next(gate["because"] for gate in answer["gates"] if gate["gate"] == answer["first_failed"])
            assert (status, answer["allowed"], answer["first_failed"]) == (1, False, "name resolution")
            assert "it is in database interspace_main as app.siwe_nonces" in because
            assert (answer["remedy"], answer["near"]) == (None, ["database interspace_main as app.siwe_nonces"])
        [verdict] = verdicts(stage, logged)
        assert (verdict.status, verdict.layer) == ("broken", "database identity")
        assert "20260301_siwe" in verdict.summary, "the ledger beside it is the proof"
        assert stage.tried(database="interspace_main")[:2] == (None, 3), "the true cause"


MIXED = Variant(
    "a name in mixed case", ("tables", "on_the_path", "mixed_case"), "name resolution", "schema", "42P01",
    statement="select * from Siwe_Nonces",
)  # fmt: skip


def test_a_quoted_name_in_mixed_case(server: Server) -> None:
    with staged(server, MIXED) as stage:
        state, _, logged = stage.tried()
        assert state == "42P01"

        for words in (asked_of(MIXED), ["--role", SERVICE, "--relation", "Siwe_Nonces"], ["--error", logged]):
            status, answer = access("--target", stage.dsn(), *words)
            assert (status, answer["first_failed"], answer["remedy"]) == (1, "name resolution", None)
            assert answer["near"] == ['app."Siwe_Nonces"']
        assert verdicts(stage, logged)[0].layer == "schema"
        assert stage.tried(f"select * from {answer['near'][0]}")[:2] == (None, 3)
        assert access("--target", stage.dsn(), "--role", SERVICE, "--relation", answer["near"][0])[0] == 0


OTHER_ROLE = Variant(
    "another role than people believe", ("tables", "on_the_path", "granted"), "schema usage", "privileges", "42P01",
    role="interspace_app",
)  # fmt: skip


def test_the_service_connects_as_another_role(server: Server) -> None:
    with staged(server, OTHER_ROLE) as stage:
        state, _, logged = stage.tried()
        assert state == "42P01"
        with server.connect(DATABASE, "interspace_app"):
            status, believed = access("--target", stage.dsn(), "--role", SERVICE, "--statement", OTHER_ROLE.statement)
            assert (status, believed["allowed"]) == (0, True), "the role that people believe in has all it needs"
            status, answer = access("--target", stage.dsn(), "--error", logged)
            assert (status, answer["role"], answer["first_failed"]) == (1, "interspace_app", "schema usage")
            _, doubted = access("--target", stage.dsn(), "--error", logged, "--role", SERVICE)
            assert doubted["notes"][0] == "The error comes from role interspace_app; what was asked about is interspace_dev."
            assert doubted["allowed"] is None, "that role would not have met the error"
            _, silent = access("--target", stage.dsn(), "--error", 'relation "siwe_nonces" does not exist', "--role", SERVICE)
            assert any("interspace_app is to interspace_dev" in note for note in silent["notes"]), silent["notes"]
            [verdict] = verdicts(stage, logged)
            assert (verdict.status, verdict.layer) == ("broken", "privileges"), verdict.summary
            assert "interspace_app" in verdict.summary


BEHIND = Variant(
    "a copy behind the real one", ("tables", "on_the_path", "granted"), "name resolution", "database identity", "42P01",
    statement="select * from login_devices",
)  # fmt: skip


def test_a_restored_copy_is_behind_the_real_one(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(server, BEHIND) as stage:
        server.execute(f"create database interspace_real template {DATABASE}")
        server.execute("alter database interspace_real set search_path = app, public")
        stage.run("later_migration", database="interspace_real")
        state, _, logged = stage.tried()
        assert (state, stage.tried(database="interspace_real")[:2]) == ("42P01", (None, 3))

        configure(tmp_path, monkeypatch, copy=stage.dsn(), real=stage.dsn("interspace_real"))
        status, answer = access("--target", "copy", *asked_of(BEHIND))
        assert (status, answer["first_failed"]) == (1, "name resolution")
        status, found = access("--target", "real", "--against", "copy", *asked_of(BEHIND))
        assert "lacks the migration 20260302_devices" in found["summary"]
        assert status == 1
        assert verdicts(stage, logged)[0].layer == "database identity"


def test_another_instance_lacks_what_the_real_one_has(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(server, BEHIND) as stage, sandbox.running(stage.server.binaries, SETTINGS, hba=HBA) as second:
        there = Stage(second, BEHIND)
        there.run("roles", database="postgres")
        second.create_database(DATABASE)
        there.run(*BEHIND.staged, "later_migration")
        assert (stage.tried()[0], there.tried()[:2]) == ("42P01", (None, 3))

        configure(tmp_path, monkeypatch, believed=there.dsn(), connected=stage.dsn())
        status, found = access("--target", "believed", "--against", "connected", *asked_of(BEHIND))

        assert status == 1
        assert found["summary"].startswith("believed may SELECT app.login_devices, connected may not")
        assert "connected lacks the migration 20260302_devices" in found["summary"]
        assert "server" in {fact["fact"] for item in found["differences"] for fact in item["facts"]}


def test_a_standby_is_said_to_be_one(server: Server) -> None:
    with staged(server, BEHIND) as stage, sandbox.running(stage.server.binaries, SETTINGS, hba=HBA) as second:
        behind = Stage(second, BEHIND)
        behind.run("roles", database="postgres")
        second.create_database(DATABASE)
        behind.run(*BEHIND.staged)
        become_standby(second)

        state, _, logged = behind.tried()
        status, answer = access("--target", behind.dsn(), "--error", logged)

        assert (state, status, answer["first_failed"]) == ("42P01", 1, "name resolution")
        assert "this server is a standby" in answer["gates"][2]["because"]
        assert verdicts(behind, logged)[0].layer == "schema"


def become_standby(second: Server) -> None:
    signal = second.data_folder / "standby.signal"
    signal.touch()
    owner = second.data_folder.stat()
    os.chown(signal, owner.st_uid, owner.st_gid)
    second.restart()


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    text = "\n".join(f'[targets.{name}]\ndsn = "{dsn}"' for name, dsn in targets.items())
    (folder / "kit.toml").write_text(text)
    monkeypatch.setenv("KIT_CONFIG", str(folder / "kit.toml"))


INHERITED = Variant("ALTER ROLE … INHERIT after the grant", ("tables", "on_the_path", "group_before_inherit"), "", None, None)


def test_alter_role_inherit_after_the_grant_is_enough_up_to_15_only(server: Server) -> None:
    with staged(server, INHERITED) as stage:
        state, rows, _ = stage.tried()
        status, answer = access("--target", stage.dsn(), *asked_of(INHERITED))

        works = server.version <= 15
        assert (state, rows, status) == ((None, 3, 0) if works else ("42P01", None, 1))
        assert answer["first_failed"] == (None if works else "schema usage")
        told = answer["gates"][4]["because"]
        assert "app_readers" in told, "the membership is named, as the way or as the one that needs SET ROLE"
