"""`kit diff` on real servers: each layer's alteration is named and nothing else; traffic is no difference; exit statuses."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import kit
import kit.sandbox
from kit.case import folders
from kit.case.capturing import capture_to
from kit.case.judging import Question, judged
from kit.cli import app
from kit.collect.capture import capture
from kit.collect.cloud.exports import collect_cloud
from kit.evidence import bundle
from kit.evidence.model import Capture, Cost
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

STAGED = Path(kit.sandbox.__file__).parent / "staged"
AT = datetime(2025, 9, 1, tzinfo=UTC)
SHOP = """
    create role df_owner; create role df_api login; create role df_team; create role df_report login;
    grant df_team to df_api;
    create schema app authorization df_owner; grant usage on schema app to df_api, df_report;
    set role df_owner;
    create table app.users (id bigint generated always as identity primary key, email text not null unique);
    create table app.orders (id serial primary key, user_id bigint not null, total numeric(9,2), note text);
    create index orders_user on app.orders (user_id);
    alter table app.orders add constraint orders_fk foreign key (user_id) references app.users (id);
    create view app.totals as select user_id, sum(total) as total from app.orders group by user_id;
    create function app.seen() returns trigger language plpgsql as 'begin return new; end';
    create trigger seen before insert on app.orders for each row execute function app.seen();
    alter table app.users enable row level security;
    create policy own on app.users for select to df_api using (email = current_user);
    grant select, insert on app.orders to df_api; grant select on app.users, app.totals to df_api;
    insert into app.orders (user_id) select 1 where false;
    reset role;
