"""Two roles, two databases, two servers, two captures: what explains that one works and the other does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kit.analyze.access.catalog import WANTED
from kit.analyze.access.comparison import Comparison, compare
from kit.analyze.access.explanation import Question
from kit.analyze.access.privileges import NEEDS
from kit.analyze.probes import propose
from kit.collect.postgres import collect_database
from kit.collect.queries import probes
from kit.errors import UnknownRole
from kit.evidence.model import Frames, Source
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource

ROLES = ("cp_api", "cp_worker", "cp_readers", "cp_owner", '"Cp odd"')
SHOP = """
    create role cp_owner; create role cp_readers; create role cp_api login; create role cp_worker login;
    create role "Cp odd" login in role cp_readers; grant cp_readers to cp_api;
    create schema app authorization cp_owner; grant usage on schema app to cp_api, cp_worker, "Cp odd";
    set role cp_owner; create table app.orders (id int); grant select on app.orders to cp_readers; reset role;
    create table app._prisma_migrations (id text, checksum text, finished_at timestamptz, migration_name text, logs text,
        rolled_back_at timestamptz, started_at timestamptz, applied_steps_count int);
    insert into app._prisma_migrations values ('1', '', '2026-01-01', '001_orders', '', null, '2026-01-01', 1);
"""
LATER = """
    set role cp_owner; create table app.refunds (id int); grant select on app.refunds to cp_readers; reset role;
    insert into app._prisma_migrations values ('2', '', '2026-02-02', '002_refunds', '', null, '2026-02-02', 1);
