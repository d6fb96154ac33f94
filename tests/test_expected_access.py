"""A team's file of what its roles may do, held against the server; its slips of the pen; its remedies really applied."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from kit.analyze.access.catalog import WANTED
from kit.analyze.access.deviations import deviations
from kit.analyze.access.expected import ACTIONS, parse_expected
from kit.analyze.access.privileges import NEEDS
from kit.collect.postgres import collect_database
from kit.errors import ParameterError
from kit.evidence.model import Frames
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.random_catalog import Catalog, staged


def frames_of(running: Server, database: str) -> Frames:
    return Frames(collect_database(DatabaseSource("database", running.dsn(database)), only=(*NEEDS, *WANTED))[0])


# --- the file -------------------------------------------------------------------------------------------------------

WRONG = {
    "[[access]\n": "The file is not valid TOML: Expected ']]' at the end of an array declaration (at line 1, column 9)",
    "": "The file has no [[access]] entry. Write each entry below a line [[access]].",
    "acess = []": "The file has the unknown part 'acess'.",
    "access = [1]": "The file, entry 1 is no table.",
    '[[access]]\nrole="a"\non="b.c"\nmay=["SELECT"]\n[[access]]\nrol="a"': "The file, entry 2 has the unknown key 'rol'. Did",
    '[[access]]\nrole="a"\non="b.c"\nmay=["SELCT"]': "has the unknown action for a relation 'SELCT'. Did you mean SELECT?",
    '[[access]]\nrole="a"\non="b"\nkind="schema"\nmay=["SELECT"]': "'SELECT'. Known: USAGE, CREATE.",
    '[[access]]\nrole="a"\non="b.c"\nkind="shema"': "has the unknown kind 'shema'. Did you mean schema?",
    '[[access]]\nrole="a"\non="b.c"\nmay="SELECT"': 'entry 1: may is not a list of actions. Write it as may = ["SELECT"].',
    '[[access]]\nrole="a"\non="b.c"\nonly="yes"': "entry 1: only is not true or false.",
    '[[access]]\nrole="a"\non="b.c"': "entry 1 expects nothing.",
    '[[access]]\nrole="a"\non="b.c"\nmay=["select"]\nmay_not=["SELECT"]': "entry 1 both allows and forbids SELECT.",
    '[[access]]\nrole="a"\non="orders"\nmay=["SELECT"]': "entry 1: on = 'orders' does not name a relation. Write schema.name",
    '[[access]]\nrole="a"\non="app.Odd name"\nmay=["SELECT"]': "does not name a relation",
    '[[access]]\non="b.c"\nmay=["SELECT"]': "entry 1: role is not a text in quotes.",
    '[[access]]\nrole="a"\non=[]\nmay=["SELECT"]': "entry 1: on is not a text in quotes.",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_a_slip_of_the_pen_is_named(text: str, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_expected(text)
    assert said in str(caught.value)


# --- the oracle -----------------------------------------------------------------------------------------------------

DENIED = """
    select r.rolname, format('%%I.%%I', n.nspname, c.relname), p,
        has_schema_privilege(r.oid, n.oid, 'USAGE') and has_table_privilege(r.oid, c.oid, p),
        exists (
            select from pg_roles o where pg_has_role(r.oid, o.oid, 'SET')
            and has_schema_privilege(o.oid, n.oid, 'USAGE') and (
                has_table_privilege(o.oid, c.oid, p)
                or p in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') and has_any_column_privilege(o.oid, c.oid, p)
            )
        )
    from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest(%(actions)s::text[]) p
    where r.rolname = any(%(roles)s) and c.relkind in ('r', 'v') and n.nspname = any(%(schemas)s)"""


def every_action(roles: list[str]) -> str:
    """A file that expects every role to be allowed everything, on every relation."""
    actions = list(ACTIONS["relation"])
    names = [name.replace("\\", "\\\\").replace('"', '\\"') for name in roles]
    return "\n".join(f'[[access]]\nrole = "{name}"\non = "*.*"\nmay = {actions}\n' for name in names)


def really(running: Server, catalog: Catalog) -> dict[tuple[str, str, str], str]:
    arguments = {"roles": catalog.roles, "schemas": catalog.schemas, "actions": list(ACTIONS["relation"])}
    with running.connect(catalog.database) as connection:
        rows = connection.execute(DENIED, arguments).fetchall()
    word = {True: "allowed after SET ROLE", False: "denied"}
    return {(role, name, action): "allowed" if now else word[later] for role, name, action, now, later in rows}


def told(running: Server, catalog: Catalog) -> dict[tuple[str, str, str], str]:
    found = deviations(frames_of(running, catalog.database), parse_expected(every_action(catalog.roles)))
    return {(row.role_name, row.object_name, row.action): row.actual for row in found.itertuples()}


def test_agrees_with_the_server(server: Server) -> None:
    """On the server's own quoting: format('%I') and quoted() must write every odd name alike."""
    with staged(server, 71) as catalog:
        actual = really(server, catalog)
        said = dict.fromkeys(actual, "allowed") | told(server, catalog)
    of_columns = {key for key, value in said.items() if value == "allowed on some columns"}
    assert of_columns
    wrong = {key: (said[key], actual[key]) for key in said if key not in of_columns and said[key] != actual[key]}
    assert said.keys() == actual.keys()
    assert wrong == {}
    # To the server a role may SET ROLE to itself, so what is allowed on columns counts there.
    assert {actual[key] for key in of_columns} == {"allowed after SET ROLE"}
    assert len(actual) > 4_000
    assert set(actual.values()) == {"allowed", "denied", "allowed after SET ROLE"}


