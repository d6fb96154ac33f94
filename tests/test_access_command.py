"""`kit access` as programs and people use it: its JSON, its exit status, its words, its limits."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from psycopg import sql
from typer.testing import CliRunner

from kit.analyze.access.explanation import GATES
from kit.cli import app
from kit.sandbox.server import Server
from tests.run_support import KIT, environment

ROLES = ("ac_owner", "ac_api", "ac_plain", "ac_monitor", "ac_readers", "ac_group")
HOSTILE = [
    'quo"te', "li\nne", "';drop table x;--", "<script>alert(1)</script>", "ünïcode☃", "x" * 63, "a.b", "f(x", ") y", "%s {0} $1",
    " ", "\x1b[31mred",
]  # fmt: skip
SETUP = """
    create role ac_owner; create role ac_group; create role ac_readers; create role ac_api login in role ac_readers;
    create role ac_plain login; create role ac_monitor login in role pg_monitor;
    create schema app authorization ac_owner; create schema "Odd.(schema" authorization ac_owner;
    grant usage on schema app to ac_readers; grant usage on schema "Odd.(schema" to ac_readers;
    set role ac_owner;
    create table app.orders (id int primary key, note text); grant select (id) on app.orders to ac_readers;
    create table app.secrets (id int); alter table app.secrets enable row level security;
    grant select on app.secrets to ac_readers;
    create table app.plain (id int); grant select, insert on app.plain to ac_api;
    create view app.public_orders as select id from app.orders; grant select on app.public_orders to ac_readers;
    create function app.count_of(n integer, word text) returns int language sql as 'select 1';
    revoke execute on function app.count_of from public;
    create function app.count_of(n integer) returns int language sql as 'select 1';
    create table "Odd.(schema"."Odd ""name(1)" (id int); grant select on "Odd.(schema"."Odd ""name(1)" to ac_readers;
    create function "Odd.(schema"."f(x).y"(n integer) returns int language sql as 'select 1';
    create type app.mood as enum ('good');
    reset role;
    alter role ac_api set search_path = app, public;
"""


@pytest.fixture(scope="module")
def shop(server: Server) -> Iterator[str]:
    server.create_database("access_command")
    server.execute(SETUP, "access_command")
    yield "access_command"
    server.execute("drop database access_command with (force)")
    server.execute(f"drop role {', '.join(ROLES)}")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["access", *map(str, words)])


def asked(target: str, *words: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("--target", target, *words, "--json")
    assert result.stderr == ""
    return result.exit_code, json.loads(result.stdout)


def refused(*words: str | Path) -> str:
    """Return what a person reads when the question itself is wrong: one sentence, and where to go on."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith(("Error: ", "Usage: ")), result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2, result.stderr
    return result.stderr


# --- the contract ---------------------------------------------------------------------------------------------------


def test_the_document_is_the_one_of_the_contract(server: Server, shop: str) -> None:
    _, answer = asked(server.dsn(shop), "--role", "ac_api", "--relation", "orders")

    assert {"allowed", "rows", "gates", "first_failed", "remedy"} <= answer.keys()
    assert [gate["gate"] for gate in answer["gates"]] == list(GATES) == [
        "login", "connect", "name resolution", "schema usage", "object privilege", "column privilege", "view owner",
        "row security", "sequence", "function",
    ]  # fmt: skip
    assert all(gate.keys() == {"gate", "status", "because"} and gate["because"] for gate in answer["gates"])
    assert {gate["status"] for gate in answer["gates"]} <= {"passed", "failed", "unknown", "not applicable"}


