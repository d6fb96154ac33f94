"""The access model, held against the server's own answers, and incident A from symptom to repair."""

import contextlib
import random
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit.analyze.access import Access
from kit.analyze.search_path import identifiers
from kit.collect.postgres import collect_database
from kit.evidence.model import Capture, Frames
from kit.sandbox import binaries, server
from kit.sandbox.server import Server
from kit.target import DatabaseSource

SEEDS = range(5)
RELATION_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
PREDEFINED = {13: ["pg_monitor"], 14: ["pg_read_all_data", "pg_write_all_data"], 17: ["pg_maintain"]}
ODD_NAMES = ("app", "Odd Name", 'qu"ote', "semi;colon", "UPPER", "ünïcode", "select", "with,comma")


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with server.running() as running:
        yield running


def frames_of(running: Server, database: str, user: str = "postgres") -> Frames:
    source, _ = collect_database(DatabaseSource("database", running.dsn(database, user)))
    return Frames(source)


# --- the oracle: random catalogs ---------------------------------------------------------------------------------


@dataclass
class Catalog:
    """A random catalog in a database of its own; its roles bear the seed, since roles are the cluster's."""

    seed: int
    version: int
    chance: random.Random = field(init=False)
    roles: list[str] = field(init=False)
    schemas: list[str] = field(init=False)
    statements: list[sql.Composable] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.roles = [f"r{self.seed}_{number}" for number in range(13)] + [f'R{self.seed} "odd"', f"schema_{self.seed}"]
        self.schemas = [*ODD_NAMES, f"schema_{self.seed}", self.roles[3]]

    @property
    def database(self) -> str:
        return f"Oracle {self.seed}"

    def add(self, text: str, *names: str) -> None:
        self.statements.append(sql.SQL(text).format(*map(sql.Identifier, names)))

    def predefined(self) -> list[str]:
        return [name for since, found in PREDEFINED.items() if since <= self.version for name in found]

    def anyone(self) -> sql.Composable:
        return sql.SQL("public") if self.chance.random() < 0.15 else sql.Identifier(self.chance.choice(self.roles))

    def build(self) -> list[sql.Composable]:
        self.create_roles()
        self.create_memberships()
        self.create_objects()
        self.grant_on_databases()
        self.set_search_paths()
        return self.statements

    def create_roles(self) -> None:
        for name in self.roles:
            options = self.chance.choice(("login", "login", "login noinherit", "nologin", "nologin noinherit"))
            self.add(f"create role {{}} {options}", name)
        self.add("alter role {} superuser", self.roles[0])
        self.add("alter database {} owner to {}", self.database, self.chance.choice(self.roles[1:]))

    def create_memberships(self) -> None:
        for _ in range(24):
            # Only from a later to an earlier role, since the server refuses circles.
            group, member = sorted(self.chance.sample(range(len(self.roles)), 2))
            self.grant_membership(self.roles[group], self.roles[member])
        for name in self.predefined():
            for member in self.chance.sample(self.roles[1:], 2):
                self.grant_membership(name, member)

    def grant_membership(self, group: str, member: str) -> None:
        options = ""
        if self.version >= 16:
            inherits, can_set = (self.chance.choice(("true", "false")) for _ in range(2))
            options = self.chance.choice(("", f" with inherit {inherits}, set {can_set}"))
        self.add(f"grant {{}} to {{}}{options}", group, member)

    def create_objects(self) -> None:
        for name in self.schemas:
            self.add("create schema {} authorization {}", name, self.chance.choice(self.roles))
            self.grant_randomly("schema {}", ("usage", "create", "all"), (name,), 4)
            for number in range(5):
                self.create_relation(name, f"{self.chance.choice(ODD_NAMES)}_{number}")
        for privileges in ("all", "create"):
            if self.chance.random() < 0.5:
                self.add(f"revoke {privileges} on schema public from public")

    def create_relation(self, schema: str, name: str) -> None:
        kind = self.chance.choice(("table", "table", "view", "sequence"))
        body = {"table": " (a int, b int)", "view": " as select 1 as a, 2 as b", "sequence": ""}[kind]
        self.add(f"create {kind} {{}}.{{}}{body}", schema, name)
        owner = self.chance.choice(self.roles)
        self.add(f"alter {kind} {{}}.{{}} owner to {{}}", schema, name, owner)
        if self.chance.random() < 0.3:
            self.add("revoke all on {}.{} from {}", schema, name, owner)
        privileges = ("select", "insert", "update, delete", "truncate", "references, trigger", "all")
        self.grant_randomly("{}.{}", ("select", "update") if kind == "sequence" else privileges, (schema, name), 3)
        if kind == "table" and self.chance.random() < 0.2:
            self.statements.append(sql.SQL("grant select (a) on {}.{} to {}").format(
                sql.Identifier(schema), sql.Identifier(name), self.anyone()
            ))  # fmt: skip

    def grant_randomly(self, place: str, privileges: tuple[str, ...], names: tuple[str, ...], most: int) -> None:
        target = sql.SQL(place).format(*map(sql.Identifier, names))
        for _ in range(self.chance.randrange(most)):
            verb = sql.SQL(f"grant {self.chance.choice(privileges)} on ")
            self.statements.append(verb + target + sql.SQL(" to ") + self.anyone())
        if self.chance.random() < 0.2:
            verb = sql.SQL(f"revoke {self.chance.choice(privileges)} on ")
            self.statements.append(verb + target + sql.SQL(" from ") + self.anyone())

    def grant_on_databases(self) -> None:
        if self.chance.random() < 0.5:
            self.add("revoke connect on database {} from public", self.database)
        for _ in range(6):
            self.statements.append(
                sql.SQL("grant connect, create on database {} to {}").format(sql.Identifier(self.database), self.anyone())
            )

    def set_search_paths(self) -> None:
        for name in self.chance.sample(self.roles, 6):
            self.set_path("role {}", name)
        for name in self.chance.sample(self.roles, 4):
            self.set_path("role {} in database {}", name, self.database)
        if self.seed % 2:
            self.set_path("database {}", self.database)

    def set_path(self, place: str, *names: str) -> None:
        chosen = self.chance.sample([*self.schemas, "public", "$user", "missing", "pg_catalog", "x" * 80], 4)
        path = sql.SQL(", ").join([*map(sql.Identifier, chosen), *([sql.SQL("App")] * self.chance.randrange(2))])
        self.statements.append(sql.SQL(f"alter {place} set search_path = ").format(*map(sql.Identifier, names)) + path)