# --- the story ------------------------------------------------------------------------------------------------------

SHOP = """
    create role ex_api login; create role ex_group; create role ex_worker login; create role ex_owner login;
    create role "Ex odd" login; grant ex_group to ex_api;
    create schema app authorization ex_owner; grant usage on schema app to ex_api, "Ex odd";
    create schema "Odd schema";
    set role ex_owner;
    create table app.orders (id serial, total int); create table app.lines (id int); create table app."Odd.Name" (id int);
    create function app.refresh() returns int language sql as 'select 1';
    reset role;
    grant select, insert on all tables in schema app to ex_api; grant delete on app.lines to ex_group;
    grant truncate on app.lines to public;
"""
ROLES = ("ex_api", "ex_group", "ex_worker", '"Ex odd"', "ex_owner")


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    server.execute(SHOP, database)
    yield database
    for role in ROLES:
        server.execute(f"drop owned by {role} cascade", database)
        server.execute(f"drop role {role}")


def rows_of(running: Server, database: str, text: str) -> list[dict[str, object]]:
    found = deviations(frames_of(running, database), parse_expected(text))
    return found.astype(object).where(found.notna(), None).to_dict("records")


def short(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(row["role_name"], row["object_name"], row["action"], row["expected"], row["actual"]) for row in rows]


def entry(role: str, on: str, **more: object) -> str:
    return f"[[access]]\nrole = '{role}'\non = '{on}'\n" + "".join(f"{key} = {value}\n" for key, value in more.items())


def test_as_expected_is_no_row(server: Server, shop: str) -> None:
    text = entry("ex_api", "app.*", may=["SELECT", "insert"], may_not=["UPDATE"]) + entry(
        "ex_api", "app", kind='"schema"', may=["USAGE"], only="true"
    )
    assert rows_of(server, shop, text) == []


def test_too_little_comes_with_the_grants_that_mend_it(server: Server, shop: str) -> None:
    text = entry("ex_worker", "APP.ord*", may=["SELECT"]) + entry("Ex odd", 'app."Odd.Name"', may=["DELETE"])
    text += entry("ex_worker", "app.orders_id_seq", kind='"sequence"', may=["USAGE"])
    text += entry("ex_worker", "*.refresh", kind='"function"', may=["EXECUTE"])
    found = rows_of(server, shop, text)
    assert [row["because"] for row in found[:2]] == [
        "ex_worker has no USAGE on schema app and no SELECT on app.orders",
        '"Ex odd" has no DELETE on app."Odd.Name"',
    ]
    assert found[0]["remedy"] == "grant usage on schema app to ex_worker;\ngrant select on app.orders to ex_worker"
    assert [row["actual"] for row in found] == ["denied"] * 4
    for row in found:
        server.execute(str(row["remedy"]), shop)
    assert rows_of(server, shop, text) == []
    with server.connect(shop, "ex_worker") as connection:
        connection.execute("select total from app.orders; select nextval('app.orders_id_seq'); select app.refresh()")


def test_too_much_is_found_by_every_way_and_closed(server: Server, shop: str) -> None:
    server.execute("grant update (total) on app.orders to ex_api; grant ex_owner to ex_worker", shop)
    text = entry("ex_api", "app.*", may=["SELECT", "INSERT"], only="true")
    found = rows_of(server, shop, text)
    assert short(found) == [
        ("ex_api", "app.lines", "DELETE", "denied", "allowed"),
        ("ex_api", "app.lines", "TRUNCATE", "denied", "allowed"),
        ("ex_api", "app.orders", "UPDATE", "denied", "allowed on some columns"),
    ]
    assert [row["remedy"] for row in found] == [
        "revoke delete on app.lines from ex_group",
        "revoke truncate on app.lines from public",
        "revoke update (total) on app.orders from ex_api",
    ]
    for row in found:
        server.execute(str(row["remedy"]), shop)
    assert rows_of(server, shop, text) == []
    with server.connect(shop, "ex_api") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("delete from app.lines")


def test_what_another_role_granted_is_revoked_as_that_role(server: Server, shop: str) -> None:
    server.execute(
        "grant delete on app.orders to ex_worker with grant option; grant usage on schema app to ex_worker;"
        'set role ex_worker; grant delete on app.orders to "Ex odd"',
        shop,
    )
    text = entry("Ex odd", "app.orders", may_not=["DELETE"])
    [row] = rows_of(server, shop, text)
    server.execute(str(row["remedy"]), shop)
    assert rows_of(server, shop, text) == []