@pytest.mark.parametrize(
    ("words", "status", "allowed", "rows", "first"),
    [
        (["--relation", "plain"], 0, True, "all", None),
        (["--relation", "orders"], 0, True, "all", None),
        (["--relation", "orders", "--columns", "id,note"], 1, False, None, "column privilege"),
        (["--relation", "secrets"], 0, True, "none", "row security"),
        (["--relation", "orders", "--action", "delete"], 1, False, None, "object privilege"),
        (["--relation", "nowhere"], 1, False, None, "name resolution"),
        (["--relation", "pg_class"], 3, None, None, None),
        (["--relation", "pg_catalog.pg_class"], 3, None, None, None),
        (["--relation", "information_schema.tables"], 3, None, None, None),
        (["--function", "now"], 3, None, None, None),
        (["--type", "integer"], 3, None, None, None),
        (["--function", "app.count_of"], 3, None, None, None),
        (["--function", "app.count_of(int)"], 0, True, None, None),
        (["--function", "app.count_of(n integer, word text)"], 1, False, None, "object privilege"),
        (["--function", "app.count_of(integer, text)"], 1, False, None, "object privilege"),
        (["--function", "app.missing(integer)"], 1, False, None, "name resolution"),
        (["--schema", "app"], 0, True, None, None),
        (["--schema", "app", "--action", "create"], 1, False, None, "object privilege"),
        (["--type", "app.mood"], 0, True, None, None),
        (["--database", "access_command"], 0, True, None, None),
        (["--database", "access_comand"], 1, False, None, "name resolution"),
        (["--statement", "select id from orders where id = %s"], 0, True, "all", None),
        (["--statement", "select o.note from orders o, plain"], 1, False, None, "column privilege"),
        (["--statement", "select 1 from plain, secrets"], 0, True, "none", "row security"),
    ],
)
def test_the_exit_status_goes_with_the_answer(
    server: Server, shop: str, words: list[str], status: int, allowed: bool | None, rows: str | None, first: str | None
) -> None:
    found, answer = asked(server.dsn(shop), "--role", "ac_api", *words)

    assert (found, answer["allowed"], answer["rows"], answer["first_failed"]) == (status, allowed, rows, first), answer


def test_of_several_answers_the_one_that_denies_comes_first(server: Server, shop: str) -> None:
    status, answer = asked(server.dsn(shop), "--role", "ac_api", "--statement", "select * from pg_class, plain, orders")

    assert (status, answer["allowed"], answer["object"]) == (1, False, "app.orders")
    assert [item["allowed"] for item in answer["answers"]] == [None, True, False]


def test_a_remedy_of_two_statements_says_who_may_run_each(server: Server, shop: str) -> None:
    server.execute("create schema two; alter schema two owner to ac_group; create table two.lines (id int)", shop)
    server.execute("alter table two.lines owner to ac_owner", shop)

    _, answer = asked(server.dsn(shop), "--role", "ac_plain", "--relation", "two.lines")

    assert answer["remedy"] == "grant usage on schema two to ac_plain;\ngrant select on two.lines to ac_plain"
    assert answer["run_by"].split(" / ") == [
        f"{name} (its owner) or a member of it, or a superuser" for name in ("ac_group", "ac_owner")
    ]
    server.execute("drop schema two cascade", shop)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "near"),
    [("ac_ap", "ac_api"), ("api", "ac_api"), ("AC_API", "ac_api"), ("ac_apii", "ac_api"), ("ac", "ac_"), ("zzz", "ac_api")],
)
def test_an_unknown_role_is_told_with_names_that_may_be_meant(server: Server, shop: str, role: str, near: str) -> None:
    said = refused("--target", server.dsn(shop), "--role", role, "--relation", "orders")

    assert f"There is no role {role if role.islower() else chr(34) + role + chr(34)} on this server." in said
    assert near in said.splitlines()[1]


def test_an_unknown_target_is_told_with_those_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit.toml").write_text('[targets.shop]\ndsn = "dbname=shop"\n[targets.billing]\ndsn = "dbname=billing"\n')
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))

    said = refused("--target", "shpo", "--role", "r", "--relation", "t")

    assert "names no target 'shpo'" in said
    assert "shop" in said.splitlines()[1]


