"""An expected schema, from a file, a dump, migrations and a second database, held against real servers."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.analyze.schema.actual import Actual, expected_of
from kit.analyze.schema.comparison import NOT_EXAMINED, Difference, compare, to_frame
from kit.analyze.schema.dump import Script, read_dump
from kit.analyze.schema.file import parse_file
from kit.analyze.schema.types import spelling
from kit.case.expecting import expected_by
from kit.collect.postgres import collect_database
from kit.errors import ParameterError
from kit.evidence.model import Frames
from kit.sandbox.server import Server
from kit.target import DatabaseSource

NEEDS = ("relations", "columns", "indexes", "extensions", "extension_relations", "session")


def frames_of(running: Server, database: str) -> Frames:
    return Frames(collect_database(DatabaseSource("database", running.dsn(database)), only=NEEDS)[0])


def short(found: list[Difference]) -> list[tuple[str, str, str | None, str | None]]:
    return [(item.kind, item.difference, item.relation, item.column) for item in found]


# --- types ----------------------------------------------------------------------------------------------------------

WRITTEN = """
    int|int2|int4|int8|integer|bigint|smallint|serial|bigserial|smallserial|serial8|float|float(10)|float(30)|float4|float8
    real|double precision|numeric|numeric(10)|numeric(10,2)|decimal(5,0)|dec|bool|boolean|text|varchar|varchar(20)
    character varying(20)|char|char(3)|character(3)|bpchar|"char"|name|bytea|date|time|time(3)|timetz|time(2) with time zone
    timestamp|timestamp(3)|timestamptz|timestamp with time zone|timestamptz(6)|interval|interval(3)|interval day to second(3)
    interval year to month|interval hour|interval minute to second|bit|bit(4)|bit varying|varbit(7)|uuid|json|jsonb|xml|inet
    cidr|macaddr|point|tsvector|tsquery|money|oid|int4range|text[]|int[3][4]|varchar(5)[]|timestamptz[]|numeric(4)[]
    pg_catalog.int8|mood|"Mood"|app.mood|app."Odd type"|app.pair|app.amount|mood[]|national character varying(3)|regclass|pg_lsn
"""
TYPES = [word.strip() for line in WRITTEN.strip().splitlines() for word in line.split("|")]
OWN = """
    create type mood as enum ('a'); create type "Mood" as enum ('a'); create schema app; create type app.mood as enum ('b');
    create type app."Odd type" as enum ('a'); create type app.pair as (a int, b text); create domain app.amount as numeric(10,2);
"""


def test_every_spelling_of_a_type_is_the_server_s(server: Server, database: str) -> None:
    """The server's own format_type is the oracle, asked as a capture asks it."""
    made = ", ".join(f"c{number} {written}" for number, written in enumerate(TYPES))
    server.execute(f"{OWN} create table public.t ({made})", database)
    actual = Actual(frames_of(server, database))
    columns = actual.columns[actual.relations["public", "t"]["relation_oid"]]
    for number, written in enumerate(TYPES):
        theirs = columns[f"c{number}"]["type_name"]
        said, read = spelling(written), spelling(theirs)
        assert said is not None, written
        assert read is not None, theirs
        assert said.fits(read), (written, theirs, said)
        assert read.written == theirs, "format_type's own words come back unchanged"
    assert len(TYPES) > 75


def test_types_that_differ_do_not_fit() -> None:
    pairs = {
        ("varchar(20)", "varchar(30)"), ("varchar", "text"), ("char", '"char"'), ("timestamp", "timestamptz"),
        ("numeric(10)", "numeric(10,1)"), ("int", "int[]"), ("app.mood", "public.mood"), ("mood", '"Mood"'), ("int", "bigint"),
        ("interval day to second", "interval"), ("bit", "bit(2)"), ("time(3)", "time"),
    }  # fmt: skip
    for one, other in pairs:
        first, second = spelling(one), spelling(other)
        assert first is not None
        assert second is not None
        assert not first.fits(second), (one, other)


@pytest.mark.parametrize(
    "text", ["", "int; drop table x", "int, d int", "int not null", "int) as select 1", "))", "int collate x"]
)
def test_what_is_no_type_is_none(text: str) -> None:
    assert spelling(text) is None


# --- dumps ----------------------------------------------------------------------------------------------------------

