"""The deploy gate as a deploy runs it: staged D and E, roles that may not, servers that do not answer, exit statuses."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kit.case.capturing import capture_to
from kit.cli import app
from kit.sandbox.server import Server
from tests.run_support import environment

SHOP = """
    create role ex_api login; create role ex_owner login; create role ex_far login;
    create schema app authorization ex_owner; create schema hidden authorization ex_owner;
    grant usage on schema app to ex_api;
    set role ex_owner;
    create table app.sessions (id uuid primary key, user_id bigint not null, status text, made timestamptz default now());
    create table app.events (id serial primary key, body jsonb); create table hidden.audit (id int);
    create table app.guarded (id int); alter table app.guarded enable row level security;
    reset role;
    grant select, insert, update on app.sessions to ex_api; grant select, insert on app.events to ex_api;
    grant select on app.guarded, hidden.audit to ex_api;
"""
ROLES = ("ex_api", "ex_owner", "ex_far")
# Incident D: the code reads a column that no migration made in production. Incident E: two tables were never made.
INCIDENT_D = '[tables.sessions]\ncolumns.id = "uuid not null"\ncolumns.platform_id = "text not null"\ncolumns.status = "text"\n'
INCIDENT_E = "[tables.settlement_commands]\ncolumns = ['id']\n[tables.webhook_subscriptions]\nmay = ['SELECT', 'INSERT']\n"


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    server.execute(f"{SHOP} alter role ex_api in database {database} set search_path = app, hidden, public", database)
    yield database
    for role in ROLES:
        server.execute(f"drop owned by {role} cascade", database)
        server.execute(f"drop role {role}")


def expect(server: Server, database: str, file: Path, *more: str) -> Result:
    words = ["expect", "--target", server.dsn(database), "--schema", str(file), *more]
    return CliRunner().invoke(app, words)


def as_json(server: Server, database: str, file: Path, *more: str) -> tuple[int, dict[str, Any]]:
    result = expect(server, database, file, "--json", *more)
    assert result.stdout, result.stderr
    return result.exit_code, json.loads(result.stdout)


def file_of(folder: Path, text: str) -> Path:
    path = folder / "expected.toml"
    path.write_text(text)
    return path


def test_incident_d_the_column_that_was_never_created(server: Server, shop: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, INCIDENT_D)
    status, record = as_json(server, shop, file, "--as", "ex_api")
    [difference] = record["differences"]
    assert (status, record["status"]) == (1, "different")
    assert (difference["relation"], difference["column"], difference["difference"]) == ("sessions", "platform_id", "missing")
    assert difference["because"] == "Column platform_id of app.sessions is missing."
    told = expect(server, shop, file, "--as", "ex_api").stdout
    assert "- Column platform_id of app.sessions is missing.\n  Remedy: " in told
    server.execute("alter table app.sessions add column platform_id text not null", shop)
    assert as_json(server, shop, file, "--as", "ex_api")[0] == 0


def test_incident_e_the_tables_that_were_never_created(server: Server, shop: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, INCIDENT_E)
    status, record = as_json(server, shop, file, "--as", "ex_api")
    assert status == 1
    assert [d["because"].partition(" is missing")[0] for d in record["differences"]] == [
        "Table settlement_commands",
        "Table webhook_subscriptions",
    ]
    server.execute("create table app.settlement_commands (id int); create table app.webhook_subscriptions (id int)", shop)
    status, record = as_json(server, shop, file, "--as", "ex_api")
    assert status == 1, "there, and not usable: the migrator granted nothing"
    assert {(d["kind"], d["relation"], d["expected"]) for d in record["differences"]} == {
        ("access", "settlement_commands", "SELECT"),
        ("access", "webhook_subscriptions", "SELECT, INSERT"),
    }
    for difference in record["differences"]:
        server.execute(difference["remedy"], shop)
    assert as_json(server, shop, file, "--as", "ex_api")[0] == 0


DENIALS = {
    "[tables.sessions]\nmay = ['DELETE']": ("ex_api", "access", "object privilege"),
    "[tables.audit]": ("ex_api", "access", "schema usage"),
    "[tables.guarded]\ncolumns = ['id']": ("ex_api", "access", "row security"),
    "[tables.events]\nmay = ['INSERT']": ("ex_api", "access", "sequence"),
    "[tables.sessions]\nmay = ['UPDATE (status)']": ("ex_far", "table", "near: app.sessions"),
    "[tables.'app.sessions']": ("ex_far", "access", "schema usage"),
    "[tables.'app.sessions']\n": ("ex_apy", "role", "near: ex_api"),
}


@pytest.mark.parametrize(("text", "said"), DENIALS.items())
def test_each_gate_that_keeps_the_role_out(
    server: Server, shop: str, tmp_path: Path, text: str, said: tuple[str, str, str]
) -> None:
    role, kind, actual = said
    status, record = as_json(server, shop, file_of(tmp_path, text), "--as", role)
    [difference] = record["differences"]
    assert (status, difference["kind"], difference["actual"]) == (1, kind, actual)
    if kind == "access" and actual != "row security":
        server.execute(difference["remedy"], shop)
        remaining = as_json(server, shop, file_of(tmp_path, text), "--as", role)[1]["differences"]
        assert difference not in remaining


def test_columns_that_the_role_may_not_read_are_not_usable(server: Server, shop: str, tmp_path: Path) -> None:
    server.execute("revoke all on app.sessions from ex_api; grant select (id, status) on app.sessions to ex_api", shop)
    readable = file_of(tmp_path, "[tables.sessions]\ncolumns = ['id', 'status']")
    assert as_json(server, shop, readable, "--as", "ex_api")[0] == 0
    [difference] = as_json(server, shop, file_of(tmp_path, "[tables.sessions]\ncolumns = ['id', 'user_id']"), "--as", "ex_api")[
        1
    ]["differences"]
    assert difference["actual"] == "column privilege"


def test_the_gate_says_what_the_server_says(server: Server, shop: str, tmp_path: Path) -> None:
    """Every action on every table, by the gate and by the server itself, as the role."""
    statements = {
        "SELECT": "select * from {} limit 0",
        "INSERT": "insert into {} select * from {} limit 0",
        "UPDATE": "update {} set id = id where false",
        "DELETE": "delete from {} where false",
    }
    for table in ("sessions", "events", "audit", "guarded"):
        for action, statement in statements.items():
            status = as_json(server, shop, file_of(tmp_path, f"[tables.{table}]\nmay = ['{action}']"), "--as", "ex_api")[0]
            with server.connect(shop, "ex_api") as connection:
                try:
                    connection.execute(statement.format(table, table))
                    refused = False
                except Exception as error:
                    refused = "permission denied" in str(error) or "does not exist" in str(error)
            # Row security without a policy raises nothing, and shows nothing; INSERT needs the sequence's USAGE for its default.
            is_silent = table == "guarded" and action == "SELECT"
            takes_default = table == "events" and action == "INSERT"
            assert (status == 1) == (refused or is_silent or takes_default), (table, action, status, refused)


def test_a_plain_role_can_ask_for_itself(server: Server, shop: str, tmp_path: Path) -> None:
    """A job under the service's own account, before traffic is shifted."""
    file = file_of(tmp_path, INCIDENT_D + INCIDENT_E)
    for user in ("ex_api", "ex_far"):
        words = ["expect", "--target", server.dsn(shop, user), "--schema", str(file), "--as", "ex_api", "--json"]
        record = json.loads(CliRunner().invoke(app, words).stdout)
        assert [d["difference"] for d in record["differences"]] == ["missing"] * 3, user
        assert record["not_examined"] == []


