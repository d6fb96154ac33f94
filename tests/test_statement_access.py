"""What a statement needs, held against the server: with exactly these privileges it runs, and with one fewer it does not."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator

import psycopg
import pytest

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explain import explained
from kit.analyze.findings import quoted
from kit.analyze.placeholders import readable
from kit.analyze.statement.access import Need, asked_of, needs, questions
from kit.errors import ParameterError
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from tests.random_statements import TABLES, Writer
from tests.test_access import frames_of

SETUP = """
    create schema app;
    create table app.orders (id int primary key, customer_id int, note text, total int);
    create table app.customers (id int, name text, email text);
    create table app.lines (order_id int, product text, quantity int);
    create table app.name (name text, rank int);
    create table public."Odd Table" ("Id" int, "select" text);
    create sequence app.numbers;
    create function app.twice(int) returns int language plpgsql as 'begin return 2 * $1; end';
    create function app.rows_of(int) returns table (x int, y int) language sql as 'select 1, 2';
    revoke execute on all functions in schema app from public;
    alter role asker set search_path to app, public;
    grant usage on schema app, public to asker;
"""


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[tuple[Server, str]]:
    """A database with tables, and a role that may do nothing with them."""
    server.create_database("statements")
    server.execute("create role asker login")
    server.execute(SETUP, "statements")
    yield server, "statements"
    server.execute("drop database statements with (force)")
    server.execute("drop role asker")


@pytest.fixture
def connection(place: tuple[Server, str]) -> Iterator[psycopg.Connection]:
    with place[0].connect(place[1], autocommit=False) as opened:
        opened.execute("set search_path to app, public")
        yield opened
        opened.rollback()


def columns_of(schema: str | None, name: str) -> tuple[str, ...] | None:
    found = [columns for (place, table), columns in TABLES.items() if table == name and schema in (place, None)]
    return found[0] if found else None


def privileges_of(found: tuple[Need, ...]) -> list[str]:
    """Return the privileges that the needs come to one by one, each as narrow as the server allows."""
    columns: dict[tuple[str, str], set[str]] = defaultdict(set)
    privileges = set()
    for need in found:
        if need.kind == "function":
            privileges |= {f"execute on function {need.written}(int)"} if need.name in ("twice", "rows_of") else set()
        elif need.name == "numbers":
            privileges.add(f"{need.action} on sequence {need.written}")
        else:
            # The same table may stand in a statement with and without its schema.
            table = quoted(need.name)
            columns[table, need.action].update(need.columns)
            if need.read_columns is not None:
                columns[table, "SELECT"].update(need.read_columns)
    return sorted(privileges | {text for (table, action), named in columns.items() for text in _grants(table, action, named)})


def _grants(table: str, action: str, named: set[str]) -> Iterator[str]:
    own = columns_of(None, table.strip('"'))
    assert own is not None
    if action not in ("SELECT", "INSERT", "UPDATE"):
        yield f"{action} on {table}"
        return
    for column in (named | set(own)) - {"*"} if "*" in named else named or own[-1:]:
        yield f"{action} ({quoted(column)}) on {table}"


def refusal(connection: psycopg.Connection, statement: str) -> str | None:
    """Return the SQLSTATE that the role gets; what the statement did is undone."""
    connection.execute("savepoint before")
    connection.execute("set local role asker")
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        connection.execute("rollback to before")
    return None


def refusal_of(connection: psycopg.Connection, statement: str) -> str | None:
    """Return the SQLSTATE that this very session gets."""
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        connection.rollback()
    return None


def hold(connection: psycopg.Connection, statement: str) -> None:
    """Assert that the server demands exactly what is derived, and that less knowledge only adds doubt."""
    found = needs(statement, columns_of)
    privileges = privileges_of(found)
    connection.execute("savepoint clean")
    for privilege in privileges:
        connection.execute(f"grant {privilege} to asker".encode())
    assert refusal(connection, statement) is None, (statement, privileges)
    for privilege in privileges:
        connection.execute("savepoint less")
        connection.execute(f"revoke {privilege} from asker".encode())
        assert refusal(connection, statement) == "42501", (statement, privilege, privileges)
        connection.execute("rollback to less")
    connection.execute("rollback to clean")
    assert_doubt_only(statement, found)


def assert_doubt_only(statement: str, known: tuple[Need, ...]) -> None:
    """Assert that without the catalog nothing is named that is not needed, and nothing needed is left out."""
    blind = {(need.written, need.action): need for need in needs(statement)}
    for need in known:
        seen = blind[need.written, need.action]
        for sure, certain in ((need.columns, seen.columns), (need.read_columns or (), seen.read_columns or ())):
            if need.action == "INSERT" and certain == ("*",):
                continue
            assert set(certain) <= set(sure), statement
            assert set(sure) <= {*certain, *seen.doubtful} or "*" in (*certain, *seen.doubtful), statement


STATEMENTS = """
    select id from orders
    select o.id, c.name from app.orders as o join customers c on c.id = o.customer_id
    select note, name from orders join customers using (id)
    select id from orders left join customers using (id) order by note
    select total from orders natural join customers
    select * from customers
    select c.* from customers c, orders
    select count(*) from orders
    select 1 from orders
    select o from orders o
    select (o).note from orders o
    select row_to_json(orders) from orders
    select name from name
    select n from name n
    select n.name from name n(name)
    select a from customers as c(a)
    select b from customers as c(a, b)
    select j.note from (orders join customers using (id)) as j
    select "Id" from "Odd Table" where "select" is null
    select id from orders for update
    select id from (select id, note from orders) as s for share
    select o.id from orders o, customers c where c.id = o.id for no key update of o
    select email as note from customers order by note
    select date(now()) as total from orders group by total
    select upper(note) as shout from orders group by shout
    select note as total from orders group by total, note
    select note from orders group by note having max(total) > 1
    select distinct on (customer_id) id from orders
    select id from orders where exists (select 1 from customers where name = note)
    select id from orders o where (select count(*) from lines where order_id = o.id) > 1
    select id, (select rank from name limit 1) from orders
    select s.id from (select id, note as n from orders) s where n = 'x'
    select l.product from orders o, lateral (select product from lines where order_id = o.id) l
    with orders as (select name from customers) select name from orders
    with c as (select * from customers) select rank, email from c join name using (name)
    with recursive t(n) as (select id from orders union all select n + 1 from t where n < 0) select n from t
    with unread as (select email from customers), read as (select note from orders) select note from read
    with gone as (delete from lines) select rank from name
    with gone as (delete from lines where quantity = 1 returning product) select product from gone
    with a as (select id from orders), b as (select id from a) select id from b, lines
    select id from orders union select order_id from lines order by id
    select sum(total) over (partition by customer_id order by id) from orders
    select sum(total) filter (where note is null) over w from orders window w as (order by id)
    select id from orders limit (select max(rank) from name)
    select ctid, id from orders
    select *, xmin from customers
    select from orders
    select (o.*) is null from orders o
    select count(o) from orders o
    select array(select product from lines where order_id = o.id) from orders o
    select note from orders tablesample system ((select coalesce(max(rank), 1) from name))
    select note, count(*) from orders group by grouping sets ((note), ()) order by 1
    select note as total from orders order by total
    select note as total from orders order by orders.total
    select note as n from orders order by lower(total::text)
    select customer_id from orders group by 1 having customer_id > 1
    (select id from orders order by note) union all (select order_id from lines limit 1) order by 1
    select * from (values (1)) v(id) join orders using (id)
    select v.* from orders, (values (1)) v
    select f.x from app.rows_of((select max(total) from orders)) f
    select generate_series(1, total) from orders
    select t.n from orders, json_table('[1]'::jsonb, '$[*]' columns (n int path '$')) t where t.n = id
    select x.id from orders o join lateral (select c.id from customers c where c.name = o.note) x on true
    select 1 from orders o join customers c on c.id = o.customer_id join lines l on l.order_id = o.id and l.product = c.name
    select case when total > 1 then note else (select name from customers c where c.id = o.id) end from orders o
    select a.id from (orders a join customers b using (id)) join lines on order_id = a.customer_id
    values ((select max(id) from orders))
    table customers
    select twice(total) from orders
    select id from orders where app.twice(1) = 2
    select x from app.rows_of(1)
    select total, y from orders, rows_of(total) as f(x, y)
    select nextval('app.numbers')
    select setval('numbers'::regclass, 3)
    insert into lines values (1, 'a', 2)
    insert into lines values (1)
    insert into lines default values
    insert into lines (order_id, product) select id, note from orders
    insert into lines select id, note from orders
    insert into orders (id) values (1) returning id
    insert into orders (id) values (1) returning *
    insert into orders as o (id, note) values (1, 'a') on conflict (id) do update set note = excluded.note where o.total > 1
    insert into orders (id) values (1) on conflict do nothing
    insert into orders (id) values (1) on conflict (id) do nothing
    insert into orders (id) select coalesce(max(order_id), 1) from lines returning note
    insert into app.orders (id, total) values (nextval('numbers'), 2)
    update orders set note = 'x'
    update orders set total = total + 1
    update orders set note = 'x' where id = 1
    update orders o set note = c.name from customers c where c.id = o.customer_id
    update orders set (note, total) = (select name, rank from name limit 1)
    update orders set note = 'x' returning orders.id
    update orders set note = default where id in (select order_id from lines)
    delete from orders
    delete from orders where id = 1
    delete from orders o using lines l where l.order_id = o.id returning l.product
    delete from lines where exists (select 1 from orders where id = order_id)
    with c as (select note from orders) insert into lines (product) select note from c
    update orders set (note, total) = row('a', 1)
    update orders set total = 1 returning old.total, new.note
    update orders set total = 1 returning with (old as o) o.customer_id
    delete from orders where (id, note) in (select order_id, product from lines)
    merge into orders o using lines l on o.id = l.order_id when matched then update set total = 1 returning old.note, l.*
    truncate lines
    truncate lines, app.name
    explain select id from orders
    create temp table copied as select id from orders
    merge into orders o using lines l on o.id = l.order_id when matched then update set total = l.quantity
    merge into lines l using orders o on o.id = l.order_id when not matched then insert (order_id) values (o.id)
    merge into lines l using orders o on o.id = l.order_id when not matched then insert values (o.id)
    merge into lines using name n on n.name = product when matched and rank > 1 then delete when matched then do nothing
    merge into lines using (select id from orders) s on s.id = order_id when matched then delete returning quantity, s.id