RICH = """
    create schema app; create schema "Odd schema"; create type app.state as enum ('new', 'done');
    create table app.users (id bigint generated always as identity primary key, email varchar(320) not null unique,
      "platformId" text, state app.state default 'new' not null, tags text[], made timestamptz default now(),
      doubled int generated always as (1 + 1) stored, amount numeric(10) check (amount > 0));
    create table app.orders (id serial, user_id bigint references app.users, note text default 'a;b ''quoted''',
      day date not null, primary key (id, day)) partition by range (day);
    create table app.orders_2026 partition of app.orders for values from ('2026-01-01') to ('2027-01-01');
    create table "Odd schema"."Odd.name" (like app.users including defaults, "Odd col""umn" interval day to second(3));
    create unlogged table public.notes (body text, at timestamp(3));
    create table public.child (extra int) inherits (public.notes);
    create index on app.orders (user_id); create unique index on app.users (lower(email));
    create index on app.users using gin (tags);
    create index half on app.users (made) where state = 'new'; create index covering on app.users (state) include (email);
    create view app.seen as select id, email from app.users; create materialized view app.counted as select 1 as one;
    create function app.f() returns int language sql begin atomic select 1; select 2; end;
    create function app.g() returns trigger language plpgsql as $x$ begin create table nonsense (a int); return new; end $x$;
    create trigger g before insert on public.notes for each row execute function app.g();
    create rule r as on delete to public.notes do also (select 1; select 2);
    alter table public.notes enable row level security; create policy p on public.notes using (body <> 'x');
    comment on table app.users is 'create table lies (a int);';
    insert into app.users (email, amount) values (E'it''s; drop table app.users;\\ncreate table fake (a int);\\n\\\\.', 3);
"""


@pytest.fixture
def rich(server: Server, database: str) -> str:
    server.execute(RICH, database)
    return database


def dumped(running: Server, database: str, *options: str) -> str:
    command = [str(running.binaries.real_bin_folder / "pg_dump"), *options, running.dsn(database)]
    environment = {**os.environ, **running.binaries.environment()}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.mark.parametrize(
    "options", [("--schema-only",), (), ("--inserts", "--clean", "--if-exists")], ids=["schema", "rows", "inserts"]
)
def test_a_dump_of_a_database_is_what_is_there(server: Server, rich: str, options: tuple[str, ...]) -> None:
    expected = read_dump([Script("dump.sql", dumped(server, rich, *options))], "dump.sql")
    frames = frames_of(server, rich)
    assert expected.unread == ()
    assert short(compare(frames, expected)) == []
    there = {(row["schema_name"], row["relation_name"]) for row in Actual(frames).relations.values() if row["kind"] != "sequence"}
    assert {(relation.schema, relation.name) for relation in expected.relations} == there
    assert sum(len(relation.columns) for relation in expected.relations) >= 30
    assert sum(len(relation.indexes) for relation in expected.relations) >= 8


def test_a_second_database_is_what_is_expected(server: Server, rich: str) -> None:
    expected = expected_of(frames_of(server, rich), "the other")
    assert short(compare(frames_of(server, rich), expected)) == []
    assert {relation.name for relation in expected.relations} >= {"users", "orders", "Odd.name", "seen"}
    assert "orders_2026" not in {relation.name for relation in expected.relations}, "partitions differ by the day"


DRIFTS = {
    'alter table app.users drop column "platformId"': [("column", "missing", "users", "platformId")],
    "alter table app.users alter column made type timestamp": [("column", "type", "users", "made")],
    "alter table app.users alter column email type varchar(100)": [("column", "type", "users", "email")],
    "alter table app.users alter column email drop not null": [("column", "nullability", "users", "email")],
    "alter table app.users alter column amount set not null": [("column", "nullability", "users", "amount")],
    "alter table app.users alter column state drop default": [("column", "default", "users", "state")],
    "truncate app.users cascade; alter table app.users add column must int not null": [("column", "in the way", "users", "must")],
    "alter table app.users add column free int not null default 3, add column loose text": [],
    "drop index app.half": [("index", "missing", "users", None)],
    "drop index app.users_tags_idx": [("index", "missing", "users", None)],
    "alter table app.users drop constraint users_email_key": [("index", "missing", "users", None)],
    "drop materialized view app.counted": [("table", "missing", "counted", None)],
    "drop view app.seen; create table app.seen (id bigint, email varchar(320))": [("table", "kind", "seen", None)],
    "alter table app.users alter id set generated by default": [],
    "drop table public.child": [("table", "missing", "child", None)],
    "alter table app.orders rename to Orders_old": [("table", "missing", "orders", None)],
}


