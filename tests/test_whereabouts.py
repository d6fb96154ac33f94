"""Where a relation or column is, whose ledgers stand beside it, and who the application really is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pandas as pd
import psycopg
import pytest

from kit.analyze.access.explain import explain
from kit.analyze.applications import applications, mistaken_identity
from kit.analyze.error.questions import questions_of
from kit.analyze.error.text import read_error
from kit.analyze.probes import propose
from kit.analyze.whereabouts import databases, search
from kit.collect.postgres import collect_database
from kit.errors import ParameterError
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Evidence, Frames, Source, provenance
from kit.sandbox.server import Server
from kit.target import DatabaseSource

SETUP = """
    create schema app; create schema "Old"; create schema shut;
    create table app."Siwe_Nonces" (id int, platform_id text, created timestamptz);
    create table public.siwe_nonces_archive (id int, "Platform_Id" text);
    create view shut.siwe_nonces as select 1 as id, 2 as platform;
    create table "Old".orders (id int); create table app.orders (id int); create table app.shop_payments (id int);
    create materialized view app.kept as select 1 as id; create sequence app.invoice_numbers;
    create table app._prisma_migrations (
        id text, checksum text, finished_at timestamptz, migration_name text, logs text, rolled_back_at timestamptz,
        started_at timestamptz, applied_steps_count int);
    insert into app._prisma_migrations values ('1', 'x', '2026-01-02 03:04Z', '001_init', null, null, '2026-01-02 03:03Z', 1),
        ('2', 'x', '2026-03-02 03:04Z', '002_sessions', null, null, '2026-03-02 03:03Z', 1);
    create role seeker login; create role stranger login;
    grant usage on schema app, "Old" to seeker; grant select on all tables in schema app to seeker;
    grant select on shut.siwe_nonces to seeker;
    alter role seeker set search_path to shut, app;
