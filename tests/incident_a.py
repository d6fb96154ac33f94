"""Incident A and its variants on a real server: the true cause of each, and its symptom as the service really meets it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql
from typer.testing import CliRunner

from kit.cli import app
from kit.sandbox.server import Server

SERVICE, PASSWORD_ROLE, DATABASE = "interspace_dev", "interspace_password", "interspace_dev"
SETTINGS = {"log_line_prefix": "%m [%p] user=%u,db=%d,app=%a,client=%h "}
HBA = (f"local all {PASSWORD_ROLE} scram-sha-256", "local all all trust", "local replication all trust")
_STAGED = files("kit.sandbox") / "staged" / "incident_a"

Privilege = tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One cause: what is staged, what the service does and reads, and what an answer must say of it.

    `gains` is all that the remedy may change; `rows` what the statement then gives.
    """

    name: str
    staged: tuple[str, ...]
    gate: str
    layer: str | None
    sqlstate: str | None
    statement: str = "select * from siwe_nonces"
    role: str = SERVICE
    gains: frozenset[Privilege] = frozenset()
    rows: int | None = 3

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Stage:
    """A server with one variant of the incident on it."""

    server: Server
    variant: Variant
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    def dsn(self, database: str = DATABASE) -> str:
        return self.server.dsn(database)

    def run(self, *scripts: str, database: str = DATABASE) -> None:
        for script in scripts:
            self.server.execute((_STAGED / f"{script}.sql").read_text(), database)

    def tried(self, statement: str | None = None, database: str = DATABASE) -> tuple[str | None, int | None, str]:
        """Return SQLSTATE, rows and what the server logged when the service logs in anew and runs its statement."""
        before = self.server.log_file.stat().st_size
        state, rows = self._ran(statement or self.variant.statement, database)
        with self.server.log_file.open("rb") as log:
            log.seek(before)
            return state, rows, log.read().decode().strip()

    def _ran(self, statement: str, database: str) -> tuple[str | None, int | None]:
        password = self.password if self.variant.role == PASSWORD_ROLE else None
        try:
            with self.server.connect(database, self.variant.role, password=password) as connection:
                cursor = connection.execute(statement.encode())
                return None, len(cursor.fetchall()) if cursor.description else None
        except psycopg.Error as error:
            return error.sqlstate or _state_of(str(error)), None

    def apply(self, remedy: str, run_by: str) -> None:
        """Run the remedy's statements, each as a role that `run_by` names before the superuser."""
        for statement in remedy.split(";\n"):
            refusals = [refusal for who in _runners(run_by) if (refusal := self._refusal(statement, who)) is not None]
            assert len(refusals) < len(list(_runners(run_by))), f"{statement}: {refusals}"

    def _refusal(self, statement: str, who: str) -> str | None:
        try:
            with self.server.connect(DATABASE, who) as connection:
                connection.execute(statement.encode())
        except psycopg.Error as error:
            return f"{who}: {error}"
        return None


def _state_of(message: str) -> str | None:
    """psycopg gives no SQLSTATE of a connection that was refused; the words are the server's."""
    known = {"not permitted to log in": "28000", "permission denied for database": "42501", "password authentication": "28P01"}
    return next((state for words, state in known.items() if words in message), "53300" if "too many" in message else None)


def _runners(run_by: str) -> Iterator[str]:
    """Yield the roles that may run a remedy: owners by name, the service itself, whoever administers roles."""
    for one in re.split(r" / |, ", run_by):
        if "CREATEROLE" in one:
            yield "administrator"
        elif not one.startswith("or "):
            yield one.split()[0].strip('"')


@contextmanager
def staged(server: Server, variant: Variant) -> Iterator[Stage]:
    """Stage a variant on a server that has nothing else; all of it is gone afterwards."""
    stage = Stage(server, variant)
    try:
        stage.run("roles", database="postgres")
        server.create_database(DATABASE)
        prepare(server)
        # 13 would keep it as MD5, which is no use where pg_hba.conf asks for SCRAM.
        server.execute(f"set password_encryption = 'scram-sha-256'; alter role {PASSWORD_ROLE} password '{stage.password}'")
        stage.run(*variant.staged)
        yield stage
    finally:
        cleared(server)


def prepare(server: Server) -> None:
    """Let the administrator administer the services, as the server's version has it, without a privilege of theirs."""
    if server.version >= 16:
        for role in (SERVICE, PASSWORD_ROLE, "interspace_app"):
            server.execute(f"grant {role} to administrator with admin true, inherit false, set false")