def test_a_relation_that_is_not_there_is_an_answer_with_places(server: Server, shop: str, database: str) -> None:
    server.execute("create schema there; create table there.ordres (id int)", database)

    status, answer = asked(server.dsn(shop), "--role", "ac_api", "--relation", "ordres")

    assert (status, answer["first_failed"], answer["remedy"]) == (1, "name resolution", None)
    assert answer["near"][0] == "app.orders"
    assert f"database {database} as there.ordres" in answer["near"]
    assert f"it is in database {database} as there.ordres" in answer["gates"][2]["because"]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_hostile_name_is_a_name(server: Server, shop: str, name: str) -> None:
    quoted = sql.Identifier(name).as_string()
    server.execute(f"create role {quoted} login; grant usage on schema app to {quoted}", shop)
    server.execute(
        f"create table app.{quoted} ({quoted} int); create function app.{quoted}() returns int language sql as 'select 1'", shop
    )
    server.execute(f"revoke execute on function app.{quoted}() from public; create schema {quoted}", shop)
    try:
        for words in (["--relation", f"app.{quoted}"], ["--function", f"app.{quoted}()"], ["--schema", quoted]):
            status, answer = asked(server.dsn(shop), "--role", name, *words)
            assert (status, answer["role"]) == (1, name), answer
            assert answer["first_failed"] == ("schema usage" if "--schema" in words else "object privilege")
            server.execute(answer["remedy"], shop)
            assert asked(server.dsn(shop), "--role", name, *words)[0] == 0, answer["remedy"]
            text = run("--target", server.dsn(shop), "--role", name, *words).stdout
            assert "\x1b" not in text
            assert "li\nne" not in text
    finally:
        server.execute(f"drop schema {quoted}; drop table app.{quoted}; drop function app.{quoted}()", shop)
        server.execute(f"drop owned by {quoted}; drop role {quoted}", shop)


def test_dots_and_parentheses_inside_of_quotes_are_letters(server: Server, shop: str) -> None:
    for words in (["--relation", '"Odd.(schema"."Odd ""name(1)"'], ["--function", '"Odd.(schema"."f(x).y"(integer)']):
        status, answer = asked(server.dsn(shop), "--role", "ac_api", *words)
        assert (status, answer["allowed"]) == (0, True), answer
    assert answer["object"] == '"Odd.(schema"."f(x).y"(n integer)'


def test_a_name_of_three_parts_is_of_this_database_or_refused(server: Server, shop: str) -> None:
    for words in (["--relation", "elsewhere.app.plain"], ["--function", "elsewhere.app.count_of(int)"]):
        status, answer = asked(server.dsn(shop), "--role", "ac_api", *words)
        assert (status, answer["first_failed"]) == (1, "name resolution")
        assert "names database elsewhere: a session sees only its own database" in answer["gates"][2]["because"]
    assert asked(server.dsn(shop), "--role", "ac_api", "--relation", f"{shop}.app.plain")[0] == 0