"""
PROBES = frozenset({"migrations_prisma"})
RELATIONS = ("database_name", "schema_name", "relation_name", "kind", "owner_name")
LEDGERS = ("database_name", "schema_name", "relation_name", "tool", "last_migration", "last_at")
DATABASES = ("database_name", "status", "reason")


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Server]:
    server.create_database("lost")
    server.execute(SETUP, "lost")
    yield server
    server.execute("drop database lost with (force)")
    server.execute("drop role seeker, stranger")


@pytest.fixture(scope="module")
def source(place: Server) -> Source:
    return collect_database(DatabaseSource("database", place.dsn("lost")), propose=lambda frames: propose(frames, PROBES))[0]


def evidence(names: tuple[str, ...], rows: list[tuple]) -> Evidence:
    columns = tuple(Column(name, "datetime64[us, UTC]" if name.endswith("_at") else "string") for name in names)
    return Evidence(build_frame(columns, rows), columns, provenance("", "", "", datetime.now(UTC), 0.0, len(rows)))


@pytest.fixture(scope="module")
def frames(source: Source) -> Frames:
    elsewhere = {
        "relations_elsewhere": evidence(
            RELATIONS,
            [
                ("lost_copy", "public", "siwe_nonces", "table", "migrator"),
                ("lost_copy", "public", "users", "table", "migrator"),
                ("archive", "public", "Orders", "table", "migrator"),
            ],
        ),
        "ledgers_elsewhere": evidence(
            LEDGERS,
            [("lost_copy", "public", "_prisma_migrations", "prisma", "003_nonces", datetime(2026, 4, 1, 9, 30, tzinfo=UTC))],
        ),
        "other_databases": evidence(
            DATABASES, [("lost_copy", "read", None), ("archive", "read", None), ("secret", "refused", "permission denied")]
        ),
    }
    return Frames(source, elsewhere)


def found(frame: pd.DataFrame, *names: str) -> list[tuple]:
    chosen = frame[list(names or ("database_name", "schema_name", "relation_name", "match"))].astype(object)
    return [tuple(None if pd.isna(value) else value for value in row) for row in chosen.itertuples(index=False)]


def test_a_lost_relation_is_found_in_other_letters_schemas_and_databases(frames: Frames):
    frame = search(frames, "siwe_nonces", role="seeker")

    assert found(frame) == [
        ("lost", "shut", "siwe_nonces", "exact"),
        ("lost_copy", "public", "siwe_nonces", "exact"),
        ("lost", "app", "Siwe_Nonces", "other case"),
        ("lost", "public", "siwe_nonces_archive", "near"),
    ]
    assert frame["kind"].tolist() == ["view", "table", "table", "table"]
    assert frame["owner_name"].tolist() == ["postgres", "migrator", "postgres", "postgres"]


def test_the_schema_that_was_written_comes_first(frames: Frames):
    assert found(search(frames, '"Old".orders'), "schema_name")[:2] == [("Old",), ("app",)]
    assert found(search(frames, "app.orders"), "schema_name")[:2] == [("app",), ("Old",)]


def test_a_quoted_name_is_taken_as_it_stands(frames: Frames):
    assert found(search(frames, '"Siwe_Nonces"'))[0] == ("lost", "app", "Siwe_Nonces", "exact")
    assert found(search(frames, "Siwe_Nonces"))[0] == ("lost", "shut", "siwe_nonces", "exact")


@pytest.mark.parametrize(
    ("name", "near"), [("siwe_nonce", "siwe_nonces"), ("payments", "shop_payments"), ("invoice_number", "invoice_numbers")]
)
def test_names_that_are_like_it_are_offered(frames: Frames, name: str, near: str):
    assert near in search(frames, name)["relation_name"].tolist()


def test_nothing_is_offered_by_chance(frames: Frames):
    assert found(search(frames, "zebra")) == []


@pytest.mark.parametrize("role", ["seeker", "stranger", "postgres"])
def test_visible_and_usable_are_what_the_server_says(place: Server, frames: Frames, role: str):
    hits = [search(frames, name, role=role) for name in ("siwe_nonces", "orders", "kept", "shop_payments")]
    here = pd.concat(hits).query("database_name == 'lost'")

    with place.connect("lost", role) as connection:
        for row in here.itertuples():
            schema = f"(select oid from pg_namespace where nspname = '{row.schema_name}')"
            table = f"(select oid from pg_class where relname = '{row.relation_name}' and relnamespace = {schema})"
            usable = f"has_schema_privilege({schema}, 'usage') and has_any_column_privilege({table}, 'select, insert, update')"
            answer = connection.execute(f"select pg_table_is_visible({table}), {usable}".encode()).fetchone()
            assert answer == (row.is_visible_to_role, row.may_use), row


def test_other_databases_and_no_role_leave_reach_unknown(frames: Frames):
    assert search(frames, "siwe_nonces", role="seeker")["may_use"].isna().tolist() == [False, True, False, False]
    assert search(frames, "siwe_nonces")["is_visible_to_role"].isna().all()
    assert search(frames, "siwe_nonces", role="nobody of that name")["may_use"].isna().all()


def test_the_ledger_of_each_database_stands_beside_it(frames: Frames):
    ledgers = dict(found(search(frames, "siwe_nonces"), "database_name", "ledger"))

    assert ledgers == {
        "lost": "app._prisma_migrations (prisma), last 002_sessions at 2026-03-02 03:04 UTC",
        "lost_copy": "public._prisma_migrations (prisma), last 003_nonces at 2026-04-01 09:30 UTC",
    }


def test_another_database_of_the_server_is_searched(place: Server):
    place.create_database("lost_truly")
    place.execute("create table nonces_of_siwe (id int); create table only_there_and_nowhere_else (id int)", "lost_truly")
    asked = {"databases", "relations", "migration_ledgers", "relations_elsewhere", "other_databases", "ledgers_elsewhere"}

    frames = Frames(collect_database(DatabaseSource("database", place.dsn("lost")), only=asked)[0])
    place.execute("drop database lost_truly with (force)")

    assert found(search(frames, "Only_there_and_nowhere_else")) == [
        ("lost_truly", "public", "only_there_and_nowhere_else", "exact")
    ]
    assert ("lost_truly", "looked at") in found(databases(frames), "database_name", "status")


def test_databases_that_could_not_be_looked_at_are_said(frames: Frames, source: Source):
    assert found(databases(frames), "database_name", "status", "reason") == [
        ("lost", "looked at", None),
        ("lost_copy", "looked at", None),
        ("archive", "looked at", None),
        ("secret", "refused", "permission denied"),
    ]
    partial = Frames(Source(source.name, source.kind, source.vantage, source.identity, _without(source, "other_databases")))
    assert ("postgres", "not asked") in found(databases(partial), "database_name", "status")


def _without(source: Source, *names: str) -> dict[str, Evidence]:
    return {name: item for name, item in source.evidence.items() if name not in names}


@pytest.mark.parametrize(
    ("relation", "column", "expected"),
    [
        (
            '"Siwe_Nonces"',
            "platform",
            [("app", "Siwe_Nonces", "platform_id", "near"), ("shut", "siwe_nonces", "platform", "exact")],
        ),
        ("siwe_nonces_archive", "platform_id", [("public", "siwe_nonces_archive", "Platform_Id", "other case")]),
        (None, "platform_id", [("app", "Siwe_Nonces", "platform_id", "exact")]),
    ],
)
def test_a_lost_column_is_found_in_its_relation_and_in_others(frames: Frames, relation: str | None, column: str, expected: list):
    hits = found(search(frames, relation, column), "schema_name", "relation_name", "column_name", "match")

    assert set(expected) <= set(hits)
    in_relation = [hit for hit in hits if relation and hit[1] == relation.strip('"')]
    assert all(match != "near" for _, name, _, match in hits if relation and name.lower() != relation.strip('"').lower())
    assert relation is None or in_relation


def test_ten_thousand_names_are_searched_in_a_moment(source: Source):
    rows = [("big", "public", f"table_of_customers_{number}", "table", "owner") for number in range(10_000)]
    big = Frames(source, {"relations_elsewhere": evidence(RELATIONS, rows)})
    start = time.process_time()

    frame = search(big, "table_of_customer_77")

    assert time.process_time() - start < 3
    assert 0 < len(frame) <= 20


# --- who is the application -------------------------------------------------------------------------------------------


@pytest.fixture
def connected(place: Server) -> Iterator[Server]:
    with ExitStack() as stack:
        for database, user, application in (
            ("lost", "stranger", "orders api"),
            ("lost", "stranger", "orders api"),
            ("postgres", "seeker", "worker"),
        ):
            opened = stack.enter_context(place.connect(database, user))
            opened.execute(f"set application_name = '{application}'".encode())
        yield place


def clients(server: Server, user: str = "postgres") -> Frames:
    return Frames(collect_database(DatabaseSource("database", server.dsn("lost", user)), only=("sessions",))[0])


def test_the_application_is_told_by_its_sessions(connected: Server):
    frame = applications(clients(connected), "seeker", "lost")
    mine = frame[frame["application_name"].isin(["orders api", "worker"])]

    assert found(mine, "role_name", "database_name", "sessions", "is_other_role", "is_other_database") == [
        ("seeker", "postgres", 1, False, True),
        ("stranger", "lost", 2, True, False),
    ]
    assert mine["states"].map(list).tolist() == [["idle: 1"], ["idle: 2"]]
    assert (mine["hidden_sessions"] == 0).all()
    assert not set(frame["role_name"].dropna()) & {"", "autovacuum launcher"}
    assert not frame["application_name"].fillna("").str.contains("incident-kit").any()


def test_one_sentence_says_that_somebody_else_is_connected(connected: Server):
    frames = clients(connected)

    said = mistaken_identity(frames, "seeker", "lost")
    assert said == "Nobody is connected as seeker to database lost now, but seeker is to postgres (worker, 1 session)."
    assert mistaken_identity(frames, "stranger", "lost") is None
    assert mistaken_identity(frames, None, None) is None


def test_hidden_sessions_are_counted_as_such(connected: Server):
    frame = applications(clients(connected, "seeker"))
    others = frame[frame["role_name"] == "stranger"]

    assert others["hidden_sessions"].tolist() == others["sessions"].tolist() == [2]
    assert others["oldest_started_at"].isna().all()


# --- from the error to the questions ----------------------------------------------------------------------------------


def asked(frames: Frames, text: str, **given: str) -> list[tuple]:
    return [
        (question.role, question.action, question.name, question.columns)
        for question in questions_of(read_error(text), frames, **given)
    ]


def test_a_log_line_raises_the_questions_of_its_statement_for_its_own_role(frames: Frames):
    line = (
        "2026 [1] user=seeker,db=lost ERROR:  permission denied for table orders\nSTATEMENT:  select o.id from kept k, orders o"
    )

    assert asked(frames, line) == [("seeker", "SELECT", "orders", ("id",)), ("seeker", "SELECT", "kept", None)]


def test_a_bare_message_is_asked_about_by_what_it_names(frames: Frames):
    assert asked(frames, 'new row violates row-level security policy for table "orders"', role="seeker") == [
        ("seeker", "INSERT", "orders", None)
    ]
    assert asked(frames, "permission denied for schema shut", role="seeker") == [("seeker", "USAGE", "shut", None)]
    assert asked(frames, 'relation "Old.Orders" does not exist', role="seeker") == [("seeker", "SELECT", '"Old"."Orders"', None)]
    assert asked(frames, 'relation "orders" does not exist\nLINE 1: select * from orders wh...', role="seeker")[0][2] == "orders"


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ('select * from "Old".orders', ("SELECT", '"Old".orders')),
        ("select o.id from app.kept k, shut.siwe_nonces o", ("SELECT", "shut.siwe_nonces")),
        ("select * from siwe_nonces_archive", ("SELECT", "siwe_nonces_archive")),
        ("insert into app.orders values (1)", ("INSERT", "app.orders")),
        ("create table app.made (id int)", ("CREATE", "app")),
        ("create schema made", ("CREATE", "lost")),
        ("select nextval('app.invoice_numbers')", ("USAGE", "app.invoice_numbers")),
    ],
)
def test_an_error_of_the_server_leads_to_the_question_it_is_about(place: Server, frames: Frames, statement: str, question: tuple):
    place.execute("revoke all on app.invoice_numbers from seeker", "lost")
    with place.connect("lost", "seeker") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())

    first = questions_of(read_error(str(caught.value)), frames, "seeker", statement)[0]

    assert (first.action, first.name) == question
    assert explain(frames, first).allowed is False


def test_a_refused_login_asks_whether_the_role_may_connect(frames: Frames):
    questions = questions_of(read_error('FATAL:  password authentication failed for user "stranger"'), frames)

    assert [(asked.role, asked.action, asked.name, asked.kind) for asked in questions] == [
        ("stranger", "CONNECT", "lost", "database")
    ]
    assert [gate.name for gate in explain(frames, questions[0]).gates if gate.status != "not applicable"][:2] == [
        "login",
        "connect",
    ]


def test_ownership_is_no_question_of_a_privilege(frames: Frames):
    assert asked(frames, "ERROR:  must be owner of table orders\nSTATEMENT:  drop table orders", role="seeker") == []


def test_columns_without_their_table_are_found_in_the_catalog(frames: Frames):
    questions = asked(frames, "42501", role="seeker", statement='select platform_id from app."Siwe_Nonces", app.orders')

    assert questions == [("seeker", "SELECT", 'app."Siwe_Nonces"', ("platform_id",)), ("seeker", "SELECT", "app.orders", None)]


def test_without_a_role_nothing_can_be_asked(frames: Frames):
    with pytest.raises(ParameterError, match="names no role"):
        asked(frames, "permission denied for table orders")
