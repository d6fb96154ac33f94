"""The PostgreSQL fact queries: what they promise in their files, and what real servers answer."""
# ruff: noqa: N802 (pglast calls a visitor's methods by the names of the nodes)

from __future__ import annotations

import math
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pglast
import psycopg
import pytest
from pglast import ast
from pglast.visitors import Visitor

from kit.collect.queries import GROUPS, FactQuery, choose, elsewhere_queries, fact_queries, parse, probes
from kit.errors import KitError
from kit.evidence.columns import build_frame
from kit.sandbox import binaries, server
from kit.sandbox.server import Server

PLACES = {"pg_stat_statements_schema": "the extension", "ledger_schema": "the ledger's", "ledger_table": "the ledger"}
ONE_ROW = "one row"
UNDER_THE_USERS_PATH = ("session", "settings")
FRAMES = {
    "activity": {"sessions", "blocking", "prepared_transactions"},
    "locks": {"locks"},
    "server": {"databases", "extensions", "replication_slots"},
    "access": {
        "roles", "role_memberships", "role_settings", "database_grants", "schemas", "schema_grants", "relations",
        "relation_grants", "column_grants", "default_privileges", "policies", "columns", "functions", "function_grants",
        "types", "type_grants", "relation_uses", "function_uses", "sequence_uses", "function_mentions",
        "extension_relations", "view_changes",
    },
    "storage": {"relation_sizes", "indexes", "table_statistics", "column_widths", "foreign_keys"},
    "statements": {"statements", "statements_info"},
    "changes": {"migration_ledgers"},
    "session": {"session", "settings"},
}  # fmt: skip
PROBE_COLUMNS = ["migration_name", "started_at", "finished_at", "rolled_back_at", "is_failed", "applied_steps"]
# Every one only reads: a READ ONLY transaction would still let others send signals, write WAL or take locks.
ALLOWED_FUNCTIONS = frozenset(
    [
        "acldefault",
        "aclexplode",
        "age",
        "array_agg",
        "array_to_string",
        "bit_or",
        "bool_and",
        "bool_or",
        "cardinality",
        "ceil",
        "chr",
        "clock_timestamp",
        "concat_ws",
        "count",
        "current_database",
        "current_schemas",
        "current_setting",
        "format_type",
        "has_database_privilege",
        "host",
        "inet_server_addr",
        "inet_server_port",
        "lag",
        "lead",
        "left",
        "length",
        "lower",
        "max",
        "min",
        "mxid_age",
        "octet_length",
        "pg_available_extensions",
        "pg_backend_pid",
        "pg_blocking_pids",
        "pg_column_is_updatable",
        "pg_conf_load_time",
        "pg_database_collation_actual_version",
        "pg_database_size",
        "pg_encoding_to_char",
        "pg_get_expr",
        "pg_get_function_identity_arguments",
        "pg_get_userbyid",
        "pg_has_role",
        "pg_is_in_recovery",
        "pg_postmaster_start_time",
        "pg_relation_is_updatable",
        "pg_relation_size",
        "pg_stat_get_dead_tuples",
        "pg_stat_get_last_analyze_time",
        "pg_stat_get_last_autoanalyze_time",
        "pg_stat_get_last_autovacuum_time",
        "pg_stat_get_last_vacuum_time",
        "pg_stat_get_lastscan",
        "pg_stat_get_live_tuples",
        "pg_stat_get_mod_since_analyze",
        "pg_stat_get_numscans",
        "pg_stat_get_tuples_deleted",
        "pg_stat_get_tuples_hot_updated",
        "pg_stat_get_tuples_inserted",
        "pg_stat_get_tuples_returned",
        "pg_stat_get_tuples_updated",
        "regexp_match",
        "regexp_matches",
        "regexp_replace",
        "replace",
        "split_part",
        "starts_with",
        "string_agg",
        "string_to_array",
        "strpos",
        "substr",
        "substring",
        "sum",
        "timezone",
        "to_jsonb",
        "unnest",
    ]
)
# Other people's texts and values stand in these.
FORBIDDEN_COLUMNS = frozenset(
    {"most_common_vals", "histogram_bounds", "most_common_elems", "prosrc", "gid", "logs", "error_stmt", "stavalues1"}
)
# One names the transaction in the remedy; of the other only words that name a relation come back.
LOOKED_INTO = {("gid", "prepared_transactions"), ("prosrc", "function_mentions")}
PG_QUERIES = [query for variants in fact_queries().values() for query in variants]
PROBES = [query for variants in probes().values() for query in variants]
ELSEWHERE = [query for variants in elsewhere_queries().values() for query in variants]


def _label(query: FactQuery) -> str:
    return query.path.stem


every_query = pytest.mark.parametrize("query", [*PG_QUERIES, *PROBES, *ELSEWHERE], ids=_label)


# --- the files -------------------------------------------------------------------------------------------------


def test_every_frame_of_the_contract_has_its_query() -> None:
    found: dict[str, set[str]] = {}
    for query in PG_QUERIES:
        found.setdefault(query.group, set()).add(query.name)
    assert found == FRAMES
    assert set(found) - {"session"} == set(GROUPS)


@pytest.mark.parametrize("variants", fact_queries().values(), ids=fact_queries())
def test_the_variants_of_a_name_declare_the_same(variants: tuple[FactQuery, ...]) -> None:
    assert len({(v.columns, v.group, v.extension) for v in variants}) == 1
    assert len({v.since for v in variants}) == len(variants)
    for v in variants:
        suffix = v.path.stem.removeprefix(v.name).removeprefix("-")
        assert suffix in ("", ".".join(map(str, v.since))), "the file name says another version than the header"


def test_the_probes_have_one_shape_and_one_ledger_each() -> None:
    assert {tuple(c.name for c in p.columns) for p in PROBES} == {tuple(PROBE_COLUMNS)}
    assert {p.columns for p in PROBES} == {PROBES[0].columns}
    tools = {name.removeprefix("migrations_") for name in probes()}
    assert tools == set(LEDGERS), "every probe has a ledger in the tests"
    listed = fact_queries()["migration_ledgers"][0].sql
    assert {tool for tool in tools if f"('{tool}'," not in listed} == set()


@every_query
def test_a_query_keeps_the_rules(query: FactQuery) -> None:
    assert faults(query) == []


@every_query
def test_the_select_list_is_what_the_header_declares(query: FactQuery) -> None:
    statement = pglast.parse_sql(query.text(PLACES))[0].stmt
    assert isinstance(statement, ast.SelectStmt)
    names = [target.name or target.val.fields[-1].sval for target in statement.targetList or ()]
    assert names == [column.name for column in query.columns]


def test_identifiers_are_declared_as_such() -> None:
    named = {c.name: c for q in (*PG_QUERIES, *PROBES) for c in q.columns if c.name.endswith("_name")}
    plain = {name for name, c in named.items() if c.data_class != "identifier"} - {"setting_name"}
    assert plain == set()
    masks = {(q.name, c.name): c.mask for q in PG_QUERIES for c in q.columns if c.mask}
    assert masks == {
        ("sessions", "statement"): "statement",
        ("statements", "statement"): "statement",
        ("settings", "setting"): "option",
        ("role_settings", "setting_value"): "option",
        ("policies", "using_expression"): "expression",
        ("policies", "check_expression"): "expression",
    }


