"""What default privileges will do, held against objects that were really made, and told for a migrator's next table."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit.analyze.access.forecast import KINDS, NEEDS, Forecast, default_privileges_forecast
from kit.analyze.access.privileges import Access
from kit.collect.postgres import collect_database
from kit.evidence.model import Frames
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.random_catalog import Catalog, staged

SEEDS = range(60, 63)
OWN = {
    "table": ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
    "sequence": ["SELECT", "UPDATE", "USAGE"],
    "function": ["EXECUTE"],
}
CREATE = {
    "table": "create table {} (n int)",
    "sequence": "create sequence {}",
    "function": "create function {}() returns int language sql as 'select 1'",
}
ASK = {
    "table": "has_table_privilege(r.oid, to_regclass(%(name)s), p)",
    "sequence": "has_sequence_privilege(r.oid, to_regclass(%(name)s), p)",
    "function": "has_function_privilege(r.oid, to_regproc(%(name)s), p)",
}


def frames_of(running: Server, database: str) -> Frames:
    return Frames(collect_database(DatabaseSource("database", running.dsn(database)), only=(*NEEDS, "functions"))[0])


# --- the oracle -----------------------------------------------------------------------------------------------------


def random_default_privileges(catalog: Catalog) -> Iterator[sql.Composed]:
    chance = random.Random(catalog.seed)
    for _ in range(70):
        kind = chance.choice(KINDS)
        privileges = chance.choice(["all", *OWN[kind]])
        creator = chance.choice(catalog.roles)
        grantee = chance.choice([sql.SQL("public"), sql.Identifier(creator), *map(sql.Identifier, catalog.roles * 2)])
        place = sql.SQL(" in schema {}").format(sql.Identifier(chance.choice(catalog.schemas)))
        verb, to = chance.choice([("grant", "to"), ("grant", "to"), ("revoke", "from")])
        yield sql.SQL("alter default privileges for role {}{} {} {} on {}s {} {}").format(
            sql.Identifier(creator),
            place if chance.random() < 0.5 else sql.SQL(""),
            *map(sql.SQL, (verb, privileges, kind, to)),
            grantee,
        )


def really_made(
    connection: psycopg.Connection[Any], creator: str, schema: str, kind: str, version: int
) -> dict[str, tuple[frozenset[str], bool]]:
    """What each role may do with a new object, and whether it may use the schema; the object is gone afterwards."""
    name = sql.Identifier(schema, "Made now")
    own = [*OWN[kind], "MAINTAIN"] if kind == "table" and version >= 17 else OWN[kind]
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("grant create on schema {} to {}").format(sql.Identifier(schema), sql.Identifier(creator)))
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(creator)))
        connection.execute(sql.SQL(CREATE[kind]).format(name))
        connection.execute("reset role")
        rows = connection.execute(
            f"""select r.rolname, coalesce(array_agg(p) filter (where {ASK[kind]}), array[]::text[]),
                       has_schema_privilege(r.oid, %(schema)s, 'USAGE')
                from pg_roles r, unnest(%(own)s::text[]) p group by r.oid, r.rolname""".encode(),
            {"name": name.as_string(connection), "schema": schema, "own": own},
        ).fetchall()
    return {role: (frozenset(found), has_usage) for role, found, has_usage in rows}


def compare(running: Server, seed: int) -> int:
    """How many verdicts were compared; fails at the first object with disagreements."""
    with staged(running, seed) as catalog, running.connect(catalog.database) as connection:
        for statement in random_default_privileges(catalog):
            connection.execute(statement)
        frames = frames_of(running, catalog.database)
        access = Access(frames)
        forecast = Forecast(frames, access)
        rows = default_privileges_forecast(frames)
        told = {row[:4]: row[4:] for row in rows[_KEY].itertuples(index=False, name=None)}
        assert len(told) == len(rows) > 100, "one row per creator, schema, kind and role"
        compared, in_rows = 0, 0
        for creator, schema, kind in [(c, s, k) for c in catalog.roles for s in (*catalog.schemas, "public") for k in KINDS]:
            made = really_made(connection, creator, schema, kind, running.version)
            foreseen = {role: forecast.privileges(creator, schema, kind, role) for role in made}
            wrong = {role: (foreseen[role], made[role][0]) for role in made if foreseen[role] != made[role][0]}
            assert wrong == {}, f"seed {seed}: what {creator} makes as a {kind} in {schema}: (foreseen, real) {wrong}"
            for role in catalog.roles:
                if row := told.get((creator, schema, kind, role)):
                    in_rows += 1
                    assert (frozenset(row[0]), *row[1:]) == (*made[role], reads(kind, *made[role])), (creator, schema, kind, role)
            compared += len(made) * len(OWN[kind])
        assert in_rows == (rows["creator_name"] != "postgres").sum(), "every row of the frame was held against the server"
    return compared


_KEY = ["creator_name", "schema_name", "kind", "role_name", "privileges", "has_usage", "can_read"]


def reads(kind: str, privileges: frozenset[str], has_usage: bool) -> bool:
    needed = {"table": {"SELECT"}, "sequence": {"USAGE", "UPDATE"}, "function": {"EXECUTE"}}[kind]
    return has_usage and bool(privileges & needed)


def test_agrees_with_objects_really_made(server: Server) -> None:
    assert sum(compare(server, seed) for seed in SEEDS) > 50_000


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_agrees_on_every_version(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(major)) as running:
        assert compare(running, 63) > 15_000


# --- the story ------------------------------------------------------------------------------------------------------

WRONG_CREATOR = """
    create role fc_migrator login; create role fc_api login; create role fc_readers; create role "Fc odd" login;
    create schema app authorization fc_migrator; grant usage on schema app to fc_api, "Fc odd";
    alter default privileges in schema app grant select, insert on tables to fc_api;
    alter default privileges in schema app grant usage on sequences to fc_api;
    create table app.orders (n serial);
    alter default privileges for role fc_migrator in schema app grant select on tables to "Fc odd";