def cleared(server: Server) -> None:
    """Drop every database and role that the server did not begin with."""
    databases = "select datname from pg_database where oid >= 16384"
    for (name,) in server.execute(databases):
        server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)).as_string())
    for (name,) in server.execute("select rolname from pg_roles where oid >= 16384"):
        identifier = sql.Identifier(name).as_string()
        server.execute(f"drop owned by {identifier}; drop role {identifier}")


def access(*words: str) -> tuple[int, dict[str, Any]]:
    """Return exit status and answer of `kit access … --json`."""
    result = CliRunner().invoke(app, ["access", *words, "--json"])
    assert result.exit_code in (0, 1, 3), f"{words}: {result.stderr}"
    return result.exit_code, json.loads(result.stdout)


_PRIVILEGES = {
    "relation": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "column": ("SELECT", "INSERT", "UPDATE", "REFERENCES"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "schema": ("USAGE", "CREATE"),
    "function": ("EXECUTE",),
    "database": ("CONNECT", "CREATE", "TEMPORARY"),
}
_USER = "nspname !~ '^pg_' and nspname <> 'information_schema'"
_OF_CLASS = "from pg_class c join pg_namespace n on n.oid = relnamespace"
_OBJECTS = {
    "relation": f"select c.oid, format('%I.%I', nspname, relname), null {_OF_CLASS} where {_USER} and relkind in ('r', 'v')",
    "column": f"select c.oid, format('%I.%I.%I', nspname, relname, attname), attnum {_OF_CLASS} "
    f"join pg_attribute on attrelid = c.oid and attnum > 0 where {_USER} and relkind in ('r', 'v')",
    "sequence": f"select c.oid, format('%I.%I', nspname, relname), null {_OF_CLASS} where {_USER} and relkind = 'S'",
    "schema": f"select oid, format('%I', nspname), null from pg_namespace where {_USER}",
    "function": f"select p.oid, format('%I.%I', nspname, proname), null from pg_proc p join pg_namespace n "
    f"on n.oid = pronamespace where {_USER}",
    "database": "select oid, datname, null from pg_database where datname = current_database()",
}
_STATE = """
    select rolname, 'role', 'may log in', '' from pg_roles where rolcanlogin and coalesce(rolvaliduntil > now(), true)
    union all select rolname, 'role', 'connections', rolconnlimit::text from pg_roles
    union all select coalesce(setrole::regrole::text, '-'), 'setting', unnest(setconfig), '' from pg_db_role_setting
    union all select member::regrole::text, 'member', roleid::regrole::text, '' from pg_auth_members
    union all select format('%I.%I', nspname, relname), 'policy', polname::text, polcmd::text
      from pg_policy join pg_class c on c.oid = polrelid join pg_namespace n on n.oid = relnamespace
"""


def snapshot(server: Server, database: str = DATABASE) -> frozenset[Privilege]:
    """Return every privilege that every role has in the database by the server's own functions, and who sees which rows."""
    found = {tuple(map(str, row)) for row in server.execute(_STATE, database)}
    for kind, objects in _OBJECTS.items():
        function = {"relation": "table"}.get(kind, kind)
        column = "attnum, " if kind == "column" else ""
        query = f"""
            select r.rolname, '{kind}', o.name, p from pg_roles r, ({objects}) as o (oid, name, attnum),
              unnest(array{list(_PRIVILEGES[kind])}::text[]) p
            where has_{function}_privilege(r.oid, o.oid, {column}p) and r.rolname !~ '^pg_' and not r.rolsuper"""
        if kind == "column":
            query += " and not has_table_privilege(r.oid, o.oid, p)"
        found |= {tuple(map(str, row)) for row in server.execute(query, database)}
    return frozenset(found | set(_rows(server, database)))


def _rows(server: Server, database: str) -> Iterator[Privilege]:
    relations = [row[1] for row in server.execute(_OBJECTS["relation"], database)]
    roles = [row[0] for row in server.execute("select rolname from pg_roles where rolname !~ '^pg_' and not rolsuper")]
    with server.connect(database) as connection:
        for role in roles:
            for relation in relations:
                try:
                    with connection.transaction():
                        connection.execute(f"set local role {role}".encode())
                        count = connection.execute(f"select count(*) from {relation}".encode()).fetchone()
                    yield role, "rows", relation, str(count and count[0])
                except psycopg.errors.InsufficientPrivilege:
                    continue


def changed(before: frozenset[Privilege], after: frozenset[Privilege]) -> tuple[set[Privilege], set[Privilege], set[str]]:
    """Return what is gone, what is new, and which roles see other rows than before."""
    lost, gained = before - after, after - before
    seers = {item[0] for item in lost | gained if item[1] == "rows"}
    return {item for item in lost if item[1] != "rows"}, {item for item in gained if item[1] != "rows"}, seers