_HEADER = """-- title = "T"
-- grain = "one row per thing"
-- group = "access"
-- cost = "c"
-- [columns]
-- a = {dtype = "string"}
"""


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("select 1; select 2", "2 statements"),
        ("delete from pg_catalog.pg_class", "not a SELECT"),
        ("select r.rolname as a into t from pg_catalog.pg_roles as r order by 1", "writes a table"),
        ("select r.rolname as a from pg_catalog.pg_roles as r order by 1 for update", "locks rows"),
        ("select r.rolname as a from pg_roles as r order by 1", "relation pg_roles"),
        ("select t.x as a from information_schema.tables as t order by 1", "relation information_schema.tables"),
        ("select upper('x') as a order by 1", "function upper"),
        ("select pg_catalog.pg_terminate_backend(1) as a order by 1", "function pg_catalog.pg_terminate_backend"),
        ("select 1::text as a order by 1", "type text"),
        ("select $1 as a order by 1", "a parameter"),
        ("select 1 as a", "no order by"),
        ("SELECT 1 as a order by 1", "keyword SELECT"),
        ("select 5 % 2 as a order by 1", "a percent sign"),
        ("with x as (delete from pg_catalog.pg_class returning 1) select 1 as a from x order by 1", "a DELETE"),
        ("select s.most_common_vals as a from pg_catalog.pg_stats as s order by 1", "column most_common_vals"),
        ("select s.* from pg_catalog.pg_stats as s order by 1", "a star"),
    ],
)
def test_the_rules_catch_what_breaks_them(tmp_path: Path, sql: str, fault: str) -> None:
    file = tmp_path / "wrong.sql"
    file.write_text(_HEADER + sql + "\n")
    assert any(found.startswith(fault) for found in faults(parse(file)))


@pytest.mark.parametrize(
    "sql",
    [
        "select 'a' || 'b' as a order by 1",
        "select s.name in ('a') as a from pg_catalog.pg_settings as s order by 1",
        "select case s.name when 'a' then 'b' end as a from pg_catalog.pg_settings as s order by 1",
        "select nullif(s.name, 'a') as a from pg_catalog.pg_settings as s order by 1",
        "select s.name is distinct from 'a' as a from pg_catalog.pg_settings as s order by 1",
        "select s.name between 'a' and 'b' as a from pg_catalog.pg_settings as s order by 1",
        "select s.name = any (array['a']) as a from pg_catalog.pg_settings as s order by 1",
        "select s.name in (select d.name from pg_catalog.pg_settings as d) as a from pg_catalog.pg_settings as s order by 1",
        "select s.name as a from pg_catalog.pg_settings as s join pg_catalog.pg_settings as t using (name) order by 1",
    ],
)
def test_no_operator_hides_in_the_session_queries(tmp_path: Path, sql: str) -> None:
    file = tmp_path / "session.sql"
    file.write_text(_HEADER + sql + "\n")
    assert "an operator" in faults(parse(file))


@pytest.mark.parametrize(
    "text", ["select 1", "-- title = \n", '-- title = "t"\n-- grain = "g"\nselect 1', _HEADER.replace("cost", "costs")]
)
def test_a_wrong_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.sql").write_text(text)
    with pytest.raises(KitError):
        parse(tmp_path / "wrong.sql")


def faults(query: FactQuery) -> list[str]:
    """Return every rule for fact queries that this one breaks."""
    text = query.text(PLACES)
    statements = pglast.parse_sql(text)
    if len(statements) != 1:
        return [f"{len(statements)} statements"]
    statement = statements[0].stmt
    if not isinstance(statement, ast.SelectStmt):
        return ["not a SELECT"]
    rules = _Rules(query)
    rules(statement)
    found = rules.faults
    if query.grain != ONE_ROW and not statement.sortClause:
        found.append("no order by")
    if "%" in query.path.read_text():
        found.append("a percent sign")
    found += [
        f"keyword {text[t.start : t.end + 1]}"
        for t in pglast.parser.scan(text)
        if t.kind != "NO_KEYWORD" and text[t.start : t.end + 1] != text[t.start : t.end + 1].lower()
    ]
    return found


class _Rules(Visitor):
    def __init__(self, query: FactQuery) -> None:
        self.faults: list[str] = []
        self._query = query
        self._ctes: set[str | None] = set()
        self._relations: list[tuple[str | None, str | None]] = []

    def __call__(self, node: ast.Node | tuple[Any, ...]) -> None:
        super().__call__(node)
        allowed = {PLACES["ledger_schema"]} if self._query in PROBES else {"pg_catalog"}
        if self._query.extension:
            allowed.add(PLACES[f"{self._query.extension}_schema"])
        for schema, name in self._relations:
            if not (schema in allowed or (schema is None and name in self._ctes)):
                self.faults.append(f"relation {schema + '.' if schema else ''}{name}")

    def visit_CommonTableExpr(self, _: Any, node: ast.CommonTableExpr) -> None:
        self._ctes.add(node.ctename)
        if not isinstance(node.ctequery, ast.SelectStmt):
            self.faults.append(f"a {type(node.ctequery).__name__.removesuffix('Stmt').upper()}")

    def visit_RangeVar(self, _: Any, node: ast.RangeVar) -> None:
        self._relations.append((node.schemaname, node.relname))

    def visit_FuncCall(self, _: Any, node: ast.FuncCall) -> None:
        names = [part.sval for part in node.funcname or ()]
        if len(names) != 2 or names[0] != "pg_catalog" or names[1] not in ALLOWED_FUNCTIONS:
            self.faults.append(f"function {'.'.join(names)}")

    def visit_TypeName(self, _: Any, node: ast.TypeName) -> None:
        names = [part.sval for part in node.names or ()]
        if names[0] != "pg_catalog":
            self.faults.append(f"type {'.'.join(names)}")

    def visit_ParamRef(self, _: Any, __: ast.ParamRef) -> None:
        self.faults.append("a parameter")

    def visit_IntoClause(self, _: Any, __: ast.IntoClause) -> None:
        self.faults.append("writes a table")

    def visit_LockingClause(self, _: Any, __: ast.LockingClause) -> None:
        self.faults.append("locks rows")

    def visit_ColumnRef(self, _: Any, node: ast.ColumnRef) -> None:
        last = (node.fields or ())[-1]
        if isinstance(last, ast.A_Star):
            self.faults.append("a star")
        elif last.sval in FORBIDDEN_COLUMNS and (last.sval, self._query.name) not in LOOKED_INTO:
            self.faults.append(f"column {last.sval}")

    def visit_A_Expr(self, _: Any, __: ast.A_Expr) -> None:
        self._operator()

    def visit_CaseExpr(self, _: Any, node: ast.CaseExpr) -> None:
        if node.arg is not None:
            self._operator()

    def visit_SubLink(self, _: Any, node: ast.SubLink) -> None:
        if node.testexpr is not None:
            self._operator()

    def visit_JoinExpr(self, _: Any, node: ast.JoinExpr) -> None:
        if node.usingClause or node.isNatural:
            self._operator()

    def _operator(self) -> None:
        if self._query.path.stem in UNDER_THE_USERS_PATH:
            self.faults.append("an operator")


