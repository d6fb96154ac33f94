"""Owners, sequences, memberships, search_paths and neighbouring databases: what is told, how gravely, and that it is true.

The provoke scripts show each defect found and mended; here the server itself is asked whether the words hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from kit.analyze.document import FindingsDocument
from kit.analyze.findings import Finding
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests.test_checks_provoked import findings
from tests.test_checks_provoked import judged as result_of

MISSING = 'relation "nonces" does not exist'
OWNED = "ERROR: must be owner of table notes"
SHARED = """
    create schema app;
    create table app.orders (order_id bigint); create table app.lines (line_id bigint); create table app.notes (note text);
    alter table app.orders owner to owners_migrator; alter table app.lines owner to owners_migrator;
"""


@pytest.fixture
def roles(server: Server, database: str) -> Iterator[None]:
    server.execute("create role owners_migrator login; create role owners_service login; create role owners_group")
    yield
    server.execute("drop owned by owners_migrator, owners_service, owners_group cascade", database)
    server.execute("drop role owners_migrator, owners_service, owners_group")


def told(check: str, server: Server, database: str, symptom: str | None = None) -> list[Finding]:
    return list(findings(check, server.dsn(database), {"symptom": symptom}).values())


def document(server: Server, database: str, symptom: str) -> FindingsDocument:
    target = Target("t", (DatabaseSource("database", server.dsn(database)),))
    return judged(collected(target), Question("case", symptom))


def state(server: Server, database: str, user: str, statement: str) -> str:
    """Return the SQLSTATE that the user gets, 00000 where it works."""
    try:
        with server.connect(database, user) as connection:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return str(error.sqlstate)
    return "00000"


def mend(server: Server, database: str, finding: Finding) -> None:
    for statement in finding.remedy.split(";\n"):
        server.execute(statement, database)


def test_a_table_made_by_hand_stops_the_migration_until_it_has_the_owner_of_the_rest(server: Server, database: str, roles: None):
    server.execute(SHARED, database)
    alter = "alter table app.notes add column at timestamptz"
    [plain], [named] = told("mixed_owners", server, database), told("mixed_owners", server, database, OWNED)

    assert (plain.severity, named.severity) == ("warning", "critical")
    assert state(server, database, "owners_migrator", alter) == "42501"
    assert document(server, database, OWNED).verdict.layer == "privileges"

    server.execute("grant usage on schema app to owners_migrator", database)
    mend(server, database, named)
    assert state(server, database, "owners_migrator", alter) == "00000"


def test_a_service_may_still_use_its_own_table_after_the_remedy(server: Server, database: str, roles: None):
    server.execute(
        f"{SHARED}; alter table app.notes owner to owners_service; grant usage on schema app to owners_service", database
    )
    [finding] = told("mixed_owners", server, database)
    mend(server, database, finding)

    assert state(server, database, "owners_service", "insert into app.notes values ('kept')") == "00000"
    assert told("mixed_owners", server, database) == []


def test_a_superuser_with_most_tables_is_a_finding_only_beside_a_ledger_or_a_symptom(server: Server, database: str, roles: None):
    server.execute(
        "create schema app; create table app.orders (i int); create table app.notes (i int); create table app.lines (i int);"
        "alter table app.lines owner to owners_migrator",
        database,
    )
    assert told("mixed_owners", server, database) == []
    assert [f.severity for f in told("mixed_owners", server, database, OWNED)] == ["critical"]

    server.execute(
        "create table app.schema_migrations (version text); alter table app.schema_migrations owner to owners_migrator", database
    )
    [finding] = told("mixed_owners", server, database)
    assert (finding.severity, finding.value) == ("warning", 2.0)


def test_who_was_refused_as_no_owner_is_not_known_and_the_case_stays_open(server: Server, database: str, roles: None):
    server.execute("create schema app; create table app.notes (note text); create extension pg_stat_statements", database)

    verdict = document(server, database, OWNED).verdict

    assert (verdict.status, verdict.layer) == ("open", "privileges")


def test_owners_that_inherit_one_another_are_no_problem_unless_another_migrator_is_none(
    server: Server, database: str, roles: None
):
    server.execute(
        "create schema app; create table app.orders (i int); create table app.lines (i int); create table app.notes (i int);"
        "alter table app.orders owner to owners_group; alter table app.lines owner to owners_group;"
        "alter table app.notes owner to owners_migrator; grant owners_group to owners_migrator",
        database,
    )
    assert told("mixed_owners", server, database) == []

    server.execute("grant owners_group to owners_service", database)
    [finding] = told("mixed_owners", server, database)
    assert "a migration by owners_service that alters app.notes" in finding.message
    assert state(server, database, "owners_service", "alter table app.notes add column j int") == "42501"


def test_a_sequence_behind_a_default_needs_usage_and_one_behind_an_identity_does_not(server: Server, database: str, roles: None):
    server.execute(
        "create schema app; create table app.orders (id serial, note text);"
        "create table app.lines (id int generated always as identity, note text);"
        "grant usage on schema app to owners_service; grant insert on app.orders, app.lines to owners_service",
        database,
    )
    [finding] = told("sequences_without_usage", server, database)

    assert state(server, database, "owners_service", "insert into app.lines (note) values ('x')") == "00000"
    assert state(server, database, "owners_service", "insert into app.orders (note) values ('x')") == "42501"
    assert (finding.severity, finding.value) == ("critical", 1.0)
    mend(server, database, finding)
    assert state(server, database, "owners_service", "insert into app.orders (note) values ('x')") == "00000"


def test_one_grant_to_the_group_mends_it_for_all_its_members(server: Server, database: str, roles: None):
    server.execute(
        "create table orders (id serial, note text); grant insert (note) on orders to owners_group;"
        "grant owners_group to owners_service, owners_migrator",
        database,
    )
    insert = "insert into orders (note) values ('x')"
    before = [state(server, database, role, insert) for role in ("owners_service", "owners_migrator")]
    [finding] = told("sequences_without_usage", server, database)
    mend(server, database, finding)

    assert finding.remedy == "grant usage on sequence public.orders_id_seq to owners_group"
    assert before == ["42501", "42501"]
    assert [state(server, database, role, insert) for role in ("owners_service", "owners_migrator")] == ["00000", "00000"]


def test_what_only_everybody_may_insert_into_is_a_warning(server: Server, database: str, roles: None):
    server.execute("create table orders (id serial, note text); grant insert on orders to public", database)

    told_here = {finding.subject.name: finding.severity for finding in told("sequences_without_usage", server, database)}

    assert told_here["owners_service"] == "warning"


@pytest.fixture(scope="module", params=[18, *(pytest.param(major, marks=pytest.mark.matrix) for major in (13, 15, 16, 17))])
def versioned(request: pytest.FixtureRequest) -> Iterator[Server]:
    if missing := binaries.npm_is_missing(request.param):
        pytest.skip(missing)
    with sandbox.running(binaries.npm(request.param)) as found:
        yield found


def test_inherit_given_after_the_grant_counts_up_to_15_only(versioned: Server):
    server = versioned
    server.execute(
        "create role late_service login noinherit; create role late_group; grant late_group to late_service;"
        "alter role late_service inherit; create table orders (i int); grant select on orders to late_group"
    )
    is_denied = state(server, "postgres", "late_service", "select * from orders") == "42501"
    everything = told("memberships_without_inheritance", server, "postgres", "permission denied for table orders")
    found = [finding for finding in everything if finding.subject.name == "late_service"]

    assert is_denied == (server.version >= 16)
    assert [finding.severity for finding in found] == ["critical"] * is_denied
    for finding in found:
        mend(server, "postgres", finding)
        assert state(server, "postgres", "late_service", "select * from orders") == "00000"


def test_who_made_a_role_is_no_finding_but_what_it_gave_itself_is(versioned: Server):
    server = versioned
    if server.version < 16:
        pytest.skip("the creator is no member before 16")
    server.execute(
        "create role role_maker login createrole; set role role_maker; create role made_plain;"
        "set createrole_self_grant = 'set'; create role made_to_be; reset role; create table kept (i int);"
        "grant select on kept to made_plain, made_to_be"
    )
    everything = told("memberships_without_inheritance", server, "postgres")
    [finding] = [finding for finding in everything if finding.subject.name == "role_maker"]

    assert finding.severity == "warning"
    assert finding.remedy == "grant made_to_be to role_maker with inherit true"


def test_a_path_to_nowhere_is_critical_where_the_server_finds_no_schema_on_it(server: Server, database: str, roles: None):
    server.execute(
        "create schema app; create table app.nonces (nonce text); grant usage on schema app to owners_service;"
        "grant select on app.nonces to owners_service; alter role owners_service set search_path = 'app, public'",
        database,
    )
    [finding] = told("search_paths_to_nowhere", server, database, MISSING)

    assert state(server, database, "owners_service", "select * from nonces") == "42P01"
    assert (finding.severity, finding.remedy) == ("critical", "alter role owners_service set search_path = app, public")
    assert document(server, database, MISSING).verdict.layer == "schema"
    mend(server, database, finding)
    assert state(server, database, "owners_service", "select * from nonces") == "00000"


REPORTS = """
    create schema app authorization owners_migrator; grant usage on schema app to owners_service;