# --- what cannot be asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--role", "ac_api"], "Nothing is named to ask about."),
        (["--relation", "orders"], "No role is named."),
        (["--role", "ac_api", "--relation", "orders", "--function", "f"], "More than one thing is named."),
        (["--role", "ac_api", "--relation", "a.b.c.d"], "is not a name"),
        (["--role", "ac_api", "--relation", '"open'], "is not a name"),
        (["--role", "ac_api", "--relation", ""], "is not a name"),
        (["--role", "ac_api", "--relation", "orders", "--action", "EAT"], "'EAT' is no action."),
        (["--role", "ac_api", "--schema", "app", "--action", "SELECT"], "SELECT is not for a schema."),
        (["--role", "ac_api", "--statement", "select 1; select 2"], "There is more than one statement."),
        (["--role", "ac_api", "--statement", "drop table orders"], "The statement neither reads nor changes rows."),
        (["--role", "ac_api", "--statement", "selec 1"], "The statement cannot be parsed"),
        (["--role", "ac_api", "--statement", ""], "Nothing is named to ask about."),
        (["--error", "everything is on fire", "--role", "ac_api"], "The error names nothing"),
        (["--error", 'relation "orders" does not exist'], "The error names no role."),
        (["--role", "ac_api", "--relation", "orders", "--source", "other"], "has no database source 'other'"),
        (["--matrix"], "--out is missing."),
        (["--expected", "/nowhere/access.toml"], "cannot be read"),
        (["--matrix", "--out", "/nowhere/m.parquet"], "cannot be written"),
        (["--role", "ac_api", "--relation", "orders", "--claims", "/nowhere/c.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(server: Server, shop: str, words: list[str], said: str) -> None:
    assert said in refused("--target", server.dsn(shop), *words)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    said = refused("--target", "postgresql://kit:hunter2@127.0.0.1:1/shop", "--role", "r", "--relation", "t")

    assert "refused" in said
    assert "hunter2" not in said


def test_ctrl_c_ends_it_at_once_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it takes the connection, and never says a word
        port = listener.getsockname()[1]
        command = [str(KIT), "access", "--target", f"host=127.0.0.1 port={port}", "--role", "r", "--relation", "t"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            listener.settimeout(60)
            connection, _ = listener.accept()
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            connection.close()
    assert (process.returncode, out) == (130, "")
    assert err.startswith("Interrupted")
    assert time.monotonic() - began < 5


# --- where it is asked ----------------------------------------------------------------------------------------------

QUESTIONS = (
    ["--relation", "orders", "--columns", "note"],
    ["--relation", "secrets"],
    ["--relation", "public_orders"],
    ["--relation", "plain", "--action", "INSERT"],
    ["--function", "count_of(int, text)"],
    ["--statement", "select * from orders"],
    ["--relation", "siwe"],
)


@pytest.mark.parametrize("asker", ["ac_plain", "ac_monitor", "ac_api"])
def test_any_asker_comes_to_the_same_verdicts_and_says_what_is_hidden(server: Server, shop: str, asker: str) -> None:
    for words in QUESTIONS:
        status, known = asked(server.dsn(shop), "--role", "ac_api", *words)
        same, answer = asked(server.dsn(shop, asker), "--role", "ac_api", *words)
        assert (same, answer["gates"][2:], answer["rows"]) == (status, known["gates"][2:], known["rows"])
        assert answer["remedy"] == known["remedy"]
        assert known["notes"] == []
        assert any("pg_authid" in note and asker in note for note in answer["notes"])


def test_a_bundle_gives_the_same_document_as_the_live_server(server: Server, shop: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert CliRunner().invoke(app, ["capture", "--target", server.dsn(shop), "--out", str(bundle)]).exit_code in (0, 3)

    for words in QUESTIONS:
        live, again = (asked(target, "--role", "ac_api", *words) for target in (server.dsn(shop), str(bundle)))
        assert live[0] == again[0]
        assert {**live[1], "gates": None} == {**again[1], "gates": None}
        assert [gate["status"] for gate in live[1]["gates"]] == [gate["status"] for gate in again[1]["gates"]]
    claims = tmp_path / "claims.json"
    claims.write_text("{}")
    said = refused("--target", bundle, "--role", "ac_api", "--relation", "orders", "--claims", claims)
    assert "--claims needs a live server" in said


def test_the_source_that_is_named_is_asked(server: Server, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit.toml").write_text(
        f'[targets.both]\ndsn = "{server.dsn("postgres")}"\n[targets.both.sources.shop]\ndsn = "{server.dsn(shop)}"\n'
    )
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))

    assert asked("both", "--role", "ac_api", "--relation", "plain", "--source", "shop")[0] == 0
    assert asked("both", "--role", "ac_api", "--relation", "plain")[1]["first_failed"] == "name resolution"
    assert "It has: database, shop." in refused("--target", "both", "--role", "r", "--relation", "t", "--source", "nothing")


# --- the other ways to ask ------------------------------------------------------------------------------------------

MATRIX = {
    "role": pa.types.is_string, "kind": pa.types.is_string, "schema": pa.types.is_string, "name": pa.types.is_string,
    "action": pa.types.is_string, "allowed": pa.types.is_boolean, "after_set_role": pa.types.is_boolean,
    "rows": pa.types.is_string, "via": pa.types.is_string,
}  # fmt: skip


def test_the_matrix_is_a_parquet_file_of_the_contract(server: Server, shop: str, tmp_path: Path) -> None:
    file = tmp_path / "access.parquet"
    file.write_text("an older one")

    status, answer = asked(server.dsn(shop), "--matrix", "--out", file)

    table = pq.read_table(file)
    assert (status, answer) == (0, {"matrix": str(file), "rows": table.num_rows})
    types = {field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in table.schema}
    assert set(MATRIX) <= set(types)
    assert [name for name, fits in MATRIX.items() if not fits(types[name]) and not pa.types.is_large_string(types[name])] == []
    rows = {(row["role"], row["schema"], row["name"], row["action"]): row for row in table.to_pylist()}
    assert rows["ac_api", "app", "secrets", "SELECT"]["rows"] == "none"
    assert rows["ac_api", "app", "orders", "SELECT"]["allowed"]
    assert not rows["ac_plain", "app", "orders", "SELECT"]["allowed"]
    assert [path.name for path in tmp_path.iterdir()] == ["access.parquet"]
    one = asked(server.dsn(shop), "--matrix", "--out", file, "--role", "ac_api")[1]
    assert one["rows"] == sum(key[0] == "ac_api" for key in rows)
    said = refused("--target", server.dsn(shop), "--matrix", "--out", file, "--role", "ac_ap")
    assert "ac_ap" in said


def test_the_expected_access_is_compared(server: Server, shop: str, tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.write_text('[[access]]\nrole = "ac_api"\non = "app.plain"\nmay = ["SELECT", "INSERT"]\n')
    holds = run("--target", server.dsn(shop), "--expected", file)
    file.write_text('[[access]]\nrole = "ac_api"\non = "app.orders"\nmay = ["DELETE"]\n')
    differs = run("--target", server.dsn(shop), "--expected", file, "--json")

    assert (holds.exit_code, differs.exit_code) == (0, 1), (holds.output, differs.output)
    assert [row["role_name"] for row in json.loads(differs.stdout)] == ["ac_api"]


def test_two_roles_are_compared(server: Server, shop: str) -> None:
    status, answer = asked(server.dsn(shop), "--role", "ac_api", "--against-role", "ac_plain", "--relation", "app.plain")

    assert (status, answer["a"]["allowed"], answer["b"]["allowed"]) == (1, True, False)
    assert answer["summary"].startswith("Role ac_api may SELECT app.plain, role ac_plain may not")


# --- light and quick ------------------------------------------------------------------------------------------------

HEAVY = ("plotly", "jinja2", "duckdb", "sqlglot", "papermill", "nbformat", "nbconvert", "nbclient", "google", "IPython")
# A module that is None cannot be imported: so it is where the extras are not installed.
BARE = f"""import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))
from kit.cli import app
app(sys.argv[1:], standalone_mode=False)"""


def test_it_needs_the_core_tier_only(server: Server, shop: str, tmp_path: Path) -> None:
    claims = tmp_path / "claims.json"
    claims.write_text("{}")
    asking, plain = ["access", "--target", server.dsn(shop), "--role", "ac_api"], ["--relation", "plain"]
    for words in ([*plain, "--json"], [*plain, "--against-role", "ac_plain"], [*plain, "--claims", str(claims)]):
        command = [sys.executable, "-c", BARE, *asking, *words]
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        assert "plain" in found.stdout, found.stderr


def test_it_takes_little_more_than_its_libraries(server: Server, shop: str, tmp_path: Path) -> None:
    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    words = (str(KIT), "access", "--target", server.dsn(shop), "--role", "ac_api", "--relation", "plain")
    # Turn about, so that both meet the same machine.
    times = [(seconds(*words), seconds(sys.executable, "-c", "import pandas, sqlalchemy, psycopg, pyarrow")) for _ in range(2)]
    answer, libraries = (min(found) for found in zip(*times, strict=True))
    assert answer < 4 * libraries, (answer, libraries)