def test_without_a_role_only_what_is_there_is_asked(server: Server, shop: str, tmp_path: Path) -> None:
    status, record = as_json(server, shop, file_of(tmp_path, "[tables.'hidden.audit']\nmay = ['DELETE']"))
    assert (status, record["role"], record["differences"]) == (0, None, [])


def test_a_server_that_does_not_answer_is_three_and_a_sentence(tmp_path: Path) -> None:
    file, dsn = file_of(tmp_path, INCIDENT_E), "postgresql://kit:hunter2secret@127.0.0.1:1/shop"
    for more in ([], ["--json"]):
        result = CliRunner().invoke(app, ["expect", "--target", dsn, "--schema", str(file), "--as", "api", *more])
        assert result.exit_code == 3, result.output
        assert "hunter2secret" not in result.output + result.stderr
        assert "Nothing was compared: " in result.stdout
        assert "refused" in result.stdout.lower()


def test_statements_that_were_not_read_are_three(server: Server, shop: str, tmp_path: Path) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("create table app.sessions (id uuid); create sessions nonsense;")
    status, record = as_json(server, shop, dump)
    assert record["differences"][0]["difference"] == "nullability", "a dump is exact"
    assert status == 1
    dump.write_text("create view app.sessions_view as select 1; create nonsense;")
    server.execute("create view app.sessions_view as select 1 as one", shop)
    status, record = as_json(server, shop, dump)
    assert (status, record["not_examined"]) == (3, ["Not read, and so not compared: statement 2 (CREATE …) of dump.sql."])