# --- real servers ----------------------------------------------------------------------------------------------

SETTINGS = {"max_prepared_transactions": "5", "track_activities": "on", "autovacuum": "off"}
ODD_ROLE, ODD_SCHEMA, ODD_TABLE, ODD_COLUMN = 'Räuber "Quote"', "Übel Schema", 'SELECT; "x"', "Spalte %s :x"
SCENE = '''
create extension pg_stat_statements schema "the extension";
create role owner_of_all;
create role plain login;
create role watcher login in role pg_monitor;
create role reader login noinherit;
create role "Räuber ""Quote""" login;
create role forever valid until 'infinity';
create role never valid until '-infinity';
create role ancient valid until '0044-03-15 12:00:00 BC';
create role distant valid until '20000-01-01';
create role dated valid until '2030-01-02 03:04:05+00' connection limit 7;
grant owner_of_all to reader with admin option;
alter role plain set statement_timeout = '8s';
alter role plain in database facts set search_path = "Übel Schema", public;
alter database facts set work_mem = '7MB';
grant connect, temporary on database facts to reader with grant option;

create schema shop authorization owner_of_all;
grant usage on schema shop to reader;
create schema "Übel Schema" authorization "Räuber ""Quote""";
set role owner_of_all;
create table shop.customers (id int primary key, email text not null, note text) with (fillfactor = 70);
create table shop.orders (
  id bigint generated always as identity primary key, customer_id int references shop.customers (id), total numeric,
  created_at timestamptz default now()
);
create index orders_by_day on shop.orders (created_at, lower(total::text)) include (total) where total > 10;
create unlogged table shop.scratch (a int, b int, c int);
alter table shop.scratch drop column b;
create table shop.events (at timestamptz, customer_id int references shop.customers (id)) partition by range (at);
create index events_by_time on shop.events (at);
create table shop.events_2024 partition of shop.events for values from ('2024-01-01') to ('2025-01-01');
create view shop.order_totals as select id, total from shop.orders;
create materialized view shop.daily as select 1 as day;
create sequence shop.numbers;
grant select, insert on shop.orders to reader with grant option;
grant select on shop.order_totals to public;
grant update (email), select (id) on shop.customers to reader;
alter table shop.orders enable row level security;
alter table shop.orders force row level security;
create policy own on shop.orders for select to reader, plain using (customer_id = 1);
create policy all_of_it on shop.orders as restrictive with check (true);
create type shop.mood as enum ('good');
grant usage on type shop.mood to reader;
create function shop.stamp() returns trigger language plpgsql as $$ begin return new; /* no word of orders */ end $$;
create trigger stamped before insert on shop.scratch for each row execute function shop.stamp();
reset role;
alter default privileges for role owner_of_all in schema shop grant select on tables to reader;
alter default privileges for role owner_of_all revoke execute on functions from public;
alter default privileges for role owner_of_all revoke all on sequences from owner_of_all;
set role "Räuber ""Quote""";
create table "Übel Schema"."SELECT; ""x""" ("Spalte %s :x" int, unique ("Spalte %s :x"));
grant select on "Übel Schema"."SELECT; ""x""" to "Räuber ""Quote""";
reset role;
insert into shop.customers select g, 'c' || g from generate_series(1, 1000) as g;
insert into shop.orders (customer_id, total) select 1 + g, g from generate_series(1, 500) as g;
update shop.orders set total = total + 1 where customer_id < 100;
'''
Matrix = pytest.mark.matrix
MAJORS = ["embedded", *(pytest.param(major, marks=Matrix, id=f"npm {major}") for major in binaries.MATRIX_VERSIONS)]


@pytest.fixture(scope="module", params=MAJORS)
def scene(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "embedded":
        chosen = binaries.default()
    elif missing := binaries.npm_is_missing(request.param):
        pytest.skip(missing)
    else:
        chosen = binaries.npm(request.param)
    with server.running(chosen, settings=SETTINGS) as running:
        running.create_database("facts")
        running.execute('create schema "the extension"', "facts")
        running.execute(SCENE, "facts")
        running.execute("analyze", "facts")
        yield running


def open_as(scene: Server, user: str = "postgres", database: str = "facts") -> psycopg.Connection[Any]:
    connection = scene.connect(database, user, autocommit=True)
    connection.read_only = True
    return connection


def ask(connection: psycopg.Connection[Any], query: FactQuery, places: Mapping[str, str] = PLACES) -> pd.DataFrame:
    """Return the frame of one query, asked as the collector does."""
    with connection.transaction():
        if query.name not in UNDER_THE_USERS_PATH:
            connection.execute(
                "select set_config('search_path', '', true), set_config('lock_timeout', '100ms', true),"
                " set_config('statement_timeout', '10s', true)"
            )
        cursor = connection.execute(query.text(places).encode(), binary=True)
        assert cursor.description is not None
        assert [c.name for c in cursor.description] == [c.name for c in query.columns]
        rows = cursor.fetchall()
    return build_frame(query.columns, rows)


def chosen(scene: Server, name: str, extension: str = "99") -> FactQuery:
    query = choose(fact_queries()[name], scene.version, {"pg_stat_statements": extension})
    assert query is not None
    return query


def frame(scene: Server, name: str, user: str = "postgres", database: str = "facts") -> pd.DataFrame:
    with open_as(scene, user, database) as connection:
        return ask(connection, chosen(scene, name, _extension(connection)))


def rows(scene: Server, name: str, *columns: str, user: str = "postgres", **where: Any) -> list[tuple[Any, ...]]:
    """Return the named columns of the matching rows as plain values."""
    found = frame(scene, name, user)
    for column, value in where.items():
        found = found[(found[column] == value).fillna(False).to_numpy(bool)]
    return [tuple(_plain(value) for value in row) for row in found[list(columns)].itertuples(index=False)]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, list) else None if pd.isna(value) else value


