"""What errors say: read from the server's own words, its log, and the wrappings of drivers."""

from __future__ import annotations

import time

import psycopg
import pytest

from kit.analyze.error.text import read_error
from kit.analyze.symptom import parse_symptom
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server

SETUP = """
    create schema app; create schema shut;
    create table app.orders (id int); create table app."my Table" (id int); create table shut.hidden (id int);
    create view app.all_orders as select * from app.orders;
    create materialized view app.kept as select * from app.orders;
    create sequence app.numbers;
    create function app.twice(int) returns int language sql as 'select $1 * 2';
    revoke execute on function app.twice(int) from public;
    create table app.guarded (id int);
    alter table app.guarded enable row level security;
    create policy "own rows" on app.guarded as restrictive with check (id > 10);
    create policy everyone on app.guarded with check (true);
    create role reader login; create role nobody nologin;
    grant usage on schema app to reader; grant insert, select on app.guarded to reader;
    alter role reader set search_path to app;
"""
# The statement, and what its error says.
PROVOKED = [
    ("select * from nowhere", "missing relation", {"relation": "nowhere", "schema": None}),
    ('select * from app."Orders"', "missing relation", {"relation": "Orders", "schema": "app"}),
    ('select * from "we""ird name"', "missing relation", {"relation": 'we"ird name'}),
    ("select missing from orders", "missing column", {"column": "missing", "relation": None}),
    ("select o.missing from all_orders o", "missing column", {"column": "missing", "alias": "o", "relation": None}),
    ("update guarded set missing = 1", "missing column", {"column": "missing", "relation": "guarded"}),
    ("insert into guarded (missing) values (1)", "missing column", {"column": "missing", "relation": "guarded"}),
    ("select 1 from nope.orders", "missing relation", {"relation": "orders", "schema": "nope"}),
    ("create table nope.made (id int)", "missing schema", {"schema": "nope"}),
    (
        "select app.thrice(1, 'x'::text)",
        "missing function",
        {"function": "thrice", "schema": "app", "arguments": ("integer", "text")},
    ),
    ("select now_or_never()", "missing function", {"function": "now_or_never", "arguments": ()}),
    ("select nextval('missing_seq')", "missing relation", {"relation": "missing_seq"}),
    ("select nextval('numbers')", "denied", {"sequence": "numbers", "object_kind": "sequence"}),
    ("select * from orders", "denied", {"relation": "orders", "object_kind": "table"}),
    ('select * from "my Table"', "denied", {"relation": "my Table", "object_kind": "table"}),
    ("select * from all_orders", "denied", {"relation": "all_orders", "object_kind": "view"}),
    ("select * from kept", "denied", {"relation": "kept", "object_kind": "materialized view"}),
    ("select * from shut.hidden", "denied", {"schema": "shut", "object_kind": "schema"}),
    ("create table app.made (id int)", "denied", {"schema": "app", "object_kind": "schema"}),
    ("select twice(1)", "denied", {"function": "twice", "object_kind": "function"}),
    ("create schema mine", "denied", {"database": "errors", "object_kind": "database"}),
    ("drop table orders", "not owner", {"relation": "orders"}),
    ("alter schema app rename to apps", "not owner", {"schema": "app"}),
    ("insert into guarded values (1)", "row security", {"relation": "guarded", "policy": "own rows"}),
    ("set role nobody", "denied", {"relation": None}),
    ("select guarded.id from orders, lateral (select orders.id from app.guarded g) s", "wrong statement", {"relation": None}),
]


@pytest.fixture(scope="module")
def prepared(server: Server):
    server.create_database("errors")
    server.execute(SETUP, "errors")
    yield server
    server.execute("drop database errors with (force)")
    server.execute("drop role reader, nobody")


def error_of(server: Server, statement: str) -> psycopg.Error:
    with server.connect("errors", "reader") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    return caught.value