@contextlib.contextmanager
def staged(running: Server, seed: int) -> Iterator[Catalog]:
    catalog = Catalog(seed, running.version)
    running.create_database(catalog.database)
    try:
        with running.connect(catalog.database) as connection:
            for statement in catalog.build():
                connection.execute(statement)
        yield catalog
    finally:
        with running.connect() as connection:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(catalog.database)))
            for role in reversed(catalog.roles):
                connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


ORACLE = {
    "relation": """
        select r.rolname, n.nspname, c.relname, p, has_table_privilege(r.oid, c.oid, p)
        from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest(%(privileges)s::text[]) p
        where r.rolname = any(%(roles)s) and c.relkind in ('r', 'v', 'S') and n.nspname = any(%(schemas)s)""",
    "schema": """
        select r.rolname, n.nspname, p, has_schema_privilege(r.oid, n.oid, p)
        from pg_roles r, pg_namespace n, unnest(array['USAGE', 'CREATE']) p
        where r.rolname = any(%(roles)s) and n.nspname !~ '^pg_(toast|temp)'""",
    "database": """
        select r.rolname, d.datname, p, has_database_privilege(r.oid, d.oid, p)
        from pg_roles r, pg_database d, unnest(array['CONNECT', 'CREATE', 'TEMPORARY']) p
        where r.rolname = any(%(roles)s)""",
    "membership": """
        select r.rolname, g.rolname, pg_has_role(r.oid, g.oid, 'USAGE'), pg_has_role(r.oid, g.oid, %(set)s)
        from pg_roles r, pg_roles g where r.rolname = any(%(roles)s)""",
    "column": """
        select r.rolname, n.nspname, c.relname, bool_or(has_any_column_privilege(r.oid, c.oid, p))
            or bool_or(has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE'))
        from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest(array['SELECT', 'INSERT', 'UPDATE']) p
        where r.rolname = any(%(roles)s) and c.relkind in ('r', 'v') and n.nspname = any(%(schemas)s)
        group by 1, 2, 3""",
}