def test_a_second_target_and_a_bundle_of_it(server: Server, shop: str, tmp_path: Path) -> None:
    capture_to(server.dsn(shop), tmp_path / "bundle")
    for like in (server.dsn(shop), str(tmp_path / "bundle")):
        words = ["expect", "--target", server.dsn(shop), "--like", like, "--json"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["expected"]["tables"] == 4
    server.execute("alter table app.sessions drop column status", shop)
    result = CliRunner().invoke(app, ["expect", "--target", server.dsn(shop), "--like", str(tmp_path / "bundle")])
    assert result.exit_code == 1
    assert "Column status of app.sessions is missing." in result.stdout
    result = CliRunner().invoke(
        app, ["expect", "--target", str(tmp_path / "bundle"), "--as", "ex_api", "--like", server.dsn(shop)]
    )
    assert "hidden.audit (schema usage)" in result.stdout, "a bundle can be asked as well"


@pytest.mark.parametrize("words", [[], ["--schema", "gone.toml"], ["--schema", "gone.toml", "--like", "x"]])
def test_a_mistake_of_usage_is_two(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["expect", "--target", "postgresql://127.0.0.1:1/x", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")


def test_an_empty_expectation_never_opens_the_gate(tmp_path: Path) -> None:
    (tmp_path / "empty.sql").write_text("-- nothing\nselect 1;")
    result = CliRunner().invoke(
        app, ["expect", "--target", "postgresql://127.0.0.1:1/x", "--schema", str(tmp_path / "empty.sql")]
    )
    assert result.exit_code == 2
    assert "expects no table" in result.stderr


def test_hostile_names_stay_text(server: Server, shop: str, tmp_path: Path) -> None:
    name = "x\x1b[31m<script>alert(1)</script>"
    file = file_of(tmp_path, f"[tables.{json.dumps(name)}]\ncolumns = [{json.dumps(name)}]")
    told = expect(server, shop, file)
    assert told.exit_code == 1
    assert "\x1b" not in told.stdout
    server.execute(f'create table public."{name}" (a int)', shop)
    told = expect(server, shop, file, "--as", "ex_owner")
    assert "\x1b" not in told.stdout
    assert "is missing" in told.stdout


def test_it_is_quick_and_needs_the_core_alone(server: Server, shop: str, tmp_path: Path) -> None:
    """Under 5 s with 200 tables; the processor's time is measured, for others work on this machine too."""
    made = "; ".join(
        f"create table app.t{n} (id serial primary key, a text, b int); grant select on app.t{n} to ex_api" for n in range(200)
    )
    server.execute(made, shop)
    text = "".join(f"[tables.t{n}]\ncolumns.a = 'text'\ncolumns.b = 'int'\nindexes = ['unique (id)']\n" for n in range(200))
    heavy = "{'papermill', 'nbformat', 'plotly', 'duckdb', 'sqlglot', 'jinja2', 'bleach', 'IPython'}"
    code = (
        "import sys; from kit.case.expecting import expect; from pathlib import Path\n"
        "answer = expect(sys.argv[1], 'ex_api', Path(sys.argv[2]))\n"
        f"assert not {heavy} & set(sys.modules); assert answer.status == 0, answer.words"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", code, server.dsn(shop), str(file_of(tmp_path, text))]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0, ended.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5.0