@pytest.mark.parametrize(("statement", "trouble", "names"), PROVOKED)
def test_the_servers_own_words_are_read_for_the_objects_they_name(prepared: Server, statement: str, trouble: str, names: dict):
    error = error_of(prepared, statement)
    # As psycopg shows it, as libpq's clients print it, and as it stands in a driver's JSON.
    texts = (
        f"psycopg.errors.{type(error).__name__}: {error}",
        f"ERROR:  {error.diag.message_primary}",
        f'{{"code":"{error.sqlstate}","message":"{error.diag.message_primary}"}}'.replace('"we"ird', r"\"we\"ird"),
    )
    for text in texts:
        reading = read_error(text)
        assert error.sqlstate in reading.sqlstates, text
        assert reading.trouble == trouble, text
        assert {key: getattr(reading, key) for key in names} == names, text


@pytest.mark.parametrize(
    ("user", "database", "trouble", "names"),
    [
        ("stranger", "errors", "refused login", {"role": "stranger"}),
        ("nobody", "errors", "refused login", {"role": "nobody"}),
        ("reader", "elsewhere", "missing database", {"database": "elsewhere"}),
        ("reader", "closed", "denied", {"database": "closed", "object_kind": "database"}),
    ],
)
def test_a_refused_connection_is_read(prepared: Server, user: str, database: str, trouble: str, names: dict):
    if database == "closed":
        prepared.execute("create database closed")
        prepared.execute("revoke connect on database closed from public")
    with pytest.raises(psycopg.OperationalError) as caught:
        prepared.connect(database, user)
    prepared.execute("drop database if exists closed")

    reading = read_error(str(caught.value))

    assert reading.trouble == trouble
    assert {key: getattr(reading, key) for key in names} == names


@pytest.mark.parametrize(
    ("prefix", "client"),
    [
        ("%m [%p] user=%u,db=%d,app=%a,client=%h ", "[local]"),
        ("%t [%p]: [%l-1] db=%d,user=%u ", None),
        ("%m [%p] %q%u@%d ", None),
        ("%t:%r:%u@%d:[%p]:", None),
        ("[user=%u] [db=%d] [app=%a] ", None),
    ],
)
def test_the_session_and_the_statement_are_read_from_a_servers_log(prefix: str, client: str | None):
    with sandbox.running(settings={"log_line_prefix": prefix}) as own:
        own.execute('create role "svc@proj.iam" login')
        own.create_database("shop-1")
        with own.connect("shop-1", "svc@proj.iam") as connection:
            connection.execute("set application_name = 'Order API'")
            with pytest.raises(psycopg.Error):
                connection.execute("select *\nfrom nowhere\n\twhere 'permission denied' <> ''")
        log = own.log_file.read_text()

    reading = read_error(log[log.rindex("\n", 0, log.index("nowhere")) + 1 :])

    assert (reading.trouble, reading.relation) == ("missing relation", "nowhere")
    assert reading.sqlstates == {"42P01"}
    assert (reading.session.role, reading.session.database) == ("svc@proj.iam", "shop-1")
    assert reading.session.application_name == ("Order API" if "%a" in prefix else None)
    assert reading.session.client_address == client
    assert (reading.statement, reading.is_excerpt) == ("select *\nfrom nowhere\n\twhere 'permission denied' <> ''", False)