"""


def source_of(running: Server, database: str) -> Source:
    known = frozenset(probes())
    source = DatabaseSource("database", running.dsn(database))
    wanted = (*NEEDS, *WANTED, "migration_ledgers")
    return collect_database(source, only=wanted, propose=lambda frames: propose(frames, known))[0]


def frames_of(running: Server, database: str) -> Frames:
    return Frames(source_of(running, database))


def select(role: str, name: str = "app.orders") -> Question:
    return Question(role, "SELECT", name)


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    server.execute(SHOP, database)
    yield database
    for role in ROLES:
        server.execute(f"drop owned by {role} cascade", database)
        server.execute(f"drop role {role}")


def two_roles(running: Server, database: str, able: str, other: str, name: str = "app.orders") -> Comparison:
    frames = frames_of(running, database)
    return compare(frames, select(able, name), frames, select(other, name))


def told(comparison: Comparison) -> dict[str, dict[str, tuple[str, str]]]:
    return {item.a.name: {fact.name: (fact.a, fact.b) for fact in item.facts} for item in comparison.differences}


# --- two roles ------------------------------------------------------------------------------------------------------


def test_a_membership_is_what_tells_two_roles_apart(server: Server, shop: str) -> None:
    server.execute("grant pg_monitor to cp_worker; alter role cp_worker connection limit 7 createdb", shop)
    found = two_roles(server, shop, "cp_api", "cp_worker")
    assert told(found) == {"object privilege": {"memberships": ("cp_readers", "none of these")}}
    assert found.equal == ("login", "connect", "name resolution", "schema usage")
    assert found.summary == (
        "Role cp_api may SELECT app.orders, role cp_worker may not: it stops at object privilege, "
        "because cp_worker has no SELECT on app.orders."
    )
    server.execute("grant cp_readers to cp_worker", shop)
    mended = two_roles(server, shop, "cp_api", "cp_worker")
    assert mended.differences == ()
    assert mended.summary == "Both may SELECT app.orders: no gate tells them apart."


def test_the_order_of_the_two_does_not_matter(server: Server, shop: str) -> None:
    found = two_roles(server, shop, "cp_worker", "cp_api")
    assert told(found) == {"object privilege": {"memberships": ("none of these", "cp_readers")}}
    assert found.summary.startswith("Role cp_api may SELECT app.orders, role cp_worker may not: ")


def test_a_search_path_is_told_and_the_grants_behind_it_are_cleared(server: Server, shop: str) -> None:
    server.execute("alter role cp_api set search_path = app", shop)
    server.execute('alter role "Cp odd" set search_path = public', shop)
    found = two_roles(server, shop, "cp_api", "Cp odd", "orders")
    assert told(found) == {"name resolution": {"search_path": ("app", "public")}}
    assert "object privilege" in found.equal
    assert 'role "Cp odd" may not' in found.summary


def test_one_name_may_be_two_relations(server: Server, shop: str) -> None:
    server.execute("create table public.orders (id int); grant select on public.orders to public", shop)
    server.execute("alter role cp_api set search_path = app; alter role cp_worker set search_path = public", shop)
    found = two_roles(server, shop, "cp_api", "cp_worker", "orders")
    assert told(found)["name resolution"]["object"] == ("table app.orders", "table public.orders")
    assert found.summary == (
        "Both may SELECT orders, but not the same: role cp_api means app.orders, role cp_worker public.orders."
    )


def test_row_security_that_shows_nothing_is_no_success(server: Server, shop: str) -> None:
    server.execute("alter table app.orders enable row level security; alter role cp_api bypassrls", shop)
    found = two_roles(server, shop, "cp_api", "Cp odd")
    assert told(found) == {"row security": {"bypass": ("bypasses row security", "is bound by it")}}
    assert 'role "Cp odd" may not: it stops at row security' in found.summary
    server.execute("create policy later on app.orders using (id > 7)", shop)
    filtered = two_roles(server, shop, "cp_api", "Cp odd")
    assert filtered.summary == (
        'Both may SELECT app.orders: role cp_api gets every row, role "Cp odd" only the rows that policies let through.'
    )
    assert list(told(filtered)) == ["row security"]


def test_functions_and_schemas_are_compared_too(server: Server, shop: str) -> None:
    server.execute(
        "set role cp_owner; create function app.refresh(n int) returns int language sql as 'select 1';"
        "revoke execute on function app.refresh from public; grant execute on function app.refresh to cp_readers",
        shop,
    )
    frames = frames_of(server, shop)
    asked = [Question(role, "EXECUTE", "app.refresh", "function") for role in ("cp_api", "cp_worker")]
    assert told(compare(frames, asked[0], frames, asked[1])) == {
        "object privilege": {"memberships": ("cp_readers", "none of these")}
    }
    server.execute("grant create on schema app to cp_readers", shop)
    frames = frames_of(server, shop)
    asked = [Question(role, "CREATE", "app", "schema") for role in ("cp_api", "cp_worker")]
    found = compare(frames, asked[0], frames, asked[1])
    assert told(found) == {"object privilege": {"memberships": ("cp_readers", "none of these")}}
    assert found.summary.startswith("Role cp_api may CREATE on schema app, role cp_worker may not: it stops at object privilege")


def test_a_sequence_behind_a_default(server: Server, shop: str) -> None:
    server.execute(
        "create role cp_numbers; grant cp_numbers to cp_api; set role cp_owner; create table app.lines (id serial, n int);"
        "grant insert on app.lines to cp_api, cp_worker; grant usage on sequence app.lines_id_seq to cp_numbers",
        shop,
    )
    frames = frames_of(server, shop)
    asked = [Question(role, "INSERT", "app.lines", columns=("n",)) for role in ("cp_api", "cp_worker")]
    found = compare(frames, asked[0], frames, asked[1])
    assert told(found) == {"sequence": {"memberships": ("cp_numbers, cp_readers", "none of these")}}
    server.execute("drop owned by cp_numbers; drop role cp_numbers", shop)


def test_what_stops_both_is_told_as_such(server: Server, shop: str) -> None:
    server.execute("revoke usage on schema app from cp_api, cp_worker", shop)
    found = two_roles(server, shop, "cp_api", "cp_worker")
    assert [gate.name for gate in found.shared] == ["schema usage"]
    assert list(told(found)) == ["object privilege"], "behind it, one of them would still be stopped"
    assert found.summary.startswith("Neither role cp_api nor role cp_worker may SELECT app.orders: role cp_api: ")
    with pytest.raises(UnknownRole, match="cp_api"):
        two_roles(server, shop, "cp_api", "cp_apj")


# --- two places -----------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(server: Server, shop: str) -> Iterator[str]:
    """A copy of the shop from before its last migration."""
    name = f"{shop}_copy"
    server.execute(f"create database {name} template {shop}")
    server.execute(LATER, shop)
    yield name
    server.execute(f"drop database {name} with (force)")


def test_a_copy_that_is_behind_comes_out(server: Server, shop: str, copy: str) -> None:
    real, behind = frames_of(server, shop), frames_of(server, copy)
    found = compare(real, select("cp_api", "app.refunds"), behind, select("cp_api", "app.refunds"))
    assert told(found) == {
        "name resolution": {
            "database": (shop, copy),
            "migrations": ("2 applied, the last is 002_refunds", "1 applied, the last is 001_orders; lacks 002_refunds"),
            "object": ("table app.refunds", "not there"),
        }
    }
    assert found.summary.startswith(
        f"Role cp_api in database {shop} may SELECT app.refunds, role cp_api in database {copy} may not: "
    )
    assert found.summary.endswith(f"; database {copy} lacks the migration 002_refunds.")
    assert found.equal == ("login", "connect")
    named = compare(behind, select("cp_api", "app.refunds"), real, select("cp_api", "app.refunds"), ("staging", "live"))
    assert named.summary.startswith("live may SELECT app.refunds, staging may not: ")
    assert named.summary.endswith("; staging lacks the migration 002_refunds.")
    there = compare(real, select("cp_api"), behind, select("cp_api"))
    assert there.differences == (), "for what is on both sides the copy is as good"


def test_a_grant_that_one_database_lacks(server: Server, shop: str, copy: str) -> None:
    server.execute("revoke usage on schema app from cp_api", copy)
    found = compare(frames_of(server, shop), select("cp_api"), frames_of(server, copy), select("cp_api"))
    facts = told(found)["schema usage"]
    assert facts["grants on the schema"] == (
        'USAGE to "Cp odd", cp_api, cp_owner, cp_worker',
        'USAGE to "Cp odd", cp_owner, cp_worker',
    )
    assert list(told(found)) == ["schema usage"]
    server.execute("revoke select on app.orders from cp_readers", copy)
    more = told(compare(frames_of(server, shop), select("cp_api"), frames_of(server, copy), select("cp_api")))
    assert more == {
        "schema usage": facts,
        "object privilege": {"grants on the object": ("SELECT to cp_owner, cp_readers", "SELECT to cp_owner")},
    }, "the databases are named once, where it first matters"


def test_before_and_after_in_two_captures(server: Server, shop: str) -> None:
    before = frames_of(server, shop)
    server.execute("revoke cp_readers from cp_api", shop)
    after = frames_of(server, shop)
    found = compare(before, select("cp_api"), after, select("cp_api"))
    assert told(found) == {"object privilege": {"memberships": ("cp_readers", "none of these")}}
    assert found.summary.startswith("The first may SELECT app.orders, the second may not: ")


def test_one_server_by_socket_and_by_address_is_one_server(server: Server, shop: str) -> None:
    source = source_of(server, shop)
    assert source.identity
    by_address = replace(source, identity=source.identity.model_copy(update={"server": "10.0.0.7:5432"}))
    server.execute("revoke cp_readers from cp_api", shop)
    after = frames_of(server, shop)
    found = compare(Frames(by_address), select("cp_api"), after, select("cp_api"))
    assert told(found) == {"object privilege": {"memberships": ("cp_readers", "none of these")}}


def test_a_standby_comes_out(server: Server, shop: str) -> None:
    server.execute(LATER, shop)
    with sandbox.running() as standby:
        standby.create_database(shop)
        standby.execute(SHOP, shop)
        signal = standby.data_folder / "standby.signal"
        signal.touch()
        owner = standby.data_folder.stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        standby.restart()
        found = compare(
            frames_of(server, shop), select("cp_api", "app.refunds"), frames_of(standby, shop), select("cp_api", "app.refunds")
        )
    facts = told(found)["name resolution"]
    assert list(facts) == ["server", "recovery", "migrations", "object"]
    assert facts["recovery"] == ("no standby", "a standby, in recovery")
    assert found.summary.endswith("; the second is a standby in recovery and lacks the migration 002_refunds.")
    record = json.loads(json.dumps(found.to_record()))
    assert [item["gate"] for item in record["differences"]] == ["name resolution"]
    assert (record["a"]["allowed"], record["b"]["allowed"]) == (True, False)