def _extension(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("select extversion from pg_extension where extname = 'pg_stat_statements'").fetchone()
    return row[0] if row else ""


NAMES = sorted(fact_queries())


@pytest.mark.parametrize("name", NAMES)
def test_every_query_answers_as_declared(scene: Server, name: str) -> None:
    if name == "statements_info" and scene.version == 13:
        pytest.skip("pg_stat_statements 1.8 has no such view")
    found = frame(scene, name)
    expected_empty = {"blocking", "prepared_transactions", "locks", "replication_slots", "migration_ledgers"}
    assert found.empty == (name in expected_empty)


@pytest.mark.parametrize("name", NAMES)
def test_psql_runs_the_file_unchanged(scene: Server, name: str) -> None:
    if name == "statements_info" and scene.version == 13:
        pytest.skip("pg_stat_statements 1.8 has no such view")
    with open_as(scene) as connection:
        query = chosen(scene, name, _extension(connection))
    assert psql(scene, query, "facts", PLACES)[0] == ",".join(c.name for c in query.columns)


def psql(scene: Server, query: FactQuery, database: str, places: Mapping[str, str]) -> list[str]:
    program = shutil.which("psql")
    if program is None:
        pytest.skip("psql is not installed")
    variables = [part for name, value in places.items() for part in ("-v", f"{name}={value}")]
    command = [program, "-X", "-q", "--csv", "-v", "ON_ERROR_STOP=1", *variables, "-f", str(query.path), scene.dsn(database)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


@pytest.mark.parametrize("user", ["plain", "watcher"])
def test_an_ordinary_role_gets_answers_or_a_refusal(scene: Server, user: str) -> None:
    refused = set()
    with open_as(scene, user) as connection:
        for name in NAMES:
            if name == "statements_info" and scene.version == 13:
                continue
            try:
                ask(connection, chosen(scene, name, _extension(connection)))
            except psycopg.errors.InsufficientPrivilege:
                refused.add(name)
    # They have no USAGE on the schema of the extension.
    assert refused - {"statements_info"} == {"statements"}


# --- who sees what ---------------------------------------------------------------------------------------------


def test_what_is_hidden_is_said_to_be_hidden(scene: Server) -> None:
    with scene.connect("facts") as other:
        other.execute("select 'of another user'")
        seen = rows(scene, "sessions", "is_hidden", "statement", "backend_type", pid=other.info.backend_pid)
        hidden = rows(scene, "sessions", "is_hidden", "statement", "user_name", user="plain", pid=other.info.backend_pid)
        monitor = rows(scene, "sessions", "is_hidden", "statement", user="watcher", pid=other.info.backend_pid)
    assert seen == [(False, "select 'of another user'", "client backend")]
    assert monitor == [(False, "select 'of another user'")]
    assert hidden == [(True, None, "postgres")]


def test_hidden_statements_have_no_text(scene: Server) -> None:
    scene.execute('grant usage on schema "the extension" to plain', "facts")
    try:
        hidden, all_of_them = frame(scene, "statements", "plain"), frame(scene, "statements")
    finally:
        scene.execute('revoke usage on schema "the extension" from plain', "facts")
    others = hidden[hidden["user_name"] == "postgres"]
    assert len(others) > 5
    assert others["is_hidden"].all()
    assert others["statement"].isna().all()
    assert others["query_id"].isna().all()
    assert not all_of_them["is_hidden"].any()
    assert all_of_them["statement"].notna().all()
    assert (all_of_them["calls"] > 0).all()
    assert (all_of_them["total_exec_ms"] >= 0).all()


def test_the_size_of_a_database_needs_connect(scene: Server) -> None:
    scene.execute("create database closed; ")
    scene.execute("revoke connect on database closed from public")
    try:
        assert rows(scene, "databases", "database_bytes", user="plain", database_name="closed") == [(None,)]
        for user in ("postgres", "watcher"):
            ((size,),) = rows(scene, "databases", "database_bytes", user=user, database_name="closed")
            assert size > 1_000_000
    finally:
        scene.execute("drop database closed")
    assert rows(scene, "databases", "is_current", "owner_name", "encoding", database_name="facts") == [(True, "postgres", "UTF8")]
    assert rows(scene, "databases", "is_template", "database_bytes", database_name="template0") == [(True, None)]


def test_row_security_and_missing_grants_hide_column_widths(scene: Server) -> None:
    columns = ("column_count", "visible_column_count", "average_row_bytes", "aligned_row_bytes")
    ((count, visible, average, aligned),) = rows(scene, "column_widths", *columns, relation_name="customers")
    assert (count, visible) == (3, 3)
    assert 4 + 3 <= average <= 4 + 6
    assert aligned >= average
    assert rows(scene, "column_widths", *columns, user="watcher", relation_name="customers") == [(3, 0, None, None)]
    # reader may select the id only
    assert rows(scene, "column_widths", *columns, user="reader", relation_name="customers") == [(3, 1, 4.0, None)]
    # a full grant is of no use under row security
    assert rows(scene, "column_widths", *columns, user="reader", relation_name="orders") == [(4, 0, None, None)]


# --- values the clients cannot hold, and odd names -------------------------------------------------------------


def test_infinite_and_ancient_times_survive(scene: Server) -> None:
    found = frame(scene, "roles").set_index("role_name")
    times = {name: (_plain(row.valid_until), bool(row.is_valid_forever)) for name, row in found.iterrows()}
    assert times["forever"] == times["distant"] == times["plain"] == (None, True)
    assert times["never"] == times["ancient"] == (None, False)
    assert times["dated"] == (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), False)
    assert found["connection_limit"]["dated"] == 7


def test_odd_names_come_back_exact(scene: Server) -> None:
    assert ODD_ROLE in set(frame(scene, "roles")["role_name"])
    assert rows(scene, "schemas", "owner_name", schema_name=ODD_SCHEMA) == [(ODD_ROLE,)]
    assert rows(scene, "relations", "schema_name", "owner_name", relation_name=ODD_TABLE) == [(ODD_SCHEMA, ODD_ROLE)]
    assert rows(scene, "indexes", "column_names", "is_unique", "backs_constraint", table_name=ODD_TABLE) == [
        ([ODD_COLUMN], True, True)
    ]
    grants = rows(scene, "relation_grants", "grantor_name", "grantee_name", "schema_name", relation_name=ODD_TABLE)
    assert grants == [(ODD_ROLE, ODD_ROLE, ODD_SCHEMA)]
    settings = rows(scene, "role_settings", "setting_name", "setting_value", role_name="plain", database_name="facts")
    assert settings == [("search_path", '"Übel Schema", public')]


def test_a_session_in_another_encoding_does_no_harm(scene: Server) -> None:
    scene.execute("create database latin encoding 'LATIN1' template template0 locale 'C'" if scene.version > 12 else "")
    try:
        with psycopg.connect(scene.dsn("latin"), autocommit=True, client_encoding="latin1") as other:
            other.execute("select 'naïve café ' /* é */")
            assert rows(scene, "sessions", "statement", "is_hidden", pid=other.info.backend_pid) == [(None, False)]
            here = frame(scene, "sessions", database="latin")
            assert here[here["pid"] == other.info.backend_pid]["statement"].tolist() == ["select 'naïve café ' /* é */"]
    finally:
        scene.execute("drop database latin")


def test_the_session_queries_run_nothing_of_the_users_own(scene: Server) -> None:
    scene.execute(
        """
        create role victim login;
        create schema trap;
        create table trap.sprung (what text);
        grant usage on schema trap to victim; grant insert on trap.sprung to victim;
        create function trap.current_setting(text) returns text language plpgsql as
          $$ begin insert into trap.sprung values ('setting'); return 'x'; end $$;
        create function trap.clock_timestamp() returns timestamptz language plpgsql as
          $$ begin insert into trap.sprung values ('clock'); return now(); end $$;
        create function trap.same(text, text) returns boolean language plpgsql as
          $$ begin insert into trap.sprung values ('operator'); return true; end $$;
        create operator trap.= (function = trap.same, leftarg = text, rightarg = text);
        create view trap.pg_settings as select 'trap'::text as name;
        create type trap.text as enum ('trap');
        alter role victim set search_path = trap, pg_catalog;
        """,
        "facts",
    )
    try:
        with scene.connect("facts", "victim") as connection:  # not READ ONLY: a trap could spring
            found = {name: ask(connection, chosen(scene, name)) for name in UNDER_THE_USERS_PATH}
        assert scene.execute("select * from trap.sprung", "facts") == []
    finally:
        scene.execute("drop schema trap cascade; drop role victim", "facts")
    session = found["session"].iloc[0]
    assert (session["user_name"], session["database_name"], session["search_path"]) == ("victim", "facts", "trap, pg_catalog")
    assert list(session["visible_schemas"]) == ["trap", "pg_catalog"]
    assert session["server_version_number"] // 10_000 == scene.version
    assert "search_path" in set(found["settings"]["setting_name"])


# --- locks -----------------------------------------------------------------------------------------------------


def answers(scene: Server) -> dict[str, pd.DataFrame]:
    """Return the frames of all queries, none of which may wait."""
    with open_as(scene) as connection:
        version = _extension(connection)
        names = [name for name in NAMES if choose(fact_queries()[name], scene.version, {"pg_stat_statements": version})]
        return {name: ask(connection, chosen(scene, name, version)) for name in names}


def check_only_customers_is_locked(found: dict[str, pd.DataFrame]) -> None:
    sizes = found["relation_sizes"].set_index("relation_name")
    assert list(sizes.index[sizes["is_locked"]]) == ["customers"]
    assert pd.isna(sizes["table_bytes"]["customers"])
    assert sizes["table_bytes"]["orders"] > 0
    assert sizes["table_bytes"].drop("customers").notna().all()


def test_a_locked_table_costs_only_its_own_row(scene: Server) -> None:
    with scene.connect("facts", autocommit=False) as holder:
        holder.execute("lock table shop.customers in access exclusive mode")
        found = answers(scene)
        check_only_customers_is_locked(found)
        assert not found["indexes"]["is_locked"].any()
        locks = found["locks"]
        assert locks[["relation_name", "mode", "is_granted"]].to_numpy().tolist() == [["customers", "AccessExclusiveLock", True]]
        holder.rollback()
    assert not frame(scene, "relation_sizes")["is_locked"].any()


def test_a_locked_index_costs_only_its_own_row(scene: Server) -> None:
    with scene.connect("facts", autocommit=False) as holder:
        holder.execute("reindex index shop.orders_by_day")
        indexes = answers(scene)["indexes"].set_index("index_name")
        assert list(indexes.index[indexes["is_locked"]]) == ["orders_by_day"]
        assert pd.isna(indexes["index_bytes"]["orders_by_day"])
        assert indexes["index_bytes"]["orders_pkey"] > 0
        holder.rollback()


def test_a_locked_toast_table_is_not_opened(scene: Server) -> None:
    with scene.connect("facts", autocommit=False) as holder:
        holder.execute("truncate shop.orders")
        sizes = answers(scene)["relation_sizes"].set_index("relation_name")
        holder.rollback()
    assert list(sizes.index[sizes["is_locked"]]) == ["orders"]
    assert pd.isna(sizes["toast_bytes"]["orders"])
    assert sizes["toast_bytes"]["customers"] == 0


def test_a_lock_waited_for_is_no_trap_either(scene: Server) -> None:
    """A request behind a waiting ACCESS EXCLUSIVE would wait as well, though only ACCESS SHARE is granted."""
    with scene.connect("facts", autocommit=False) as reader, scene.connect("facts", autocommit=False) as waiter:
        reading, waiting = reader.info.backend_pid, waiter.info.backend_pid
        reader.execute("select count(*) from shop.customers")
        thread = threading.Thread(target=waiter.execute, args=("lock table shop.customers in access exclusive mode",))
        thread.start()
        try:
            wait_until(scene, f"select count(*) = 1 from pg_locks where not granted and pid = {waiting}")
            found = answers(scene)
        finally:
            reader.rollback()
            thread.join(30)
            waiter.rollback()
    check_only_customers_is_locked(found)
    (blocked,) = found["blocking"].to_dict("records")
    assert (blocked["blocked_pid"], list(blocked["blocking_pids"])) == (waiting, [str(reading)])
    assert (blocked["mode"], blocked["schema_name"], blocked["relation_name"]) == ("AccessExclusiveLock", "shop", "customers")
    assert pd.isna(blocked["waiting_since"]) == (scene.version < 14)


def wait_until(scene: Server, condition: str) -> None:
    """Return when the server says so; its statement_timeout ends a wait in vain."""
    loop = f"while not ({condition}) loop perform pg_stat_clear_snapshot(); end loop"
    scene.execute(f"set statement_timeout = '20s'; do $$ begin {loop}; end $$", "facts")


def test_a_prepared_transaction_holds_its_locks_without_a_process(scene: Server) -> None:
    with scene.connect("facts", autocommit=False) as holder:
        holder.execute("lock table shop.customers in access exclusive mode")
        holder.execute("insert into shop.scratch values (1)")
        holder.execute("prepare transaction 'a canary in the gid'")
    try:
        found = answers(scene)
    finally:
        scene.execute("rollback prepared 'a canary in the gid'", "facts")
    check_only_customers_is_locked(found)
    (prepared,) = found["prepared_transactions"].to_dict("records")
    assert (prepared["owner_name"], prepared["database_name"]) == ("postgres", "facts")
    assert prepared["xid_age"] >= 0
    assert prepared["prepared_at"] is not None
    assert found["locks"]["pid"].isna().all()
    assert len(found["locks"]) == 2


# --- what the catalogs say -------------------------------------------------------------------------------------


def test_access_is_told_as_it_was_granted(scene: Server) -> None:
    columns = ("grantor_name", "grantee_name", "privileges", "grantable")
    owner = ("owner_of_all", "owner_of_all")
    everything = sorted(
        ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE", *["MAINTAIN"] * (scene.version >= 17)]
    )
    assert rows(scene, "relation_grants", *columns, relation_name="orders") == [
        (*owner, everything, []),
        ("owner_of_all", "reader", ["INSERT", "SELECT"], ["INSERT", "SELECT"]),
    ]
    assert ("owner_of_all", None, ["SELECT"], []) in rows(scene, "relation_grants", *columns, relation_name="order_totals")
    assert rows(scene, "schema_grants", *columns, schema_name="shop") == [
        (*owner, ["CREATE", "USAGE"], []),
        ("owner_of_all", "reader", ["USAGE"], []),
    ]
    # Nobody granted anything on this schema: its acl is NULL, and its owner's rights are told all the same.
    assert rows(scene, "schema_grants", *columns, schema_name=ODD_SCHEMA) == [(ODD_ROLE, ODD_ROLE, ["CREATE", "USAGE"], [])]
    assert ("postgres", "reader", ["CONNECT", "TEMPORARY"], ["CONNECT", "TEMPORARY"]) in rows(
        scene, "database_grants", *columns, database_name="facts"
    )
    assert ("postgres", None, ["CONNECT", "TEMPORARY"], []) in rows(scene, "database_grants", *columns, database_name="postgres")
    assert rows(scene, "column_grants", "column_name", "grantee_name", "privileges", relation_name="customers") == [
        ("id", "reader", ["SELECT"]),
        ("email", "reader", ["UPDATE"]),
    ]
    assert rows(scene, "default_privileges", "schema_name", "object_kind", "grantee_name", "privileges") == [
        ("shop", "table", "reader", ["SELECT"]),
        (None, "function", "owner_of_all", ["EXECUTE"]),
        (None, "sequence", None, []),
    ]


def test_roles_and_their_memberships(scene: Server) -> None:
    ((granted, inherits, can_set),) = rows(
        scene, "role_memberships", "has_admin_option", "inherits", "can_set", role_name="owner_of_all", member_name="reader"
    )
    assert (granted, inherits, can_set) == (True, False, True)
    # The server before 16 asks the member, and 16 the grant.
    scene.execute("alter role reader inherit")
    try:
        (((after),),) = rows(scene, "role_memberships", "inherits", role_name="owner_of_all", member_name="reader")
    finally:
        scene.execute("alter role reader noinherit")
    assert after == (scene.version < 16)
    assert rows(scene, "role_settings", "setting_name", "setting_value", database_name="facts") == [
        ("search_path", '"Übel Schema", public'),
        ("work_mem", "7MB"),
    ]


def test_relations_and_policies(scene: Server) -> None:
    found = frame(scene, "relations")
    shop = found[found["schema_name"] == "shop"].set_index("relation_name")
    assert shop["kind"].to_dict() == {
        "customers": "table", "daily": "materialized view", "events": "partitioned table", "events_2024": "table",
        "numbers": "sequence", "order_totals": "view", "orders": "table", "orders_id_seq": "sequence", "scratch": "table",
    }  # fmt: skip
    assert shop["is_partition"].idxmax() == "events_2024"
    assert shop["is_partition"].sum() == 1
    assert shop["persistence"].to_dict()["scratch"] == "unlogged"
    assert shop["options"]["customers"] == ["fillfactor=70"]
    assert shop["options"]["orders"] == []
    assert shop["estimated_rows"]["customers"] == 1000
    assert pd.isna(shop["estimated_rows"]["order_totals"])
    assert shop["frozen_xid_age"]["customers"] > 0
    assert pd.isna(shop["frozen_xid_age"]["events"])
    assert shop["has_row_security"]["orders"]
    assert shop["forces_row_security"]["orders"]
    assert not shop["has_default_acl"]["orders"]
    assert shop["has_default_acl"]["scratch"]
    columns = ("policy_name", "command", "is_permissive", "role_names", "has_using", "has_with_check")
    assert rows(scene, "policies", *columns) == [
        ("all_of_it", "ALL", False, ["public"], False, True),
        ("own", "SELECT", True, ["plain", "reader"], True, False),
    ]


def test_a_table_never_analyzed_has_unknown_rows(scene: Server) -> None:
    scene.execute("create table shop.fresh as select 1 as a", "facts")
    try:
        assert rows(scene, "relations", "estimated_rows", relation_name="fresh") == [(None,)]
        scene.execute("analyze shop.fresh", "facts")
        assert rows(scene, "relations", "estimated_rows", relation_name="fresh") == [(1.0,)]
    finally:
        scene.execute("drop table shop.fresh", "facts")


@pytest.mark.parametrize("word", ["true", "on", "1", "YES"])
def test_security_invoker_in_any_spelling(scene: Server, word: str) -> None:
    if scene.version < 15:
        pytest.skip("views have no security_invoker before 15")
    scene.execute(f"create view shop.invoker with (security_invoker = {word}) as select 1 as a", "facts")
    try:
        assert rows(scene, "relations", "is_security_invoker", relation_name="invoker") == [(True,)]
        assert rows(scene, "relations", "is_security_invoker", relation_name="order_totals") == [(False,)]
    finally:
        scene.execute("drop view shop.invoker", "facts")


def test_indexes_and_foreign_keys(scene: Server) -> None:
    columns = ("column_names", "is_partial", "has_expressions", "is_unique", "backs_constraint", "access_method", "is_valid")
    assert rows(scene, "indexes", *columns, index_name="orders_by_day") == [
        (["created_at", None], True, True, False, False, "btree", True)
    ]
    assert rows(scene, "indexes", *columns, index_name="customers_pkey") == [(["id"], False, False, True, True, "btree", True)]
    partitioned = rows(scene, "indexes", "index_bytes", "is_locked", "scans", "column_names", table_name="events")
    assert partitioned == [(None, False, None, ["at"])]
    ((size, scans, last),) = rows(scene, "indexes", "index_bytes", "scans", "last_scan_at", table_name="customers")
    assert size > 0
    assert scans > 0
    assert (last is None) == (scene.version < 16)
    keys = ("table_name", "column_names", "referenced_schema_name", "referenced_table_name", "is_validated")
    assert rows(scene, "foreign_keys", *keys) == [
        ("events", ["customer_id"], "shop", "customers", True),
        ("orders", ["customer_id"], "shop", "customers", True),
    ]


def test_table_statistics_count_what_happened(scene: Server) -> None:
    flush = "select pg_stat_force_next_flush()" if scene.version >= 15 else "select 1"
    scene.execute(flush, "facts")
    columns = ("rows_inserted", "rows_updated", "live_rows", "rows_modified_since_analyze")
    assert rows(scene, "table_statistics", *columns, relation_name="orders") == [(500, 98, 500, 0)]
    ((analyzed, vacuumed),) = rows(scene, "table_statistics", "last_analyze_at", "last_vacuum_at", relation_name="orders")
    assert analyzed is not None
    assert vacuumed is None


# --- the width of a row, held against the pages ----------------------------------------------------------------

SHAPES = {
    "alternating": ("a bool, b int8, c bool, d int8, e bool", "true, g, true, g, true"),
    "nested": ("a bool, b int2, c bool, d int4, e bool, f int8, g bool", "true, 1::int2, true, 2, true, g, true"),
    "unpadded": ("a int8, b int8, c int4, d int4", "g, g, 1, 2"),
    "long text": ("a int2, b text, c int8", "1::int2, repeat('x', 200), g"),
    "short text": ("a bool, b text, c int8, d text", "true, repeat('x', 1 + (g % 23)::int), g, repeat('y', (g % 17)::int)"),
    "tiny texts": (", ".join(f"{name} text" for name in "abcdefghi"), ", ".join(["'ab'"] * 9)),
    "nulls": ("a int4, b int8, c int8, d int4", "1, case when g % 10 = 0 then null else g end, null, 2"),
    "fixed": ("a uuid, b timestamptz, c name, d char", "md5(g::text)::uuid, now(), 'n', 'c'"),
}
# Nothing varies in them, so the estimate is exact; elsewhere the server has cut the mean widths to whole bytes.
FIXED_SHAPES = ("alternating", "nested", "unpadded")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_aligned_width_predicts_the_pages(scene: Server, shape: str) -> None:
    columns, values = SHAPES[shape]
    count = 20_000
    scene.execute(
        f"create table shop.shape ({columns}); alter table shop.shape alter column a set statistics 1000;"
        f" insert into shop.shape select {values} from generate_series(1, {count}::bigint) as g; analyze shop.shape",
        "facts",
    )
    try:
        ((aligned, nulls),) = rows(scene, "column_widths", "aligned_row_bytes", "null_fraction_sum", relation_name="shape")
        ((pages,),) = rows(scene, "relations", "estimated_pages", relation_name="shape")
    finally:
        scene.execute("drop table shop.shape", "facts")
    # A line pointer of 4 bytes, a header of 24 (the bitmap of up to 8 columns fits in), a page header of 24
    predicted = math.ceil(count / int((8192 - 24) / (4 + 24 + aligned)))
    assert predicted == pytest.approx(pages, rel=0 if shape in FIXED_SHAPES else 0.05)
    assert nulls == pytest.approx(1.1 if shape == "nulls" else 0, abs=0.02)


def test_the_rows_of_children_do_not_count_for_the_parent(scene: Server) -> None:
    scene.execute(
        "create table shop.parent (a int, b text); create table shop.child () inherits (shop.parent);"
        " insert into shop.parent select g, 'x' from generate_series(1, 100) as g;"
        " insert into shop.child select g, repeat('x', 500) from generate_series(1, 100) as g; analyze shop.parent, shop.child",
        "facts",
    )
    columns = ("column_count", "visible_column_count", "average_row_bytes")
    try:
        assert rows(scene, "column_widths", *columns, relation_name="parent") == [(2, 2, 4.0 + 2)]
        assert rows(scene, "column_widths", *columns, relation_name="child") == [(2, 2, 4.0 + 504)]
    finally:
        scene.execute("drop table shop.child, shop.parent", "facts")


def test_dropped_and_unanalyzed_columns_are_counted(scene: Server) -> None:
    columns = ("column_count", "dropped_column_count", "visible_column_count", "aligned_row_bytes")
    scene.execute("create table shop.bare (); create table shop.new (a int, b int)", "facts")
    try:
        assert rows(scene, "column_widths", *columns, relation_name="bare") == [(0, 0, 0, None)]
        assert rows(scene, "column_widths", *columns, relation_name="new") == [(2, 0, 0, None)]
    finally:
        scene.execute("drop table shop.bare, shop.new", "facts")
    assert rows(scene, "column_widths", *columns, relation_name="scratch") == [(2, 1, 0, None)]


# --- the versions of pg_stat_statements ------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.4", "1.7", "1.8", "1.9", "1.10", "1.11"])
def test_the_version_of_the_extension_decides(scene: Server, version: str) -> None:
    places = {"pg_stat_statements_schema": 'Odd "extensions"'}
    minor = int(version.split(".")[1])
    scene.create_database("extended")
    try:
        known = {
            row[0]
            for row in scene.execute("select version from pg_available_extension_versions where name = 'pg_stat_statements'")
        }
        if version not in known:
            pytest.skip(f"PostgreSQL {scene.version} has no pg_stat_statements {version}")
        scene.execute('create schema "Odd ""extensions"""', "extended")
        scene.execute(f'create extension pg_stat_statements schema "Odd ""extensions""" version \'{version}\'', "extended")
        query = chosen(scene, "statements", version)
        with open_as(scene, database="extended") as connection:
            found = ask(connection, query, places)
            if minor >= 9:
                info = ask(connection, chosen(scene, "statements_info", version), places)
                assert len(info) == 1
                assert info["entries_evicted"][0] == 0
            else:
                assert choose(fact_queries()["statements_info"], scene.version, {"pg_stat_statements": version}) is None
        assert psql(scene, query, "extended", places)[0] == ",".join(c.name for c in query.columns)
    finally:
        scene.execute("drop database extended")
    own = found[found["statement"].str.contains("create schema", case=False).fillna(False)]
    assert not own.empty
    assert own["calls"].ge(1).all()
    assert found["is_top_level"].isna().all() == (minor < 9)
    assert found["statistics_since"].isna().all() == (minor < 11)


# --- migration ledgers -----------------------------------------------------------------------------------------

MOMENT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
_AT = "'2024-05-06 07:08:09+00'"
# tool -> the ledger's definition, rows, and the first row that is expected (columns after the name: see PROBE_COLUMNS)
LEDGERS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "prisma": (
        (
            "id varchar(36) primary key, checksum varchar(64), finished_at timestamptz, migration_name varchar(255), logs text,"
            " rolled_back_at timestamptz, started_at timestamptz default now(), applied_steps_count int default 0"
        ),
        f"'1', 'c', null, '20240506_init', 'a canary in the logs', null, {_AT}, 3",
        ("20240506_init", MOMENT, None, None, True, 3),
    ),
    "flyway": (
        (
            "installed_rank int primary key, version varchar(50), description varchar(200), type varchar(20),"
            " script varchar(1000),"
            " checksum int, installed_by varchar(100), installed_on timestamp default now(), execution_time int,"
            " success boolean"
        ),
        "1, '1', 'init', 'SQL', 'V1__init.sql', 5, 'me', '2024-05-06 07:08:09', 12, false",
        ("V1__init.sql", None, MOMENT, None, True, None),
    ),
    "alembic": ("version_num varchar(32) primary key", "'ae1027a6acf'", ("ae1027a6acf", None, None, None, None, None)),
    "django": (
        "id bigserial primary key, app varchar(255), name varchar(255), applied timestamptz",
        f"1, 'shop', '0001_initial', {_AT}",
        ("shop.0001_initial", None, MOMENT, None, None, None),
    ),
    "rails": ("version varchar primary key", "'20240506070809'", ("20240506070809", None, None, None, None, None)),
    "ecto": (
        "version bigint primary key, inserted_at timestamp(0)",
        "20240506, '2024-05-06 07:08:09'",
        ("20240506", None, MOMENT, None, None, None),
    ),
    "golang-migrate": ("version bigint primary key, dirty boolean", "7, true", ("7", None, None, None, True, None)),
    "knex": (
        "id serial primary key, name varchar(255), batch int, migration_time timestamptz",
        f"1, 'init.js', 1, {_AT}",
        ("init.js", None, MOMENT, None, None, None),
    ),
    "goose": (
        "id serial primary key, version_id bigint, is_applied boolean, tstamp timestamp default now()",
        "1, 7, true, '2024-05-06 07:08:09'), (2, 7, false, '2024-05-06 07:08:09'",
        ("7", None, MOMENT, None, None, None),
    ),
    "liquibase": (
        (
            "id varchar(255), author varchar(255), filename varchar(255), dateexecuted timestamp, orderexecuted int, "
            " exectype varchar(10),"
            " md5sum varchar(35), description varchar(255), comments varchar(255), tag varchar(255), liquibase varchar(20)"
        ),
        "'1', 'me', 'a.xml', '2024-05-06 07:08:09', 1, 'EXECUTED', null, null, null, null, null",
        ("a.xml::1::me", None, MOMENT, None, False, None),
    ),
    "supabase": (
        "version text primary key, statements text[], name text",
        "'20240506070809', '{a,b}', 'init'",
        ("20240506070809_init", None, None, None, None, 2),
    ),
    "drizzle": (
        "id serial primary key, hash text, created_at bigint",
        "1, 'abc', 1714979289000",
        ("abc", None, None, None, None, None),
    ),
    "sqlx": (
        (
            "version bigint primary key, description text, installed_on timestamptz default now(), success boolean,"
            " checksum bytea, execution_time bigint"
        ),
        f"1, 'init', {_AT}, true, '', -1",
        ("1_init", None, MOMENT, None, False, None),
    ),
    "sequelize": ("name varchar(255) primary key", "'init.js'", ("init.js", None, None, None, None, None)),
    "typeorm": (
        'id serial primary key, "timestamp" bigint, name varchar',
        "1, 1714979289000, 'Init1'",
        ("Init1", None, None, None, None, None),
    ),
    "mikro-orm": (
        "id serial primary key, name varchar(255), executed_at timestamptz",
        f"1, 'Migration1', {_AT}",
        ("Migration1", None, MOMENT, None, None, None),
    ),
    "node-pg-migrate": (
        "id serial primary key, name varchar(255), run_on timestamp",
        "1, '1_init', '2024-05-06 07:08:09'",
        ("1_init", None, MOMENT, None, None, None),
    ),
    "diesel": (
        "version varchar(50) primary key, run_on timestamp",
        "'20240506', '2024-05-06 07:08:09'",
        ("20240506", None, MOMENT, None, None, None),
    ),
    "ef-core": (
        '"MigrationId" varchar(150) primary key, "ProductVersion" varchar(32)',
        "'20240506_Init', '8.0'",
        ("20240506_Init", None, None, None, None, None),
    ),
    "atlas": (
        (
            "version varchar primary key, description varchar, type bigint, applied bigint, total bigint,"
            " executed_at timestamptz, execution_time bigint, error text, error_stmt text, hash varchar, partial_hashes jsonb,"
            " operator_version varchar"
        ),
        f"'1', 'init', 2, 1, 3, {_AT}, 5, 'a canary in the error', 'x', 'h', '[]', 'v'",
        ("1_init", MOMENT, None, None, True, 1),
    ),
    "laravel": (
        "id serial primary key, migration varchar(255), batch int",
        "1, 'create_users', 1",
        ("create_users", None, None, None, None, None),
    ),
    "phinx": (
        "version bigint primary key, migration_name varchar(100), start_time timestamp, end_time timestamp, breakpoint boolean",
        "1, 'Init', '2024-05-06 07:08:09', '2024-05-06 07:08:09', false",
        ("1_Init", MOMENT, MOMENT, None, None, None),
    ),
    "sqitch": (
        (
            "change_id text primary key, script_hash text, change text, project text, note text, committed_at timestamptz,"
            " committer_name text,"
            " committer_email text, planned_at timestamptz, planner_name text, planner_email text"
        ),
        f"'1', 'h', 'users', 'shop', '', {_AT}, 'me', 'a canary in the address', {_AT}, 'me', 'x'",
        ("shop:users", None, MOMENT, None, None, None),
    ),
}
FURTHER_ROWS: dict[str, list[tuple[Any, ...]]] = {"goose": [("7", None, None, MOMENT, None, None)]}
TABLE_NAMES = {"rails": "schema_migrations", "sequelize": "SequelizeMeta"}


