"""A random catalog: roles, memberships, objects, grants and search_paths, made from a seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from psycopg import sql

from kit.sandbox.server import Server

PREDEFINED = {13: ["pg_monitor"], 14: ["pg_read_all_data", "pg_write_all_data"], 17: ["pg_maintain"]}
ODD_NAMES = ("app", "Odd Name", 'qu"ote', "semi;colon", "UPPER", "ünïcode", "select", "with,comma")


@dataclass
class Catalog:
    """A random catalog in a database of its own; its roles bear the seed, since roles are the cluster's."""

    seed: int
    version: int
    chance: random.Random = field(init=False)
    roles: list[str] = field(init=False)
    schemas: list[str] = field(init=False)
    statements: list[sql.Composable] = field(default_factory=list)
    # The materialized views and the partitioned tables among what was added.
    stored: set[tuple[str, str]] = field(default_factory=set)
    partitioned: set[tuple[str, str]] = field(default_factory=set)

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
            verb = sql.SQL("grant select (a) on {}.{} to ").format(sql.Identifier(schema), sql.Identifier(name))
            self.statements.append(verb + self.anyone())

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
        verb = sql.SQL("grant connect, create on database {} to ").format(sql.Identifier(self.database))
        for _ in range(6):
            self.statements.append(verb + self.anyone())

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