def oracle(running: Server, catalog: Catalog) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every question with the server's answer."""
    maintain = ["MAINTAIN"] if running.version >= 17 else []
    arguments = {
        "roles": [*catalog.roles, *catalog.predefined(), "postgres"],
        "schemas": [*catalog.schemas, "public"],
        "privileges": [*RELATION_PRIVILEGES, *maintain],
        "set": "SET" if running.version >= 16 else "MEMBER",
    }
    with running.connect(catalog.database) as connection:
        for kind, query in ORACLE.items():
            yield from ((kind, row) for row in connection.execute(query, arguments))


def answers(access: Access, unreachable: Mapping[str, Any], kind: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The model's answer to the same question, with the question."""
    match kind:
        case "relation":
            return (*row[:4], access.has_relation_privilege(*row[:4]))
        case "schema":
            return (*row[:3], access.has_schema_privilege(*row[:3]))
        case "database":
            return (*row[:3], access.has_database_privilege(*row[:3]))
        case "membership":
            return (*row[:2], row[1] in access.memberships(row[0]), row[1] in access.settable(row[0]))
    return (*row[:3], not unreachable[row[0]][row[1:3]])


def reach(access: Access, frames: Frames, roles: list[str]) -> dict[str, dict[tuple[str, str], bool]]:
    keys = list(zip(frames["relations"]["schema_name"], frames["relations"]["relation_name"], strict=True))
    return {role: dict(zip(keys, access.unreachable(role).tolist(), strict=True)) for role in roles}


def compare(running: Server, catalog: Catalog) -> int:
    """How many verdicts were compared; fails on the first disagreements."""
    frames = frames_of(running, catalog.database)
    access = Access(frames)
    unreachable = reach(access, frames, [*catalog.roles, *catalog.predefined(), "postgres"])
    asked = list(oracle(running, catalog))
    wrong = [(kind, row) for kind, row in asked if answers(access, unreachable, kind, row) != row]
    assert wrong == [], f"{len(wrong)} of {len(asked)} verdicts differ (seed {catalog.seed}), such as {wrong[:3]}"
    assert compare_logins(running, catalog, access) >= 3
    return len(asked)


def compare_logins(running: Server, catalog: Catalog, access: Access) -> int:
    """How many roles have the search_path the model says, seen by logging in as each of them."""
    logins = 0
    for role in catalog.roles:
        try:
            with running.connect(catalog.database, user=role) as connection:
                [found] = connection.execute("select current_setting('search_path'), current_schemas(false)").fetchall()
        except psycopg.OperationalError as error:
            denied = not access.has_database_privilege(role, catalog.database, "CONNECT")
            assert denied or "not permitted to log in" in str(error)
            continue
        assert found == (access.search_path(role).text, access.visible_schemas(role)), role
        logins += 1
    return logins


def compare_all(running: Server, seeds: range) -> int:
    compared = 0
    for seed in seeds:
        with staged(running, seed) as catalog:
            compared += compare(running, catalog)
    return compared


def test_agrees_with_the_server(shared: Server, record_property: Any) -> None:
    started = time.monotonic()
    compared = compare_all(shared, SEEDS)
    record_property("verdicts", compared)
    assert compared >= 20_000
    assert time.monotonic() - started < 60


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_agrees_with_every_version(major: int, record_property: Any) -> None:
    if reason := binaries.npm_is_missing(major):
        warnings.warn(f"PostgreSQL {major} of the matrix was NOT tested: {reason}", stacklevel=2)
        pytest.skip(reason)
    with server.running(binaries.npm(major)) as running:
        compared = compare_all(running, SEEDS)
    record_property("verdicts", compared)
    assert compared >= 20_000