WRAPPED = [
    (
        "Invalid `prisma.nonces.create()` invocation:\n\nThe table `public.siwe_nonces` does not exist in the current database.",
        {"trouble": "missing relation", "relation": "siwe_nonces", "schema": "public"},
    ),
    ("PrismaClientKnownRequestError code: 'P2021'", {"trouble": "missing relation", "sqlstates": {"42P01"}}),
    (
        "The column `sessions.platform_id` does not exist in the current database. P2022",
        {"trouble": "missing column", "column": "platform_id", "alias": "sessions"},
    ),
    (
        "Error: P1010: User `app` was denied access on the database `shop.public`",
        {"trouble": "refused login", "role": "app", "database": "shop.public"},
    ),
    (
        "P1003: Database `shop` does not exist on the database server at `db:5432`.",
        {"trouble": "missing database", "database": "shop"},
    ),
    (
        'Raw query failed. Code: `42501`. Message: `ERROR: permission denied for table "orders"`',
        {"trouble": "denied", "relation": "orders", "sqlstates": {"42501"}},
    ),
    (
        'PostgresError { code: "42501", message: "permission denied for table siwe_nonces", severity: "ERROR" }',
        {"trouble": "denied", "relation": "siwe_nonces"},
    ),
    (
        (
            '(psycopg2.errors.UndefinedTable) relation "users" does not exist\nLINE 1: SELECT users.id \n             ^\n\n'
            "[SQL: SELECT users.id \nFROM users \nWHERE users.id = %(id_1)s]\n[parameters: {'id_1': 1}]\n"
            "(Background on this error at: https://x)"
        ),
        {"relation": "users", "statement": "SELECT users.id \nFROM users \nWHERE users.id = %(id_1)s", "is_excerpt": False},
    ),
    (
        "<class 'asyncpg.exceptions.InsufficientPrivilegeError'>: permission denied for schema billing",
        {"trouble": "denied", "schema": "billing", "relation": None},
    ),
    (
        'django.db.utils.ProgrammingError: relation "shop_order" does not exist\nLINE 1: SELECT "id" FROM "shop_order"\n   ^',
        {"relation": "shop_order", "statement": 'SELECT "id" FROM "shop_order"', "is_excerpt": True},
    ),
    (
        'ActiveRecord::StatementInvalid: PG::UndefinedTable: ERROR:  relation "orders" does not exist\nLINE 1: SELECT 1\n',
        {"relation": "orders", "sqlstates": {"42P01"}},
    ),
    (
        'org.postgresql.util.PSQLException: ERROR: relation "app.orders" does not exist\n  Position: 15',
        {"relation": "orders", "schema": "app"},
    ),
    ('pq: relation "orders" does not exist', {"relation": "orders"}),
    ("ERROR: permission denied for table order items (SQLSTATE 42501)", {"relation": "order items", "sqlstates": {"42501"}}),
    ("permission denied for table orders when logging in on staging", {"relation": "orders"}),
    (
        'error: select * from "Users" where "id" = $1 - relation "Users" does not exist',
        {"relation": "Users", "statement": 'select * from "Users" where "id" = $1'},
    ),
    (
        '** (Postgrex.Error) ERROR 42P01 (undefined_table) relation "orders" does not exist\n\n    query: SELECT 1',
        {"relation": "orders", "sqlstates": {"42P01"}},
    ),
    (
        r'{"code":"42501","details":null,"hint":null,"message":"new row violates row-level security policy for table \"posts\""}',
        {"trouble": "row security", "relation": "posts", "policy": None},
    ),
    ("PGRST116: The result contains 0 rows", {"trouble": "no rows", "sqlstates": set()}),
    ("the list comes back as zero rows, no error", {"trouble": "no rows"}),
    ("users see zero rows of notes", {"trouble": "no rows", "relation": "notes"}),
    ('no rows from "Order lines" any more', {"trouble": "no rows", "relation": "Order lines"}),
    ("0 rows in the table app.notes", {"trouble": "no rows", "schema": "app", "relation": "notes"}),
    ("12 rows of notes were written", {"relation": None}),
    ("42501", {"trouble": "denied", "sqlstates": {"42501"}}),
    ("3F000", {"trouble": "missing schema"}),
    ("SQLSTATE[28P01]", {"trouble": "refused login", "sqlstates": {"28P01"}}),
    (
        'FATAL: no pg_hba.conf entry for host "10.1.2.3", user "app", database "shop", no encryption',
        {"trouble": "refused login", "role": "app", "database": "shop", "sqlstates": {"28000"}},
    ),
    (
        'Cloud SQL IAM service account authentication failed for user "svc@proj.iam"',
        {"trouble": "refused login", "role": "svc@proj.iam"},
    ),
    ("Relation “orders” does not exist", {"relation": "orders"}),
    ('\x1b[31mERROR\x1b[0m: relation \x1b[1m"orders"\x1b[0m does not exist', {"relation": "orders"}),
    ("everything is on fire", {"trouble": None, "relation": None, "sqlstates": set()}),
]