@pytest.fixture(scope="module")
def ledgers(scene: Server) -> str:
    """A database that has the ledger of every tool, each in an odd schema of its own."""
    name = "ledgers"
    scene.create_database(name)
    for tool, (definition, values, _) in LEDGERS.items():
        table = f'"{tool} Schéma"."{TABLE_NAMES.get(tool, "My migrations")}"'
        scene.execute(
            f'create schema "{tool} Schéma"; create table {table} ({definition}); insert into {table} values ({values})', name
        )
    return name


def test_the_ledger_of_every_tool_is_found(scene: Server, ledgers: str) -> None:
    found = frame(scene, "migration_ledgers", database=ledgers)
    names = {tool: (f"{tool} Schéma", TABLE_NAMES.get(tool, "My migrations")) for tool in LEDGERS}
    assert {row.tool: (row.schema_name, row.relation_name) for row in found.itertuples()} == names
    assert len(found) == len(LEDGERS)
    assert list(found.set_index("tool")["column_names"]["golang-migrate"]) == ["version", "dirty"]


@pytest.mark.parametrize("tool", LEDGERS)
def test_a_probe_reads_the_ledger(scene: Server, ledgers: str, tool: str) -> None:
    (query,) = probes()[f"migrations_{tool}"]
    places = {"ledger_schema": f"{tool} Schéma", "ledger_table": TABLE_NAMES.get(tool, "My migrations")}
    with open_as(scene, database=ledgers) as connection:
        found = ask(connection, query, places)
    assert [tuple(_plain(value) for value in row) for row in found.itertuples(index=False)] == [
        LEDGERS[tool][2],
        *FURTHER_ROWS.get(tool, []),
    ]
    assert psql(scene, query, ledgers, places)[0] == ",".join(PROBE_COLUMNS)
    with open_as(scene, "plain", ledgers) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(connection, query, places)


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"])
def test_a_probe_survives_impossible_times(scene: Server, ledgers: str, moment: str) -> None:
    table = '"prisma Schéma"."My migrations"'
    places = {"ledger_schema": "prisma Schéma", "ledger_table": "My migrations"}
    with scene.connect(ledgers) as writer:
        writer.execute(
            f"insert into {table} (id, migration_name, started_at, finished_at) values ('2', 'odd', '{moment}', '{moment}')"
        )
        try:
            with open_as(scene, database=ledgers) as connection:
                found = ask(connection, probes()["migrations_prisma"][0], places)
        finally:
            writer.execute(f"delete from {table} where id = '2'")
    odd = found[found["migration_name"] == "odd"].iloc[0]
    assert pd.isna(odd["started_at"])
    assert pd.isna(odd["finished_at"])
    assert not odd["is_failed"], "it has finished, whenever that was"