def test_what_stands_on_more_than_grants_is_told_without_a_remedy(server: Server, shop: str) -> None:
    server.execute("alter role ex_worker noinherit; grant ex_owner to ex_worker", shop)
    text = "".join(entry(role, "app.orders", may_not=["DELETE"]) for role in ("ex_owner", "ex_worker", "postgres"))
    found = rows_of(server, shop, text)
    assert [(row["actual"], row["remedy"]) for row in found] == [
        ("allowed", None),
        ("allowed after SET ROLE", None),
        ("allowed", None),
    ]
    assert [str(row["because"]).split(",")[0] for row in found] == [
        "it owns app.orders",
        "ex_worker may SET ROLE to ex_owner: it owns app.orders",
        "postgres is a superuser",
    ]


def test_what_a_predefined_role_gives_no_revoke_takes_away(server: Server, shop: str) -> None:
    server.execute("grant pg_read_all_data to ex_api", shop)
    [row] = rows_of(server, shop, entry("ex_api", "app.orders", may_not=["SELECT"]))
    assert (row["actual"], row["remedy"]) == ("allowed", None)
    assert row["because"] == "pg_read_all_data gives SELECT on every relation, through the membership ex_api → pg_read_all_data"


def test_unknown_roles_and_names_are_deviations_with_near_names(server: Server, shop: str) -> None:
    text = entry("ex_apu", "app.ordrs", may=["SELECT"]) + entry("ex_api", "*.none_*", may_not=["SELECT"])
    found = rows_of(server, shop, text)
    assert short(found) == [
        ("ex_apu", "ex_apu", None, "there", "missing"),
        ("ex_apu", "app.ordrs", None, "there", "missing"),
        ("ex_api", "*.none_*", None, "there", "missing"),
    ]
    assert found[0]["because"] == "there is no role ex_apu; did you mean ex_api?"
    assert str(found[1]["because"]).endswith("has no relation that fits; did you mean app.orders?")
    [literal] = rows_of(server, shop, entry("ex_api", 'app."o*"', may=["SELECT"]))
    assert literal["actual"] == "missing", "in double quotes a star is a star"


def test_public_is_everybody(server: Server, shop: str) -> None:
    assert rows_of(server, shop, entry("public", "app.*", may_not=["TRUNCATE"])) == [], "PUBLIC may not look into the schema"
    server.execute("grant usage on schema app to public", shop)
    text = entry("public", "app.*", only="true")
    [row] = rows_of(server, shop, text)
    assert (row["action"], row["remedy"]) == ("TRUNCATE", "revoke truncate on app.lines from public")
    [opened] = rows_of(server, shop, entry("public", "app.lines", may=["SELECT"]))
    server.execute(f"{row['remedy']}; {opened['remedy']}", shop)
    assert rows_of(server, shop, entry("public", "app.lines", may=["SELECT"], only="true")) == []


def test_a_later_entry_is_the_exception_to_an_earlier_one(server: Server, shop: str) -> None:
    rule = entry("ex_api", "app.*", may=["SELECT"], may_not=["DELETE"], only="true")
    exception = entry("ex_api", "app.lines", may=["DELETE", "TRUNCATE"]) + entry("ex_api", "app.*", may=["INSERT"])
    assert rows_of(server, shop, rule + exception) == []
    assert ("ex_api", "app.lines", "DELETE", "denied", "allowed") in short(rows_of(server, shop, exception + rule))


def test_the_servers_own_schemas_only_where_they_are_named(server: Server, shop: str) -> None:
    found = rows_of(server, shop, entry("ex_api", "*", kind='"schema"', may=["CREATE"]))
    assert [row["object_name"] for row in found] == ['"Odd schema"', "app", "public"]
    [named] = rows_of(server, shop, entry("ex_api", "pg_catalog", kind='"schema"', may_not=["USAGE"]))
    assert (named["object_name"], named["remedy"]) == ("pg_catalog", "revoke usage on schema pg_catalog from public")
    [connect] = rows_of(server, shop, entry("ex_api", shop, kind='"database"', may_not=["CONNECT"]))
    server.execute(str(connect["remedy"]), shop)
    assert rows_of(server, shop, entry("ex_api", shop, kind='"database"', may_not=["CONNECT"])) == []


@pytest.mark.matrix
def test_before_17_no_grant_of_maintain_is_advised() -> None:
    if reason := binaries.npm_is_missing(16):
        pytest.skip(f"PostgreSQL 16 was NOT tested: {reason}")
    with sandbox.running(binaries.npm(16)) as running:
        running.execute("create role ex_api; create table notes (n int); grant select on notes to ex_api")
        [row] = rows_of(running, "postgres", entry("ex_api", "public.notes", may=["SELECT", "MAINTAIN"]))
        assert (row["action"], row["actual"], row["remedy"]) == ("MAINTAIN", "denied", None)
