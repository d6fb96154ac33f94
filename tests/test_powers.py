"""The paths to superuser against what PostgreSQL really lets a role do, on random memberships."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from kit.analyze.access.powers import SERVER_ROLES, paths_to_power
from kit.collect.capture import capture
from kit.evidence.model import Frames
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

MATRIX = [pytest.param(major, marks=pytest.mark.matrix) for major in binaries.MATRIX_VERSIONS]
SEEDS = range(6)
ROLES = [f"power_{number}" for number in range(8)]
ROOT = ROLES[0]


@pytest.fixture(scope="module", params=[None, *MATRIX], ids=lambda major: f"PostgreSQL {major or 'embedded'}")
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    major = request.param
    if major and (missing := binaries.npm_is_missing(major)):
        pytest.skip(missing)
    with sandbox.running(*([binaries.npm(major)] if major else [])) as found:
        yield found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_power_in_reach_is_found_and_no_other(running: Server, seed: int):
    make(running, random.Random(seed))
    try:
        told = paths_to_power(frames_of(running))
        found = {(row.role_name, row.reaches) for row in told.itertuples() if row.role_name in ROLES}
        taken = {(role, power) for role in ROLES[1:] for power in powers_taken(running, role)}
    finally:
        running.execute(f"drop role {', '.join(ROLES)}")

    assert found == taken
    assert all(len(row.path) == len(row.how.split(", ")) + 1 for row in told.itertuples())


def test_the_seeds_hold_paths_of_every_kind(running: Server):
    kinds: set[str] = set()
    for seed in SEEDS:
        make(running, random.Random(seed))
        kinds |= {step for how in paths_to_power(frames_of(running))["how"] for step in how.split(", ")}
        running.execute(f"drop role {', '.join(ROLES)}")

    assert kinds == {"inherit", "set role", "admin option"} | ({"createrole"} if running.version < 16 else set())


def make(server: Server, chance: random.Random) -> None:
    """Create login roles, the first of them a superuser, with random memberships and options."""
    for name in ROLES:
        server.execute(f"create role {name} login {chance.choice(('inherit', 'inherit', 'noinherit'))}")
    server.execute(f"alter role {ROOT} superuser; alter role {chance.choice(ROLES[1:])} createrole")
    for _ in range(9):
        group, member = sorted(chance.sample(range(len(ROLES)), 2))
        server.execute(f"grant {ROLES[group]} to {ROLES[member]} {options(server, chance)}")
    for name in SERVER_ROLES:
        server.execute(f"grant {name} to {chance.choice(ROLES[1:])} {options(server, chance)}")


def options(server: Server, chance: random.Random) -> str:
    if server.version < 16:
        return chance.choice(("", "", "with admin option"))
    chosen = {name: chance.choice(("true", "false")) for name in ("admin", "inherit", "set")}
    return "with " + ", ".join(f"{name} {value}" for name, value in chosen.items())


def frames_of(server: Server) -> Frames:
    taken = capture(Target("powers", (DatabaseSource("database", server.dsn()),)), only=("roles", "role_memberships"))
    return Frames(taken.sources[0])


def powers_taken(server: Server, role: str) -> set[str]:
    """Return what the role gets hold of when it takes every step that the server lets it take; all is rolled back."""
    with server.connect(user=role, autocommit=False) as connection:
        shed_members(connection, role)
        while any(grants_itself(connection, role, group) for group in (*ROLES, *SERVER_ROLES)):
            shed_members(connection, role)
        found = {power for power in SERVER_ROLES if holds(connection, power)}
        found |= {ROOT} if holds(connection, ROOT) else set()
        connection.rollback()
    return found


def shed_members(connection: psycopg.Connection, role: str) -> None:
    """Take everybody's membership in the role itself, so far as it can: the server refuses circles."""
    members = "select m.rolname from pg_auth_members a join pg_roles m on m.oid = a.member where a.roleid = {}::regrole"
    for (member,) in connection.execute(sql.SQL(members).format(sql.Literal(role))).fetchall():
        revoked = sql.SQL("revoke {} from {}").format(sql.Identifier(role), sql.Identifier(member))
        any(succeeds(connection, actor, revoked) for actor in ROLES[1:])


def grants_itself(connection: psycopg.Connection, role: str, group: str) -> bool:
    """Return whether the role, acting as anybody it can, makes itself a full member of a group that it was not one of."""
    full = "pg_has_role({role}, {group}, 'SET') and pg_has_role({role}, {group}, 'USAGE')"
    if connection.info.server_version < 160_000:
        full = full.replace("'SET'", "'MEMBER'").replace("'USAGE'", "'MEMBER'")
    is_full = sql.SQL("select " + full).format(role=sql.Literal(role), group=sql.Literal(group))
    if role == group or connection.execute(is_full).fetchone() == (True,):
        return False
    granted = sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(role))
    if connection.info.server_version >= 160_000:
        granted += sql.SQL(" with inherit true, set true")
    return any(succeeds(connection, actor, granted) for actor in ROLES[1:]) and connection.execute(is_full).fetchone() == (True,)


def succeeds(connection: psycopg.Connection, actor: str, statement: sql.Composable) -> bool:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(actor)))
            connection.execute(statement)
            connection.execute("reset role")
    except psycopg.Error:
        return False
    return True


def holds(connection: psycopg.Connection, power: str) -> bool:
    """Return whether the role can act as the power, or has its privileges, as itself or as anybody it can be."""
    asked = sql.SQL("do $$ begin if not pg_has_role({}, 'USAGE') then raise 'no'; end if; end $$").format(sql.Literal(power))
    return any(succeeds(connection, actor, asked) for actor in ROLES[1:]) or succeeds(connection, power, sql.SQL("select 1"))