"""
TABLES = "set role owners_migrator; create table app.auth_user (password text); create table app.orders (i int); reset role;"
FOR_REPORTS = "alter default privileges for role {} in schema app grant select on tables to owners_service;"
COVERED, MISSED = FOR_REPORTS.format("owners_migrator"), FOR_REPORTS.format("postgres")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        # Kept from a role for reports, by hand, or older than the default privileges.
        (COVERED + TABLES + "revoke all on app.auth_user from owners_service", {"auth_user": "warning"}),
        (TABLES + COVERED + "grant select on app.orders to owners_service", {"auth_user": "warning"}),
        (MISSED + TABLES + "grant select on app.orders to owners_service", {"auth_user": "warning"}),
        # Nothing there is open, although default privileges were meant to open it.
        (MISSED + TABLES, {"auth_user": "critical", "orders": "critical"}),
        # A later migration, by a creator whom the default privileges do not speak of.
        (
            MISSED + TABLES + "grant select on app.orders to owners_service;"
            "set role owners_migrator; create table app.later (i int)",
            {"later": "critical"},
        ),
    ],
)
def test_a_closed_table_is_critical_only_where_it_was_surely_meant_to_be_open(
    server: Server, database: str, roles: None, statements: str, expected: dict[str, str]
):
    server.execute(REPORTS + statements, database)
    found = [f for f in told("unreadable_tables", server, database) if f.subject.name == "owners_service"]
    # DROP OWNED of several roles fails on default privileges that it has just dropped with another.
    server.execute("drop schema app cascade", database)

    assert {name: finding.severity for finding in found for name in finding.relations} == expected
    for finding in found:
        assert finding.remedy.startswith("grant select on") == (finding.severity == "critical")


def test_the_administrator_of_a_hosted_database_is_not_stripped_of_createrole(versioned: Server):
    server = versioned
    server.execute("create role hosted_master login createrole createdb")
    told_here = {f.subject.name: f for f in told("paths_to_superuser", server, "postgres")}
    server.execute("create role rdsadmin login superuser")
    hosted = {f.subject.name: f for f in told("paths_to_superuser", server, "postgres")}
    server.execute("grant pg_execute_server_program to hosted_master")
    granted = {f.subject.name: f for f in told("paths_to_superuser", server, "postgres")}
    server.execute("drop role hosted_master, rdsadmin")

    if server.version < 16:
        assert [told["hosted_master"].severity for told in (told_here, hosted)] == ["warning", "info"]
        assert all("If hosted_master is the administrator, leave it" in f["hosted_master"].remedy for f in (told_here, hosted))
    else:
        assert "hosted_master" not in told_here
    assert granted["hosted_master"].severity == "warning", "no provider gave this"
    assert granted["hosted_master"].remedy.startswith("revoke pg_execute_server_program from hosted_master")


@pytest.fixture
def neighbour(server: Server, database: str) -> Iterator[str]:
    name = f"{database}_neighbour"
    server.create_database(name)
    server.execute("create schema app; create table app.nonces (nonce text)", name)
    yield name
    server.execute(f"drop database if exists {name} with (force)")


def test_a_relation_next_door_breaks_the_identity_of_the_database(server: Server, database: str, neighbour: str):
    found = document(server, database, MISSING)

    assert (found.verdict.status, found.verdict.layer) == ("broken", "database identity")
    assert f"{neighbour} (table app.nonces" in found.verdict.summary
    assert {"missing_relations", "relations_in_other_databases"} <= {result.check for result, _ in found.findings()}


@pytest.mark.parametrize(
    "symptom",
    ['relation "public.nonces" does not exist', 'relation "Nonces" does not exist', "permission denied for table nonces", None],
)
def test_another_schema_other_letters_and_other_errors_are_not_next_door(
    server: Server, database: str, neighbour: str, symptom: str | None
):
    assert told("relations_in_other_databases", server, database, symptom) == []


def test_the_same_name_here_in_other_letters_is_the_better_cause(server: Server, database: str, neighbour: str):
    server.execute('create table "Nonces" (nonce text)', database)

    assert told("relations_in_other_databases", server, database, MISSING) == []
    assert document(server, database, MISSING).verdict.layer == "schema"


def test_a_database_that_refuses_is_unseen_only_while_nothing_was_found(server: Server, database: str, neighbour: str):
    server.execute("create role next_door_reader login")
    try:
        closed = f"{database}_closed"
        server.create_database(closed)
        server.execute(f"revoke connect on database {closed} from public")
        asked = server.dsn(database, "next_door_reader")
        found = result_of("relations_in_other_databases", asked, {"symptom": MISSING})
        missed = result_of("relations_in_other_databases", asked, {"symptom": 'relation "nothing" does not exist'})
        other = result_of("relations_in_other_databases", asked, {"symptom": "permission denied for table nothing"})
    finally:
        server.execute(f"drop database if exists {closed} with (force)")
        server.execute("drop role next_door_reader")

    assert (len(found.findings), found.not_examined) == (1, ())
    assert [entry.subject for entry in missed.not_examined] == [f"database {closed}"]
    assert other.status == "clean"