@pytest.mark.parametrize(("change", "said"), DRIFTS.items())
def test_each_drift_is_named(server: Server, rich: str, change: str, said: list[tuple[str, str, str | None, str | None]]) -> None:
    expected = expected_of(frames_of(server, rich), "before")
    by_dump = read_dump([Script("dump.sql", dumped(server, rich, "--schema-only"))], "dump.sql")
    if change.startswith("alter table app.users alter column made"):
        server.execute("drop index app.half", rich)
        expected, by_dump = expected_of(frames_of(server, rich), ""), read_dump([Script("d", dumped(server, rich, "-s"))], "")
    if "users alter column email type" in change:
        server.execute("drop view app.seen", rich)
        expected, by_dump = expected_of(frames_of(server, rich), ""), read_dump([Script("d", dumped(server, rich, "-s"))], "")
    server.execute(change, rich)
    assert short(compare(frames_of(server, rich), expected)) == said
    assert short(compare(frames_of(server, rich), by_dump)) == said


def test_remedies_mend_what_they_are_for(server: Server, database: str) -> None:
    server.execute(
        "create table t (id int, a varchar(20), c int not null, d text); insert into t values (1, 'x', 2, 'y')", database
    )
    file = """
        [tables.t]
        columns.id = "int not null"
        columns.a = "varchar(30)"
        columns.b = "timestamptz"
        columns.c = "int null"
        indexes = ["unique (id)", "(a, id)", "gin (b2)"]
        [tables.gone]
    """.replace('"gin (b2)"', '"hash (d)"')
    expected = parse_file(file, "file")
    found = compare(frames_of(server, database), expected)
    assert sorted(item.difference for item in found) == ["missing"] * 5 + ["nullability"] * 2 + ["type"]
    for item in found:
        assert item.remedy
        statement = item.remedy.rpartition("then: ")[2]
        if item.kind != "table":
            # Concurrently: each is a transaction of its own.
            server.execute(statement.replace(" concurrently", ""), database)
    assert short(compare(frames_of(server, database), expected)) == [("table", "missing", "gone", None)]


def test_an_invalid_index_and_one_that_is_not_unique_are_told_apart(server: Server, database: str) -> None:
    server.execute("create table t (a int, b int); insert into t values (1, 1), (1, 1); create index on t (b)", database)
    with server.connect(database, autocommit=True) as connection, pytest.raises(Exception, match="could not create unique"):
        connection.execute("create unique index concurrently broken on t (a)")
    found = compare(frames_of(server, database), parse_file('[tables.t]\nindexes = ["unique (a)", "unique (b)"]', "file"))
    assert [(item.difference, item.actual) for item in found] == [("invalid", "public.broken"), ("not unique", "public.t_b_idx")]
    assert found[0].remedy == "reindex index concurrently public.broken"


# --- migrations -----------------------------------------------------------------------------------------------------