"""


@pytest.mark.parametrize("statement", [line.strip() for line in STATEMENTS.strip().splitlines()])
def test_the_server_demands_exactly_what_is_derived(connection: psycopg.Connection, statement: str):
    hold(connection, statement)


# --- placeholders, refusals, questions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("select * from t where a = :name and b = ':name'", "select * from t where a = $1 and b = ':name'"),
        ("select * from t where a = :n and b = :n -- :m", "select * from t where a = $1 and b = $1 -- :m"),
        ("select a::text from t where b = ?", "select a::text from t where b = $1"),
        ("insert into t values (?, ?, '?')", "insert into t values ($1, $2, '?')"),
        (
            "select * from t where a=%s and b = %(name)s and c like '100%s'",
            "select * from t where a=$1 and b = $2 and c like '100%s'",
        ),
        ("select * from t where a=@id", "select * from t where a=$1"),
        ('select "?" from t where a = ?', 'select "?" from t where a = $1'),
        ("select a ? 'key', a ?| b from t", "select a ? 'key', a ?| b from t"),
        ("select a[1:2] from t where b = $1", "select a[1:2] from t where b = $1"),
        ("select $$ ? :x %s $$, ?", "select $$ ? :x %s $$, $1"),
        ("select 'ä', ü from t where ü = :wert", "select 'ä', ü from t where ü = $1"),
    ],
)
def test_placeholders_of_drivers_become_parameters(statement: str, text: str):
    read, said = readable(statement)

    assert read == text
    assert (said is None) == (text == statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("select *\nfrom orders\nwhere )", r'cannot be parsed: syntax error at or near "\)", line 3, column 7'),
        ("select 'open", "cannot be parsed: unterminated quoted string"),
        ("alter role app password 'x'", "neither reads nor changes rows"),
        ("select " + "a," * 200_000 + "a", "characters"),
        ("select " + "f(" * 3_000 + "1" + ")" * 3_000, "nested too deeply|stack depth"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(statement: str, message: str):
    with pytest.raises(ParameterError, match=message) as refused:
        needs(statement)

    assert len(str(refused.value)) < 250


def test_without_a_catalog_a_column_that_may_be_of_several_tables_is_doubtful():
    orders, customers = needs("select note, c.name from orders o, customers c")[:2]

    assert (orders.columns, orders.doubtful) == ((), ("note",))
    assert (customers.columns, customers.doubtful) == (("name",), ("note",))


def test_the_columns_of_a_constraint_named_in_on_conflict_are_doubtful():
    # The server asks for SELECT on the constraint's columns, which the statement does not name.
    (need,) = needs("insert into orders (id) values (1) on conflict on constraint orders_pkey do nothing", columns_of)

    assert (need.action, need.read_columns, need.doubtful) == ("INSERT", None, ("*",))


def test_names_are_folded_and_quoted_as_the_server_does():
    assert [need.written for need in needs('select 1 from Orders, "Orders", App."Odd Name"')] == [
        "orders",
        '"Orders"',
        'app."Odd Name"',
    ]


def test_questions_leave_out_the_servers_own_functions():
    found = needs("select count(*), own(1), app.f(2), pg_catalog.lower('x') from orders")

    assert [(question.kind, question.action, question.name, question.columns) for question in questions("r", found, {"own"})] == [
        ("relation", "SELECT", "orders", None),
        ("function", "EXECUTE", "own", None),
        ("function", "EXECUTE", "app.f", None),
    ]


def test_questions_follow_the_roles_search_path(place: tuple[Server, str]):
    server, database = place
    server.execute(
        "create schema other; create table other.orders (elsewhere int); grant usage on schema other to asker", database
    )
    frames = frames_of(server, database)

    assert columns_asked("select note, elsewhere from orders, customers", frames) == {"orders": ("note",), "customers": None}
    server.execute("alter role asker set search_path to other, app", database)
    changed = columns_asked("select note, elsewhere from orders, customers", frames_of(server, database))
    server.execute("alter role asker set search_path to app, public; drop schema other cascade", database)

    assert changed == {"orders": ("elsewhere",), "customers": None}


def test_either_of_two_privileges_will_do_for_a_sequence(place: tuple[Server, str]):
    server, database = place
    server.execute("grant update on sequence app.numbers to asker", database)
    with_update = asked_of("select nextval('numbers')", "asker", frames_of(server, database))
    with server.connect(database, "asker") as connection:
        connection.execute("select nextval('numbers')")
    server.execute("revoke update on sequence app.numbers from asker", database)
    without = asked_of("select nextval('numbers')", "asker", frames_of(server, database))

    assert [question.action for question in (*with_update, *without)] == ["UPDATE", "USAGE"]


def columns_asked(statement: str, frames) -> dict[str, tuple[str, ...] | None]:
    return {question.name: question.columns for question in asked_of(statement, "asker", frames)}


# --- generated statements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_generated_statements_need_what_the_server_demands(connection: psycopg.Connection, seed: int):
    writer = Writer(random.Random(seed))
    for _ in range(40):
        hold(connection, writer.statement())


@pytest.mark.matrix
@pytest.mark.parametrize("major", range(13, 18))
def test_other_versions_demand_the_same(major: int):
    with sandbox.running(binaries.npm(major)) as older:
        older.create_database("statements")
        older.execute("create role asker login")
        older.execute(SETUP, "statements")
        with older.connect("statements", autocommit=False) as connection:
            connection.execute("set search_path to app, public")
            writer = Writer(random.Random(major))
            for _ in range(60):
                hold(connection, writer.statement())


def granted(chance: random.Random) -> Iterator[str]:
    """Yield privileges at random: on whole tables, on some columns, or none."""
    if chance.random() < 0.9:
        yield "usage on schema app"
    for (schema, name), columns in TABLES.items():
        table = f"{schema}.{quoted(name)}"
        for action in ("select", "insert", "update"):
            some = ", ".join(map(quoted, chance.sample(columns, chance.randint(1, len(columns)))))
            yield from chance.choice(([f"{action} on {table}"], [f"{action} ({some}) on {table}"], []))
        yield from chance.choice(([f"delete on {table}"], [f"truncate on {table}"], []))
    yield from chance.choice((["usage on sequence app.numbers"], ["update on sequence app.numbers"], []))
    yield from chance.choice((["execute on all functions in schema app"], []))


@pytest.mark.parametrize("seed", range(2))
def test_a_statement_is_explained_as_the_server_answers(place: tuple[Server, str], database: str, seed: int):
    server = place[0]
    chance = random.Random(seed)
    # The role of `place`; what it is granted goes with this database.
    server.execute(SETUP, database)
    server.execute("revoke usage on schema app from asker", database)
    server.execute("; ".join(f"grant {privilege} to asker" for privilege in granted(chance)), database)
    frames = frames_of(server, database)
    catalog, writer, answers = Catalog(frames), Writer(chance), []
    statements = [line.strip() for line in chance.sample(STATEMENTS.strip().splitlines(), 50)]
    with server.connect(database, "asker", autocommit=False) as connection:
        for statement in [*statements, *(writer.statement() for _ in range(50))]:
            asked = [explained(catalog, question).allowed for question in asked_of(statement, "asker", frames, catalog.access)]
            refused = refusal_of(connection, statement)
            answers.append((statement, all(asked) if None not in asked else None, refused is None))

    assert [answer for answer in answers if answer[1] is not answer[2]] == []