"""


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    """A database whose default privileges were typed by the administrator, and not for the migrator."""
    server.execute(WRONG_CREATOR, database)
    yield database
    roles = ("fc_migrator", "fc_api", "fc_readers", '"Fc odd"')
    for role in roles:
        server.execute(f"drop owned by {role} cascade", database)
        server.execute(f"drop role {role}")


def row_of(running: Server, database: str, creator: str, kind: str, role: str) -> dict[str, Any]:
    rows = default_privileges_forecast(frames_of(running, database))
    key = {"creator_name": creator, "schema_name": "app", "kind": kind, "role_name": role}
    [found] = [row for row in rows.to_dict("records") if {name: row[name] for name in key} == key]
    return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}


def denied(running: Server, database: str, user: str, statement: str) -> bool:
    with running.connect(database, user) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


def test_the_next_table_of_the_migrator_is_closed_until_the_remedy(server: Server, shop: str) -> None:
    row = row_of(server, shop, "fc_migrator", "table", "fc_api")
    assert (row["can_read"], row["privileges"], row["via"]) == (False, [], [])
    assert (row["existing"], row["existing_of_creator"], row["owner_names"]) == (1, 0, ["postgres"])
    assert row["seen_as"] == ["default privileges", "CREATE on the schema"]
    assert row["remedy"] == "alter default privileges for role fc_migrator in schema app grant select, insert on tables to fc_api"
    server.execute("set role fc_migrator; create table app.before (n serial)", shop)
    assert denied(server, shop, "fc_api", "select * from app.before")

    sequence = row_of(server, shop, "fc_migrator", "sequence", "fc_api")["remedy"]
    assert sequence == "alter default privileges for role fc_migrator in schema app grant usage on sequences to fc_api"
    server.execute(f"{row['remedy']}; {sequence}; set role fc_migrator; create table app.later (n serial)", shop)
    assert not denied(server, shop, "fc_api", "select * from app.later; insert into app.later default values")
    assert denied(server, shop, "fc_api", "delete from app.later")
    mended = row_of(server, shop, "fc_migrator", "table", "fc_api")
    assert (mended["can_read"], mended["remedy"]) == (True, None)
    assert mended["via"] == ["default privileges in schema app"]
    assert (mended["existing"], mended["existing_of_creator"]) == (3, 2)


def test_an_odd_name_reads_and_is_quoted(server: Server, shop: str) -> None:
    assert row_of(server, shop, "fc_migrator", "table", "Fc odd")["can_read"]
    by_postgres = row_of(server, shop, "postgres", "table", "Fc odd")
    assert not by_postgres["can_read"]
    assert by_postgres["remedy"].endswith('for role postgres in schema app grant select on tables to "Fc odd"')


def test_each_way_is_named(server: Server, shop: str) -> None:
    server.execute(
        "grant fc_readers to fc_api; alter default privileges for role fc_migrator grant select on tables to fc_readers;"
        "alter default privileges for role fc_migrator in schema app grant update on tables to public;"
        "grant fc_migrator to fc_api",
        shop,
    )
    assert row_of(server, shop, "fc_migrator", "table", "fc_api")["via"] == [
        "owner through membership in fc_migrator",
        "default privileges through membership in fc_readers",
        "PUBLIC by default privileges in schema app",
    ]
    assert row_of(server, shop, "postgres", "function", "fc_api")["via"] == ["PUBLIC by PostgreSQL's own default"]


def test_without_usage_the_privilege_is_worth_nothing(server: Server, shop: str) -> None:
    server.execute("revoke usage on schema app from fc_api", shop)
    row = row_of(server, shop, "postgres", "table", "fc_api")
    assert (row["privileges"], row["has_usage"], row["can_read"], row["remedy"]) == (["SELECT", "INSERT"], False, False, None)


def test_before_the_first_table_the_other_creators_tell_what_is_wanted(server: Server, shop: str) -> None:
    server.execute("drop table app.orders", shop)
    row = row_of(server, shop, "fc_migrator", "table", "fc_api")
    assert row["remedy"] == "alter default privileges for role fc_migrator in schema app grant select, insert on tables to fc_api"
    assert row["existing"] == 0
    server.execute('grant fc_migrator to "Fc odd"', shop)
    remedy = row_of(server, shop, "postgres", "table", "Fc odd")["remedy"]
    assert " grant select on tables " in remedy, "that it would own what the migrator makes is no reason for more"


def test_the_remedy_grants_what_fits_the_kind_and_is_not_had_already(server: Server, shop: str) -> None:
    server.execute("grant pg_maintain to fc_api; grant usage on sequence app.orders_n_seq to fc_api", shop)
    for kind, privileges in (("table", "select, insert"), ("sequence", "usage")):
        remedy = row_of(server, shop, "fc_migrator", kind, "fc_api")["remedy"]
        assert f" grant {privileges} on {kind}s " in remedy
        server.execute(remedy, shop)
