"""The explainer on everything but statements: functions, schemas, types, sequences, the database, and names without a schema."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from kit.analyze.access.catalog import Catalog as Objects
from kit.analyze.access.catalog import Entity
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Gate, ObjectKind, Question
from kit.analyze.findings import quoted
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from tests.access_oracle import frames_of, staged

SEEDS = range(100, 102)
NAMES = ("app_0", "Odd Name_1", "select_2", "UPPER_3", "ünïcode_4", "uses 0", "view 1", "nowhere")
# One row for each object and privilege: whether the role has it.
HELD = """
select 'function', p.oid::text, x, has_function_privilege(%(role)s, p.oid, x) from pg_proc as p, unnest(array['EXECUTE']) as x
where p.pronamespace in (select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')
union all
select 'type', t.oid::text, 'USAGE', has_type_privilege(%(role)s, t.oid, 'USAGE') from pg_type as t where t.typname = 'mood'
union all
select 'schema', n.nspname, x, has_schema_privilege(%(role)s, n.oid, x)
from pg_namespace as n, unnest(array['USAGE', 'CREATE']) as x
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all
select 'relation', c.oid::text, x, has_sequence_privilege(%(role)s, c.oid, x)
from pg_class as c, unnest(array['USAGE', 'SELECT', 'UPDATE']) as x where c.relkind = 'S'
union all
select 'database', d.datname, x, has_database_privilege(%(role)s, d.oid, x)
from pg_database as d, unnest(array['CONNECT', 'CREATE']) as x where d.datname = current_database()
"""
LOOKED_UP = """
select n.nspname, c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = to_regclass(%s)
"""


def compare_privileges(running: Server, seed: int) -> int:
    """How many privileges were compared; fails on the first that differ."""
    with staged(running, seed) as (catalog, _), running.connect(catalog.database) as connection:
        for schema in catalog.schemas:
            connection.execute(sql.SQL("create type {} as enum ('well')").format(sql.Identifier(schema, "mood")))
            if catalog.chance.random() < 0.5:
                connection.execute(sql.SQL("revoke usage on type {} from public").format(sql.Identifier(schema, "mood")))
        objects = Objects(frames_of(running, catalog.database))
        rows = [(role, *row) for role in catalog.roles for row in connection.execute(HELD, {"role": role})]
    wrong = [row for row in rows if judged(objects, *row[:4]) is not row[4]]
    assert wrong == [], f"{len(wrong)} of {len(rows)} differ (seed {seed}), such as {wrong[:3]}"
    return len(rows)


def judged(objects: Objects, role: str, kind: ObjectKind, key: str, action: str) -> bool:
    answer = explained(objects, Question(role, action, name_of(objects, kind, key), kind))
    wanted = "schema usage" if (kind, action) == ("schema", "USAGE") else "object privilege"
    gate: Gate = next(gate for gate in answer.gates if gate.name == wanted)
    return gate.status == "passed"


def name_of(objects: Objects, kind: str, key: str) -> str:
    found: dict[str, dict[str, Entity]] = {
        "function": dict(objects.functions),
        "type": dict(objects.types),
        "relation": dict(objects.relations),
    }
    return found[kind][key].qualified if kind in found else quoted(key)


def compare_names(running: Server, seed: int) -> int:
    """How many names without a schema a login finds as the explainer says: which relation, none, or one it may not look for."""
    compared = 0
    with staged(running, seed) as (catalog, _):
        objects = Objects(frames_of(running, catalog.database))
        for role in catalog.roles:
            try:
                connection = running.connect(catalog.database, user=role)
            except psycopg.OperationalError:
                continue
            with connection:
                for name, found in looked_up(connection, NAMES):
                    answer = explained(objects, Question(role, "SELECT", quoted(name)))
                    by_name = {gate.name: gate.status for gate in answer.gates}
                    is_found = by_name["name resolution"] == "passed" and by_name["schema usage"] == "passed"
                    assert (answer.object_name if is_found else None) == found, (seed, role, name, answer.to_record())
                    compared += 1
    return compared


def looked_up(connection: psycopg.Connection, names: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    for name in names:
        found = connection.execute(LOOKED_UP, [quoted(name)]).fetchone()
        yield name, ".".join(map(quoted, found)) if found else None


def test_every_privilege_is_the_servers(server: Server) -> None:
    assert sum(compare_privileges(server, seed) for seed in SEEDS) >= 3_000


def test_names_without_a_schema_are_found_as_by_a_login(server: Server) -> None:
    assert sum(compare_names(server, seed) for seed in SEEDS) >= 50


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_privileges_and_names_on_every_version(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(major)) as running:
        assert compare_privileges(running, 102) >= 1_000
        assert compare_names(running, 102) >= 20