"""
ROLES = ("df_owner", "df_api", "df_team", "df_report")


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    server.execute(SHOP, database)
    server.execute(f"alter role df_api in database {database} set search_path = app")
    yield database
    for role in ROLES:
        server.execute(f"drop owned by {role} cascade", database)
        server.execute(f"drop role {role}")


def captured(server: Server, database: str, folder: Path, user: str | None = None) -> Path:
    dsn = server.dsn(database) if user is None else server.dsn(database, user=user)
    capture_to(dsn, folder)
    return folder


def diff(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["diff", *map(str, words)])


def as_json(*words: str | Path) -> tuple[int, dict[str, Any]]:
    result = diff(*words, "--json")
    assert result.stdout, result.stderr
    return result.exit_code, json.loads(result.stdout)


def named(record: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    return [(layer["layer"], d["kind"], d["subject"], d["a"], d["b"]) for layer in record["layers"] for d in layer["differences"]]


ALTERED: dict[str, tuple[str, list[tuple[str, str, str, str, str]]]] = {
    "setting of a role": (
        "alter role df_api set statement_timeout = '5s'",
        [("configuration", "setting of a role or database", "statement_timeout of df_api", "not set", "5s")],
    ),
    "search_path": (
        "alter role df_api in database {database} set search_path = public",
        [("privileges", "setting of a role or database", "search_path of df_api in (this database)",
          "app", "public")],
    ),
    "login": ("alter role df_report nologin", [("authentication", "role", "df_report", "LOGIN", "NOLOGIN")]),
    "column": (
        "alter table app.orders drop column note",
        [("schema", "column", "app.orders.note", "type text", "missing")],
    ),
    "type": (
        "alter table app.orders alter note type varchar(20)",
        [("schema", "column", "app.orders.note", "type text", "type character varying(20)")],
    ),
    "not null": (
        "alter table app.orders alter user_id drop not null",
        [("schema", "column", "app.orders.user_id", "not null", "takes null")],
    ),
    "indexed column": (
        "alter table app.orders drop constraint orders_fk; alter table app.orders drop column user_id cascade",
        [("schema", "relation", "app.totals", "kind view", "missing"),
         ("schema", "column", "app.orders.user_id", "type bigint", "missing")],
    ),
    "table": ("drop table app.orders cascade", [("schema", "relation", "app.orders", "kind table", "missing"),
                                                ("schema", "relation", "app.totals", "kind view", "missing")]),
    "schema": ("drop schema app cascade", [("schema", "schema", "app", "there", "missing")]),
    "index": ("drop index app.orders_user", [("schema", "index", "app.orders.orders_user", "on user_id", "missing")]),
    "foreign key": (
        "alter table app.orders drop constraint orders_fk",
        [("schema", "foreign key", "app.orders.orders_fk", "on user_id", "missing")],
    ),
    "trigger": (
        "alter table app.orders disable trigger seen",
        [("schema", "call of a function", "app.orders trigger seen calling app.seen", "enabled", "disabled")],
    ),
    "grant": (
        "revoke insert on app.orders from df_api",
        [("privileges", "grant", "app.orders to df_api", "INSERT, SELECT", "SELECT")],
    ),
    "grant on a schema": (
        "revoke usage on schema app from df_api",
        [("privileges", "grant on a schema", "app to df_api", "USAGE", "nothing")],
    ),
    "membership": ("revoke df_team from df_api", [("privileges", "membership", "df_api in df_team", "inherits", "no member")]),
    "owner": (
        "alter table app.orders owner to df_team",
        [("privileges", "owner", "app.orders", "owner df_owner", "owner df_team")],
    ),
    "default privileges": (
        "alter default privileges for role df_owner in schema app grant select on tables to df_report",
        [("privileges", "default privilege", "app of what df_owner creates on each table to df_report", "nothing", "SELECT")],
    ),
    "row security": (
        "alter table app.orders enable row level security",
        [("row security", "row security", "app.orders", "off", "on")],
    ),
    "policy": (
        "create policy later on app.users for select to df_report using (true)",
        [("row security", "policy", "app.users later", "missing", "for SELECT")],
    ),
    "policy's expression": (
        "alter policy own on app.users using (true)",
        [("row security", "policy", "app.users own", "using (email = CURRENT_USER)", "using true")],
    ),
    "bypass": (
        "alter role df_report bypassrls",
        [("row security", "bypass of row security", "df_report", "no BYPASSRLS", "BYPASSRLS")],
    ),
    "foreign key not validated": (
        "alter table app.orders drop constraint orders_fk, add constraint orders_fk foreign key (user_id)"  # noqa: ISC004
        " references app.users (id) not valid",
        [("data integrity", "state of a foreign key", "app.orders.orders_fk", "validated", "not validated")],
    ),
    "connection limit": (
        "alter role df_api connection limit 3",
        [("capacity and performance", "connection limit of a role", "df_api", "connection limit -1", "connection limit 3")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("altered", ALTERED)
def test_each_alteration_is_named_and_nothing_else(server: Server, shop: str, tmp_path: Path, altered: str) -> None:
    statement, expected = ALTERED[altered]
    before = captured(server, shop, tmp_path / "before")
    server.execute(statement.format(database=shop), shop)
    after = captured(server, shop, tmp_path / "after")
    status, record = as_json(before, after)
    assert status == 1
    found = named(record)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert (row[3].startswith(wanted[3]), row[4].startswith(wanted[4])) == (True, True), row
    mirrored = as_json(after, before)[1]
    assert named(mirrored) == [(*row[:3], row[4], row[3]) for row in found]
    assert mirrored["left_out"] == record["left_out"]


def test_traffic_vacuum_and_analyze_are_no_difference(server: Server, shop: str, tmp_path: Path) -> None:
    before = captured(server, shop, tmp_path / "before")
    server.execute("insert into app.users (email) select 'a' || i from generate_series(1, 2000) i", shop)
    server.execute("insert into app.orders (user_id, total) select i, i from generate_series(1, 2000) i", shop)
    server.execute("delete from app.orders where id % 2 = 0", shop)
    server.execute("vacuum analyze", shop)
    server.execute("reindex table app.orders", shop)
    status, record = as_json(before, captured(server, shop, tmp_path / "after"))
    assert named(record) == []
    assert status == 0, [layer["not_compared"] for layer in record["layers"]]
    assert record["status"] == "equal"
    assert record["left_out"]["a counter, a statistic or an age"] > 0
    equal = {entry["what"]: entry["count"] for layer in record["layers"] for entry in layer["equal"]}
    assert (equal["columns"], equal["policies"], equal["foreign keys"]) == (8, 1, 1)


def test_the_same_effect_by_another_grant_or_name_is_no_difference(server: Server, shop: str, tmp_path: Path) -> None:
    server.execute("grant df_team to df_report", shop)
    server.execute("grant select on app.totals to df_team, df_report, df_owner", shop)
    before = captured(server, shop, tmp_path / "before")
    server.execute("revoke select on app.totals from df_report, df_api", shop)
    server.execute("alter index app.orders_user rename to orders_user_idx", shop)
    status, record = as_json(before, captured(server, shop, tmp_path / "after"))
    assert (status, named(record)) == (0, [])
    assert record["left_out"]["granted in another way, to the same effect"] == 2


def test_two_identities_differ_in_path_privileges_and_rows(server: Server, shop: str, tmp_path: Path) -> None:
    server.execute("grant select on app.orders to df_team; revoke select on app.orders from df_api", shop)
    server.execute("grant select on app.orders, app.users to df_report", shop)
    taken = captured(server, shop, tmp_path / "one")
    status, record = as_json(taken, "--roles", "df_api,df_report")
    assert status == 1
    found = named(record)
    assert ("privileges", "setting of the role", "effective search_path", "app", "df_report, public") in found
    assert ("privileges", "membership", "df_team", "yes", "no") in found
    assert ("privileges", "privileges on a relation", "app.orders", "INSERT", "nothing of it") in found
    rows = ("row security", "visible rows", "SELECT on app.users", "the rows that policies let through", "no row")
    assert rows in found
    assert not [row for row in found if row[0] in ("configuration", "authentication", "schema")]
    assert as_json(taken, "--roles", "df_report,df_api")[1]["layers"][5]["equal"] == record["layers"][5]["equal"]
    captures = [captured(server, shop, tmp_path / user, user) for user in ("df_api", "df_report")]
    across = named(as_json(*captures)[1])
    assert ("authentication", "session", "user", "df_api", "df_report") in across
    assert ("privileges", "privileges on a relation", "app.orders", "INSERT", "nothing of it") in across
    assert rows in across


def test_two_sources_of_one_capture_are_two_identities(server: Server, shop: str, tmp_path: Path) -> None:
    sources = tuple(DatabaseSource(user, server.dsn(shop, user=user)) for user in ("df_api", "df_report"))
    bundle.save(capture(Target("shop", sources)), tmp_path / "both")
    status, record = as_json(tmp_path / "both", "--sources", "df_api,df_report")
    found = named(record)
    assert status == 1
    assert {layer for layer, *_ in found} == {"authentication", "privileges"}
    assert ("authentication", "session", "user", "df_api", "df_report") in found
    assert (record["a"]["source"], record["b"]["source"]) == ("df_api", "df_report")


def test_a_symptom_ranks_other_relations_below(server: Server, shop: str, tmp_path: Path) -> None:
    before = captured(server, shop, tmp_path / "before")
    server.execute("alter table app.orders drop column note; alter table app.users add column zip text", shop)
    after = captured(server, shop, tmp_path / "after")
    symptom = 'ERROR: column "zip" of relation "users" does not exist'
    _, record = as_json(before, after, "--symptom", symptom)
    schema = next(layer for layer in record["layers"] if layer["layer"] == "schema")
    assert [(d["subject"], d["explains"]) for d in schema["differences"]] == [("app.users.zip", True), ("app.orders.note", False)]
    assert "app.orders.note: type text / missing (cannot explain the symptom)" in diff(before, after, "--symptom", symptom).stdout


def test_a_gap_is_never_equal(server: Server, shop: str, tmp_path: Path) -> None:
    before = captured(server, shop, tmp_path / "before")
    after = captured(server, shop, tmp_path / "after", "df_api")
    status, record = as_json(before, after)
    assert status == 1, "another user asked"
    told = {layer["layer"]: layer["not_compared"] for layer in record["layers"]}
    assert told["configuration"] == ["settings that were not seen (B)"]
    again = as_json(after, after)
    assert (again[0], named(again[1])) == (3, [])
    assert again[1]["layers"][0]["status"] == "not compared"
    assert "NOT COMPARED: no difference was found" in diff(after, after).stdout


def test_a_server_that_does_not_answer_differs_at_the_connection(server: Server, shop: str, tmp_path: Path) -> None:
    good = captured(server, shop, tmp_path / "good")
    capture_to(f"postgresql:///{shop}?host={tmp_path}&user=df_api&connect_timeout=2", tmp_path / "bad")
    status, record = as_json(good, tmp_path / "bad")
    [found] = named(record)
    assert (status, found[:3]) == (1, ("reachability", "connection", "attempt to connect"))
    assert found[3] == "connected"
    statuses = {layer["layer"]: layer["status"] for layer in record["layers"]}
    assert statuses["schema"] == statuses["privileges"] == statuses["row security"] == "not compared"


@dataclass(frozen=True)
class Case:
    """A case folder as `kit run` leaves it, with captures and their findings."""

    reports: Path
    name: str

    def add(self, taken: Capture, symptom: str | None = None) -> Path:
        folder = self.reports / self.name / folders.CAPTURES / folders.capture_name(taken.started_at)
        bundle.save(taken, folder)
        document = judged(taken, Question(self.name, symptom))
        (folder / folders.FINDINGS).write_text(document.to_json(), encoding="utf-8")
        return folder


def cloud(incident: str, variant: str, at: datetime = AT) -> Capture:
    source = collect_cloud(STAGED / f"incident_{incident}" / "exports" / variant, at)
    return Capture(f"incident {incident}", at, at, "0", (source,), Cost())


def exported(folder: Path, incident: str, variant: str) -> Path:
    bundle.save(cloud(incident, variant), folder)
    return folder


def test_incident_c_the_way_to_the_network_is_first_and_the_database_is_cleared(tmp_path: Path) -> None:
    taken = exported(tmp_path / "c", "c", "failing")
    status, record = as_json(taken, "--services", "auth-service,backend")
    found = named(record)
    assert status == 1
    assert (found[0][0], found[0][2], found[0][4]) == ("reachability", "VPC connector", "not set")
    configuration, _, authentication, *_ = record["layers"]
    assert (configuration["status"], authentication["status"]) == ("equal", "equal")
    equal = [entry["what"] for layer in (configuration, authentication) for entry in layer["equal"]]
    assert {"Cloud SQL instance", "environment variables", "may connect to Cloud SQL"} <= set(equal)
    assert {layer for layer, *_ in found} == {"reachability", "service"}
    told = diff(taken, "--services", "auth-service,backend").stdout
    assert "The first is on reachability: VPC connector: " in told
    working = as_json(taken, "--revisions", "backend-00041-pej,backend-00042-rix")[1]
    assert named(working)[0][:3] == ("reachability", "setting of the service", "VPC connector")


def test_incident_d_two_revisions_agree_in_the_broken_string_and_differ_in_the_code(tmp_path: Path) -> None:
    taken = exported(tmp_path / "d", "d", "after_grant")
    status, record = as_json(taken, "--revisions", "session-api-00035-pov,session-api-00036-dih")
    assert status == 1
    assert {layer for layer, *_ in named(record)} == {"change", "service"}
    assert ("change", "setting of the service", "traffic", "0 %", "100 %") in named(record)
    assert ("service", "setting of the service", "condition Ready", "not ready", "ready") in named(record)
    assert "Cloud SQL instance" in [entry["what"] for entry in record["layers"][0]["equal"]]


def test_incident_e_the_repair_is_proved_by_the_last_two_captures(tmp_path: Path) -> None:
    case = Case(tmp_path, "settlement")
    case.add(cloud("e", "failing"))
    case.add(cloud("e", "mended", AT.replace(hour=3)))
    status, record = as_json("settlement", "--reports", tmp_path)
    assert status == 1
    assert (record["verdict"]["a"]["status"], record["verdict"]["b"]["status"]) == ("broken", "healthy")
    changed = {(layer, subject.split(" of settlement")[0]): (a, b) for layer, _, subject, a, b in named(record)}
    assert changed["configuration", "state of the secret behind variable DATABASE_URL"] == ("not found", "ENABLED")
    assert changed["authentication", "may connect to Cloud SQL"] == ("no role seen", "yes")
    assert (
        "authentication",
        "role".replace("role", "roles/secretmanager.secretAccessor on secret settlement-database-url"),
    ) in changed
    zone, region = changed["configuration", "Cloud SQL instance"]
    assert (zone, region) == ("'settlement-prod:us-central1-a:settlement-db'", "'settlement-prod:us-central1:settlement-db'")
    assert len(record["findings"]["gone"]) >= 5
    assert (record["findings"]["new"], record["findings"]["stayed"]) == ([], [])
    told = diff("settlement", "--reports", tmp_path).stdout
    assert "Verdict: broken (configuration) → healthy" in told
    assert "Findings new: none" in told


def test_a_case_is_named_by_its_times(tmp_path: Path) -> None:
    case = Case(tmp_path, "settlement")
    first = case.add(cloud("e", "failing"))
    second = case.add(cloud("e", "mended", AT.replace(hour=3)))
    whole = as_json("settlement", "--reports", tmp_path)
    for a, b in (
        (f"settlement@{first.name}", "settlement"),
        ("settlement@2025-09-01T00", "settlement@20250901T03"),
        (f"settlement/captures/{first.name}", f"settlement/captures/{second.name}"),
    ):
        assert as_json(a, b, "--reports", tmp_path) == whole
    by_folder = as_json(first, second)[1]
    assert by_folder["layers"] == whole[1]["layers"]
    result = diff("settlement@2025", "settlement", "--reports", tmp_path)
    assert result.exit_code == 2
    assert "more than one capture of 2025" in result.stderr
    assert diff("settlement@2024", "settlement", "--reports", tmp_path).exit_code == 2


MISTAKES: dict[str, tuple[Callable[[Path], list[str | Path]], str]] = {
    "one bundle": (lambda taken: [taken], "is one thing, and two are compared"),
    "no such thing": (lambda taken: [taken, "nowhere"], "no case in"),
    "two options": (lambda taken: [taken, "--roles", "a,b", "--services", "a,b"], "One kind of thing is compared at a time"),
    "one name": (lambda taken: [taken, "--services", "backend"], "--services names the two services to compare"),
    "no such service": (lambda taken: [taken, "--services", "backend,frontend"], "has no service 'frontend'"),
    "no such revision": (lambda taken: [taken, "--revisions", "a,b"], "has no revision 'a'"),
    "no such source": (lambda taken: [taken, "--sources", "cloud,database"], "has no source 'database'"),
    "two kinds of source": (lambda taken: ["recorded", "--sources", "database,cloud"], "database is a postgres source, cloud a"),
    "no such role": (lambda taken: [taken, "--roles", "a,b"], "has no role 'a'"),
    "a bad target": (lambda taken: [taken, "postgresql://u:hunter2hunter2@h@x/d"], "The URL cannot be read"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_two(tmp_path: Path, mistake: str) -> None:
    words, said = MISTAKES[mistake]
    taken = exported(tmp_path / "c", "c", "failing")
    result = diff(*words(taken))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
    assert result.stdout == ""


def test_a_case_with_one_capture_is_told_how_to_get_another(tmp_path: Path) -> None:
    Case(tmp_path, "settlement").add(cloud("e", "failing"))
    result = diff("settlement", "--reports", tmp_path)
    assert (result.exit_code, "kit run settlement" in result.stderr) == (2, True)


def test_hostile_names_stay_text_and_no_secret_is_told(server: Server, shop: str, tmp_path: Path) -> None:
    secret = secrets.token_urlsafe(12)
    hostile = 'x" to <b>\x1b[31m\u202e to df_api'
    quoted = '"' + hostile.replace('"', '""') + '"'
    server.execute(f"create table app.{quoted} (id int); grant usage on schema app to df_report", shop)
    before = captured(server, shop, tmp_path / "before")
    server.execute(f"grant select on app.{quoted} to df_report", shop)
    server.execute(f"alter role df_api set app.key = '{secret}'", shop)
    server.execute(f"create role {quoted} password '{secret}'", shop)
    try:
        after = captured(server, shop, tmp_path / "after")
        status, record = as_json(before, after)
        result = diff(before, after)
    finally:
        server.execute(f"drop role {quoted}", shop)
    assert status == 1
    assert {(kind, b) for _, kind, _, _, b in named(record)} == {
        ("setting of a role or database", "<masked>"),
        ("role", "there"),
        ("grant", "SELECT"),
    }
    subjects = [subject for _, kind, subject, _, _ in named(record) if kind == "grant"]
    assert subjects == [f"app.{quoted} to df_report"]
    assert not {"\x1b", "\u202e"} & set(result.stdout)
    assert secret not in result.stdout + json.dumps(record)


def test_a_live_target_is_captured_now(server: Server, shop: str, tmp_path: Path) -> None:
    before = captured(server, shop, tmp_path / "before")
    server.execute("revoke insert on app.orders from df_api", shop)
    status, record = as_json(before, server.dsn(shop))
    assert (status, [row[1:3] for row in named(record)]) == (1, [("grant", "app.orders to df_api")])
    assert as_json(server.dsn(shop), server.dsn(shop))[0] == 0


def test_a_notebook_sees_the_differences_as_a_table(server: Server, shop: str, tmp_path: Path) -> None:
    before = captured(server, shop, tmp_path / "before")
    server.execute('create table app."<script>alert(1)</script>" (id int)', shop)
    case = kit.capture(str(captured(server, shop, tmp_path / "after")))
    shown = case.diff(str(before))
    assert "<script>" not in shown.bundle()["text/html"]
    assert "script" in shown.text()
    assert case.diff(str(tmp_path / "after")).text().startswith("Nothing differs that could matter")