def test_what_only_looks_like_a_ledger_is_left_alone(scene: Server, ledgers: str) -> None:
    """To probe a view or a column of a type of somebody's own would run their code."""
    scene.execute(
        """
        create schema fake;
        create view fake.alembic_version as select 'x'::text as version_num;
        create type fake.mood as enum ('good');
        create table fake.schema_migrations (version fake.mood);
        create table fake.release (version text);
        create table fake.tags (id int, name text, executed_at timestamptz);
        create table fake.parts (version_num text) partition by list (version_num);
        create table fake.part partition of fake.parts default;
        """,
        ledgers,
    )
    try:
        found = frame(scene, "migration_ledgers", database=ledgers)
    finally:
        scene.execute("drop schema fake cascade", ledgers)
    assert found[found["schema_name"] == "fake"]["relation_name"].tolist() == ["parts"]


def test_no_value_of_anybody_leaves_the_server(scene: Server, ledgers: str) -> None:
    with scene.connect("facts") as writer:
        writer.execute("create table shop.secrets (a text default 'canary in a default', b text)")
        try:
            writer.execute(
                "insert into shop.secrets select 'canary ' || %s, %s from generate_series(1, 100)", ("of a value", "canary")
            )
            writer.execute("create index on shop.secrets ((a || 'canary'))")
            writer.execute("create view shop.secret_view as select 'canary in a view' as a")
            writer.execute("analyze shop.secrets")
            found = answers(scene)
        finally:
            writer.execute("drop table shop.secrets; drop view if exists shop.secret_view", prepare=False)
    with open_as(scene, database=ledgers) as connection:
        for tool in LEDGERS:
            places = {"ledger_schema": f"{tool} Schéma", "ledger_table": TABLE_NAMES.get(tool, "My migrations")}
            found[tool] = ask(connection, probes()[f"migrations_{tool}"][0], places)
    # Statements are masked by the client
    texts = {name: f.drop(columns="statement", errors="ignore").to_csv() for name, f in found.items()}
    assert [name for name, text in texts.items() if "canary" in text] == []
    assert "secret_view" in texts["relations"]