MIGRATIONS = {
    "20260101000000_init/migration.sql": """
        CREATE TABLE "User" ("id" TEXT NOT NULL, "old" INTEGER, CONSTRAINT "User_pkey" PRIMARY KEY ("id"));
    """,
    "20260102000000_more/migration.sql": """
        -- a comment; with a semicolon and a 'quote
        ALTER TABLE "User" ADD COLUMN "email" VARCHAR(320) NOT NULL DEFAULT '', DROP COLUMN "old";
        CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
        CREATE TABLE gone (a int); CREATE TABLE kept (a int unique, b text);
        ALTER TABLE kept RENAME COLUMN b TO c; ALTER TABLE kept ALTER COLUMN c TYPE jsonb USING c::jsonb, ALTER c SET NOT NULL;
        DO $$ BEGIN CREATE TYPE status AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN null; END $$;
    """,
    "20260103000000_less/migration.sql": """
        DROP TABLE gone; ALTER TABLE kept RENAME TO renamed; ALTER TABLE renamed DROP CONSTRAINT kept_a_key;
    """,
    "20260103000000_less/down.sql": "DROP TABLE renamed;",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_migrations_leave_what_the_server_has_after_them(server: Server, database: str, tmp_path: Path) -> None:
    for name, text in MIGRATIONS.items():
        if not name.endswith("down.sql"):
            server.execute(text, database)
    expected = expected_by(write(tmp_path / "migrations", MIGRATIONS))
    assert {relation.name for relation in expected.relations} == {"User", "renamed"}
    assert short(compare(frames_of(server, database), expected)) == []
    assert [note.partition(" is ")[0] for note in expected.notes] == [f"statement 7 of {list(MIGRATIONS)[1]}"]
    server.execute('alter table renamed alter c type text; drop index "User_email_key"', database)
    assert short(compare(frames_of(server, database), expected)) == [
        ("index", "missing", "User", None),
        ("column", "type", "renamed", "c"),
    ]


def test_a_statement_that_does_more_than_name_an_owner_is_read() -> None:
    text = "CREATE TABLE a.t (i int);\n-- x\nALTER TABLE ONLY a.t OWNER TO me;\nALTER TABLE a.t OWNER TO me, ADD COLUMN n text;"
    [relation] = read_dump([Script("dump.sql", text)], "dump.sql").relations
    assert [column.name for column in relation.columns] == ["i", "n"]


def test_the_way_back_in_the_same_file_is_not_gone(tmp_path: Path) -> None:
    files = {
        "V2__b.sql": "alter table t add column second int;",
        "V10__c.sql": "alter table t drop column second, add column tenth int;",
        "V1__a.sql": "create table t (first int);",
        "U10__c.sql": "drop table t;",
        "V11__d.sql": "-- +goose Up\nalter table t add column up int;\n-- +goose Down\ndrop table t;",
    }
    [table] = expected_by(write(tmp_path, files)).relations
    assert [column.name for column in table.columns] == ["first", "tenth", "up"]


def test_what_cannot_be_read_is_named_and_never_repeated() -> None:
    text = (
        "create table a (b int);\ncreate role x password 'hunter2' nonsense here;\nselect broken from;\ncreate table c (d int);"
    )
    expected = read_dump([Script("d.sql", text)], "d.sql")
    assert [relation.name for relation in expected.relations] == ["a", "c"]
    assert expected.unread == ("statement 2 (CREATE …) of d.sql", "statement 3 (SELECT …) of d.sql")
    copied = "copy x from stdin;\ncreate table d (e int);\n"
    assert [relation.name for relation in read_dump([Script("d.sql", copied)], "d.sql").relations] == ["d"], "rows without an end"
    assert read_dump([Script("d.sql", f"{copied}\\.\ncreate table f (g int);")], "d.sql").relations[0].name == "f"
    [whole] = read_dump([Script("d.sql", "create table a (b text default 'open);")], "d.sql").unread
    assert whole.startswith("d.sql as a whole")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.integers(0, 400))
def test_no_text_breaks_the_reader(text: str, cut: int) -> None:
    half = RICH[:cut] + text + RICH[cut : cut + 300]
    for said in (text, half):
        read_dump([Script("d.sql", said)], "d.sql")


# --- the file -------------------------------------------------------------------------------------------------------