@pytest.mark.parametrize(("text", "said"), WRAPPED)
def test_what_drivers_wrap_around_an_error_is_read_through(text: str, said: dict):
    reading = read_error(text)

    assert {key: getattr(reading, key) for key in said} == said


@pytest.mark.parametrize(
    ("line", "role", "database", "application"),
    [
        (
            (
                '2026-05-01 10:00:00.000 UTC,"app","shop",123,"10.0.0.9:5432",66,1,"SELECT",2026-05-01 09:00:00 UTC,3/1,0,ERROR,'
                '42P01,"relation ""orders"" does not exist",,,,,,"select 1 from orders",15,,"api"'
            ),
            "app",
            "shop",
            None,
        ),
        (
            (
                '{"timestamp":"x","user":"app","dbname":"shop","pid":1,"remote_host":"10.0.0.9","error_severity":"ERROR",'
                '"state_code":"42P01","message":"relation \\"orders\\" does not exist",'
                '"statement":"select 1","application_name":"api"}'
            ),
            "app",
            "shop",
            "api",
        ),
        ("2026-05-01 UTC [7]: [1-1] user=[unknown],db=[unknown],app=[unknown],client=10.0.0.9 FATAL:  x", None, None, None),
    ],
)
def test_other_formats_of_logs_tell_the_session_too(line: str, role: str | None, database: str | None, application: str | None):
    session = read_error(line).session

    assert (session.role, session.database, session.application_name) == (role, database, application)
    assert session.client_address == "10.0.0.9"


def test_the_host_of_a_connection_string_is_no_client():
    session = read_error("could not connect: host=db.internal port=5432 user=app dbname=shop").session

    assert (session.role, session.database, session.client_address) == ("app", "shop", None)


def test_the_statement_of_a_json_log_is_decoded():
    reading = read_error('{"statement":"select \\"a\\"\\nfrom orders where x = \'permission denied\'","state_code":"42P01"}')

    assert reading.statement == "select \"a\"\nfrom orders where x = 'permission denied'"
    assert reading.sqlstates == {"42P01"}


def test_the_first_error_of_several_names_the_object():
    text = 'ERROR:  permission denied for table carts\nERROR:  relation "orders" does not exist'

    assert (read_error(text).relation, read_error(text).trouble) == ("carts", "denied")


@pytest.mark.parametrize(
    "piece",
    [
        "relation ", 'relation "', "column x of ", "permission denied for table ", "table table ", "a@", "user=", "app=a ",
        "function f(", "STATEMENT: \n ", '"statement":"\\', "[SQL: ", "select ", "LINE 1: ", '""', "ERROR: must be owner of ",
        "\\n", "x", "database time", "connection ", "authentication failed for user '", "no pg_hba.conf entry for user ",
        "\u202e", "\0", "2026-01-01 ",
    ],
)  # fmt: skip
def test_hostile_text_costs_no_more_than_a_long_one(piece: str):
    start = time.process_time()
    read_error(piece * (1_000_000 // len(piece)))

    assert time.process_time() - start < 2.0


def test_a_symptom_is_what_the_error_says():
    symptom = parse_symptom(
        '2026 [1] app@shop ERROR:  permission denied for view all_orders\nSTATEMENT:  select 1 from "other table"'
    )

    assert (symptom.relation, symptom.schema, symptom.sqlstates) == ("all_orders", None, {"42501"})