WRONG = {
    "": "f expects no table and no extension. Write [tables.NAME], and its columns below it.",
    "[tables": "f is not valid TOML",
    "tables = 3": "f expects no table",
    "[tabels.a]": "f has the unknown key 'tabels'. Did you mean tables?",
    "[tables.a]\ncolums = []": "f, [tables.a] has the unknown key 'colums'. Did you mean columns?",
    "[tables.app.sessions]\ncolumns = ['a']": 'holds another table. Put schema and name in quotes: [tables."app.sessions"].',
    "[tables.'a.b.c']": "f, [tables.a.b.c] does not name a table.",
    "[tables.a]\ncolumns = 'b'": "f, [tables.a]: columns is neither a table nor a list.",
    "[tables.a]\ncolumns.b = 3": "f, [tables.a]: column b is not a text in quotes.",
    "[tables.a]\ncolumns.b = 'int, c int'": "f, [tables.a]: column b is 'int, c int', which is no type.",
    "[tables.a]\ncolumns.b = 'setof int'": "which is no type.",
    "[tables.a]\nmay = 'SELECT'": "f, [tables.a]: may is not a list of texts.",
    "[tables.a]\nmay = ['SELCT']": "f, [tables.a] has the unknown action 'SELCT'. Did you mean SELECT?",
    "[tables.a]\nmay = ['SELECT on b to c; drop table d; grant select']": "cannot be read",
    "[tables.a]\nindexes = ['unique email']": "f, [tables.a] has the index 'unique email', which cannot be read.",
    "[tables.a]\nindexes = ['(a); drop table b']": "cannot be read",
    "extensions = ['a b']": "f: the extension 'a b' cannot be read.",
    "extensions = 'pgcrypto'": "f: extensions is not a list of texts.",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_a_slip_of_the_pen_is_named(text: str, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_file(text, "f")
    assert said in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_no_word_in_the_file_is_a_crash(text: str) -> None:
    for key in (f"columns.a = {text!r}", f"may = [{text!r}]", f"indexes = [{text!r}]"):
        try:
            parse_file(f"[tables.t]\n{key}", "f")
        except ParameterError:
            continue


def test_names_are_exact_and_near_ones_are_named(server: Server, database: str) -> None:
    server.execute(
        'create table "Sessions" ("platformId" text, id int); create schema app; create table app.orders (a int)', database
    )
    file = "[tables.Sessions]\ncolumns = ['platform_id', 'id']\n[tables.sesions]\n[tables.orders]\n[tables.'app.orders']"
    found = compare(frames_of(server, database), parse_file(file, "f"))
    assert [item.because for item in found] == [
        'Column platform_id of public."Sessions" is missing. Near it: "platformId".',
        f'Table sesions is missing on the search_path (public) in database {database}. Near it: public."Sessions".',
        f"Table orders is missing on the search_path (public) in database {database}. Near it: app.orders.",
    ]
    assert [item.difference for item in found] == ["missing", "missing", "off the path"]


def test_extensions_and_their_versions(server: Server, database: str) -> None:
    server.execute("create extension pg_stat_statements", database)
    file = 'extensions = ["pg_stat_statements >= 1.0", "pg_stat_statements >= 99.1", "plpgsql", "citext"]'
    found = compare(frames_of(server, database), parse_file(file, "f"))
    said = [(item.difference, item.expected) for item in found]
    assert said == [("version", "pg_stat_statements >= 99.1"), ("missing", "citext")]


def test_evidence_that_is_missing_is_not_examined(server: Server, database: str) -> None:
    server.execute("create table t (a int)", database)
    source, _ = collect_database(DatabaseSource("database", server.dsn(database)), only=("relations", "columns", "extensions"))
    [unseen] = compare(Frames(source), parse_file('[tables.t]\nindexes = ["(a)"]', "f"))
    assert unseen.difference == NOT_EXAMINED


def test_what_was_cut_off_is_not_called_missing(server: Server, database: str) -> None:
    server.execute("create table t (a int)", database)
    source, _ = collect_database(DatabaseSource("database", server.dsn(database)), only=NEEDS)
    relations = source.evidence["relations"]
    cut = replace(relations, provenance=relations.provenance.model_copy(update={"truncated": True}))
    frames = Frames(replace(source, evidence={**source.evidence, "relations": cut}))
    found = compare(frames, parse_file("[tables.gone]\n[tables.t]\ncolumns = ['b']", "f"))
    assert [(item.kind, item.difference) for item in found] == [
        ("evidence", NOT_EXAMINED),
        ("table", NOT_EXAMINED),
        ("column", "missing"),
    ]


def test_the_frame_has_one_row_a_difference(server: Server, database: str) -> None:
    frame = to_frame(compare(frames_of(server, database), parse_file("[tables.gone]\n[tables.also]", "f")))
    assert list(frame.columns)[:7] == ["kind", "schema", "relation", "column", "expected", "actual", "difference"]
    assert frame["relation"].tolist() == ["gone", "also"]
    assert to_frame([]).dtypes.equals(frame.dtypes)


def test_a_bundle_s_folder_is_no_folder_of_migrations(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ParameterError, match="is a bundle"):
        expected_by(tmp_path)
    for wrong in (tmp_path / "none.sql", tmp_path / "binary.sql"):
        (tmp_path / "binary.sql").write_bytes(b"PGDMP\x01\xff\xfe")
        with pytest.raises(ParameterError):
            expected_by(wrong)
