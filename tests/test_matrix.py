"""The matrix held against the server's own functions and against rows really counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from kit.analyze.access.cells import RELATION_KINDS
from kit.analyze.access.matrix import COUNTED, matrix, reach, schema_matrix
from kit.analyze.exposure import PUBLIC
from kit.case.matrix import write_matrix
from kit.collect.postgres import collect_database
from kit.errors import UnknownRole, UsageError
from kit.evidence.model import Frames, Source
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.random_catalog import Catalog, staged

SEEDS = range(3)

# What a role may do with an object, by the server's functions: USAGE on the schema and the privilege, on columns too.
ASKED = {
    "relation": """
        select r.name, 'other', n.nspname, c.relname, p, has_schema_privilege(r.name, n.oid, 'USAGE') and (
            has_table_privilege(r.name, c.oid, p) or p in ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            and has_any_column_privilege(r.name, c.oid, p))
        from asked r, pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest(%(privileges)s::text[]) p
        where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^(pg_|information_schema)'""",
    "sequence": """
        select r.name, 'sequence', n.nspname, c.relname, p,
          has_schema_privilege(r.name, n.oid, 'USAGE') and has_sequence_privilege(r.name, c.oid, p)
        from asked r, pg_class c join pg_namespace n on n.oid = c.relnamespace, unnest('{USAGE,SELECT,UPDATE}'::text[]) p
        where c.relkind = 'S' and n.nspname !~ '^(pg_|information_schema)'""",
    "schema": """
        select r.name, 'schema', n.nspname, n.nspname, p, has_schema_privilege(r.name, n.oid, p)
        from asked r, pg_namespace n, unnest('{USAGE,CREATE}'::text[]) p where n.nspname !~ '^pg_(toast|temp)'""",
    "database": """
        select r.name, 'database', null, d.datname, p, has_database_privilege(r.name, d.oid, p)
        from asked r, pg_database d, unnest('{CONNECT,CREATE,TEMPORARY}'::text[]) p""",
    "function": """
        select r.name, 'function', n.nspname, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 'EXECUTE',
          has_schema_privilege(r.name, n.oid, 'USAGE') and has_function_privilege(r.name, p.oid, 'EXECUTE')
        from asked r, pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname !~ '^(pg_|information_schema)' or n.nspname = 'pg_catalog' and p.proacl is not null""",
    "type": """
        select r.name, 'type', n.nspname, t.typname, 'USAGE',
          has_schema_privilege(r.name, n.oid, 'USAGE') and has_type_privilege(r.name, t.oid, 'USAGE')
        from asked r, pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
        where n.nspname !~ '^(pg_|information_schema)' and t.typtype = any('{e,d,r,b,c}')
          and (t.typrelid = 0 or c.relkind = 'c') and not t.typname ^@ '_'""",
}  # fmt: skip
TABLE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

Verdicts = dict[tuple[str, str, str | None, str, str], Any]


def frames_of(running: Server, database: str) -> Frames:
    return Frames(collect_database(DatabaseSource("database", running.dsn(database)))[0])


def verdicts(frames: Frames, column: str, **wanted: Any) -> Verdicts:
    """One column of the matrix by role, sort of object, schema, name and action."""
    rows = matrix(frames, **wanted).to_pylist()
    return {(r["role"], sort_of(r["kind"]), r["schema"], r["name"], r["action"]): r[column] for r in rows}


def sort_of(kind: str) -> str:
    if kind in ("sequence", "schema", "database", "type"):
        return kind
    return "function" if kind in ("function", "procedure", "aggregate", "window function") else "other"


def server_says(running: Server, catalog: Catalog) -> Verdicts:
    maintain = ["MAINTAIN"] if running.version >= 17 else []
    arguments = {"privileges": [*TABLE_PRIVILEGES, *maintain]}
    roles = f"with asked(name) as (select rolname::text from pg_roles union all select '{PUBLIC}')"
    found: Verdicts = {}
    with running.connect(catalog.database) as connection:
        connection.execute("set search_path = ''")
        for query in ASKED.values():
            found |= {row[:5]: row[5] for row in connection.execute(roles + query, arguments)}
    return found


def settable(running: Server, database: str) -> dict[str, list[str]]:
    """The other roles that each may SET ROLE to, by the server; pg_database_owner's members differ between databases."""
    word = "SET" if running.version >= 16 else "MEMBER"
    pairs = running.execute(
        "select r.rolname::text, g.rolname::text from pg_roles r, pg_roles g"
        f" where r.oid <> g.oid and pg_has_role(r.oid, g.oid, '{word}')",
        database,
    )
    found: dict[str, list[str]] = {}
    for role, other in pairs:
        found.setdefault(role, []).append(other)
    return found


def after_set_role(allowed: Mapping[Any, bool], others: Mapping[str, list[str]]) -> Verdicts:
    return {
        (role, *rest): not is_allowed and any(allowed[other, *rest] for other in others.get(role, ()))
        for (role, *rest), is_allowed in allowed.items()
    }


def differing(one: Verdicts, other: Verdicts) -> list[Any]:
    return [(key, one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)]


def add_functions_and_types(running: Server, catalog: Catalog) -> None:
    """Functions and types with random owners and grants, in every schema; the catalog's own has none."""
    catalog.statements.clear()
    for schema in catalog.schemas:
        made = [
            ("function {}.{}(int, text)", "f"),
            ("procedure {}.{}()", "p"),
            ("type {}.{}", "Odd enum"),
            ("type {}.{}", "range"),
        ]
        catalog.add("create function {}.{}(int, text) returns int language sql as 'select 1'", schema, "f")
        catalog.add("create procedure {}.{}() language sql as 'select 1'", schema, "p")
        catalog.add("create type {}.{} as enum ('a')", schema, "Odd enum")
        catalog.add("create type {}.{} as range (subtype = float8)", schema, "range")
        for place, name in made:
            catalog.add(f"alter {place} owner to {{}}", schema, name, catalog.chance.choice(catalog.roles))
            privilege = "usage" if place.startswith("type") else "execute"
            if catalog.chance.random() < 0.5:
                catalog.add(f"revoke {privilege} on {place} from public", schema, name)
            catalog.grant_randomly(place, (privilege,), (schema, name), 3)
    with running.connect(catalog.database) as connection:
        for statement in catalog.statements:
            connection.execute(statement)


def compare(running: Server, seed: int) -> int:
    """How many verdicts were compared; fails on the first that differ."""
    with staged(running, seed) as catalog:
        add_functions_and_types(running, catalog)
        frames = frames_of(running, catalog.database)
        expected = server_says(running, catalog)
        others = settable(running, catalog.database)
    differ = differing(verdicts(frames, "allowed"), expected)
    assert differ == [], f"{len(differ)} of {len(expected)} differ (seed {seed}), such as {differ[:3]}"
    differ = differing(verdicts(frames, "after_set_role"), after_set_role(expected, others))
    assert differ == [], f"{len(differ)} after SET ROLE differ (seed {seed}), such as {differ[:3]}"
    return 2 * len(expected)


def test_agrees_with_the_server(server: Server) -> None:
    assert sum(compare(server, seed) for seed in SEEDS) >= 100_000


# --- rows -----------------------------------------------------------------------------------------------------------

CONDITIONS = ("true", "false", "a = 1", "a = 1", "null", "1 = 1", "a = 1 or true")
ROW_STATEMENTS = {
    "SELECT": ("select from {}",),
    "INSERT": ("insert into {} values (1, 0)", "insert into {} values (2, 0)"),
    "UPDATE": ("update {} set b = 1",),
    "DELETE": ("delete from {}",),
}


def add_row_security(running: Server, catalog: Catalog) -> None:
    """Tables with random policies, and views over them and over one another, open to everybody but for the policies."""
    catalog.statements.clear()
    catalog.add("create role {}", f"stranger_{catalog.seed}")
    catalog.add("create schema rows")
    catalog.add("grant usage on schema rows to public")
    chance, names = catalog.chance, [f"Table {number}" for number in range(12)]
    for role in chance.sample(catalog.roles[1:], 2):
        catalog.add("alter role {} bypassrls", role)
    for name in names:
        catalog.add("create table rows.{} (a int, b int)", name)
        catalog.add("insert into rows.{} values (1, 0), (2, 0)", name)
        add_policies(catalog, name)
    for number in range(12):
        invoker = " with (security_invoker)" if running.version >= 15 and chance.random() < 0.5 else ""
        names.append(f"view {number}")
        catalog.add(f"create view rows.{{}}{invoker} as select a, b from rows.{{}}", names[-1], chance.choice(names[:-1]))
    for name in names:
        catalog.add("grant all on rows.{} to public", name)
        catalog.add("alter table rows.{} owner to {}", name, chance.choice(catalog.roles))
    with running.connect(catalog.database) as connection:
        for statement in catalog.statements:
            connection.execute(statement)


def add_policies(catalog: Catalog, table: str) -> None:
    chance = catalog.chance
    if chance.random() < 0.85:
        catalog.add("alter table rows.{} enable row level security", table)
    if chance.random() < 0.3:
        catalog.add("alter table rows.{} force row level security", table)
    for number in range(chance.randrange(5)):
        command = chance.choice(("all", "all", "select", "insert", "update", "delete"))
        kind = "restrictive" if chance.random() < 0.3 else "permissive"
        using, check = (f"({chance.choice(CONDITIONS)})" for _ in range(2))
        clauses = f" with check {check}" if command == "insert" else f" using {using}"
        both = f" with check {check}" if command == "all" and chance.random() < 0.4 else ""
        verb = f"create policy {{}} on rows.{{}} as {kind} for {command} to "
        policy = sql.SQL(verb).format(sql.Identifier(f"p {number}"), sql.Identifier(table))
        catalog.statements.append(policy + catalog.anyone() + sql.SQL(clauses + both))


def counted(connection: psycopg.Connection[Any], role: str, name: str, action: str) -> str | None:
    """What the role can really see or change of a table of two rows; None where it cannot be told."""
    touched, statements = 0, ROW_STATEMENTS[action]
    for statement in statements:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
                touched += connection.execute(sql.SQL(statement).format(sql.Identifier("rows", name))).rowcount
        except psycopg.errors.InsufficientPrivilege as error:
            if "row-level security" not in str(error):
                raise
            if action == "UPDATE":
                return None  # a row was seen, and its new form refused
    return {0: "none", 1: "filtered", 2: "all"}[touched]


def compare_rows(running: Server, seed: int) -> int:
    """How many cells were held against rows really seen, written, changed or deleted."""
    with staged(running, seed) as catalog:
        add_row_security(running, catalog)
        catalog.roles.append(f"stranger_{seed}")
        frames = frames_of(running, catalog.database)
        said = {key: rows for key, rows in verdicts(frames, "rows", actions=ROW_STATEMENTS).items() if key[2] == "rows"}
        with running.connect(catalog.database) as connection:
            # A role that has and is nothing sees what PUBLIC does.
            roles = {role: role for role in catalog.roles} | {PUBLIC: catalog.roles[-1]}
            found = {key: counted(connection, roles[key[0]], *key[3:]) for key in said if key[0] in roles}
    differ = [(key, said[key], rows) for key, rows in found.items() if rows not in (None, said[key])]
    assert differ == [], f"{len(differ)} of {len(found)} differ (seed {seed}), such as {differ[:5]}"
    return sum(rows is not None for rows in found.values())


def test_rows_are_those_really_counted(server: Server) -> None:
    assert sum(compare_rows(server, seed) for seed in SEEDS) >= 4_000


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_agrees_with_every_version(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(major)) as running:
        assert sum(compare(running, seed) for seed in SEEDS) >= 60_000
        assert sum(compare_rows(running, seed) for seed in SEEDS) >= 4_000


# --- one by one -----------------------------------------------------------------------------------------------------

STAGE = """
    create role mx_owner; create role mx_team in role mx_owner; create role mx_reader login;
    create role mx_member login in role mx_team; create role mx_switcher login noinherit in role mx_team;
    create role mx_auditor login; create role mx_root superuser; create role mx_lost login;
    create role "Mx group"; grant "Mx group" to mx_reader; grant pg_read_all_data to mx_auditor;
    create schema shop; create schema closed;
    create table shop.orders (id bigserial primary key, total int, note text);
    create table closed.vault (id int); create view shop.totals as select total from shop.orders;
    create function shop.f(int) returns int language sql as 'select 1';
    create function shop.f(text) returns int language sql as 'select 1';
    revoke all on function shop.f(text) from public;
    alter table shop.orders owner to mx_owner; alter table closed.vault owner to mx_owner;
    grant usage on schema shop to public; grant select on closed.vault to mx_reader;
    grant select on shop.orders to "Mx group"; grant select on shop.totals to public;
    grant insert on shop.orders to mx_reader; grant update (note) on shop.orders to mx_reader;
    create view shop.own with (security_invoker) as select total from shop.orders;
    create view shop."over own" as select total from shop.own;
    create view shop.joined with (security_invoker) as select o.total, v.id from shop.orders o, closed.vault v;
    grant select on shop.own, shop."over own", shop.joined to public;
    alter table shop.orders enable row level security;
    create policy "no row" on shop.orders as restrictive using (false) with check (true);
    create policy "some rows" on shop.orders for insert with check (total > 0);
"""


EXPECTED = {
    ("mx_root", "orders", "DELETE"): (True, False, "all", "superuser"),
    ("mx_owner", "orders", "DELETE"): (True, False, "all", "owner"),
    ("mx_member", "orders", "DELETE"): (True, False, "all", "owner through mx_owner"),
    ("mx_switcher", "orders", "DELETE"): (False, True, None, "mx_team"),
    ("mx_reader", "orders", "SELECT"): (True, False, "none", 'grant to "Mx group"'),
    ("mx_reader", "orders", "INSERT"): (True, False, "filtered", "grant"),
    ("mx_reader", "orders", "UPDATE"): (True, False, "none", "grant on some columns"),
    ("mx_reader", "orders", "DELETE"): (False, False, None, None),
    ("mx_owner", "orders", "TRUNCATE"): (True, False, None, "owner"),
    ("mx_lost", "totals", "SELECT"): (True, False, "all", "PUBLIC"),
    ("public", "totals", "SELECT"): (True, False, "all", "PUBLIC"),
    ("mx_auditor", "totals", "SELECT"): (True, False, "all", "PUBLIC"),
    ("mx_auditor", "vault", "SELECT"): (True, False, "all", "pg_read_all_data"),
    ("mx_auditor", "closed", "USAGE"): (True, False, None, "pg_read_all_data"),
    ("mx_reader", "vault", "SELECT"): (False, False, None, None),
    ("mx_owner", "orders_id_seq", "UPDATE"): (True, False, None, "owner"),
    ("mx_owner", "orders_id_seq", "SELECT"): (True, False, None, "owner"),
    ("mx_lost", "f(integer)", "EXECUTE"): (True, False, None, "PUBLIC"),
    ("mx_lost", "f(text)", "EXECUTE"): (False, False, None, None),
    # The view is read as the superuser who made it, and below it the next one as whoever asks.
    ("mx_reader", "own", "SELECT"): (True, False, "none", "PUBLIC"),
    ("mx_reader", "over own", "SELECT"): (True, False, "none", "PUBLIC"),
    ("mx_auditor", "joined", "SELECT"): (True, False, "filtered", "PUBLIC"),
}


@pytest.fixture(scope="module")
def shop(server: Server) -> Iterator[Frames]:
    database = "matrix_shop"
    server.create_database(database)
    server.execute(STAGE, database)
    yield frames_of(server, database)
    server.execute(f"drop database {database} with (force)")
    for (role,) in server.execute("select rolname from pg_roles where rolname ~* '^mx'"):
        server.execute(f'drop role "{role}"')


def test_says_how_and_what_is_left(shop: Frames) -> None:
    rows = matrix(shop, {role for role, _, _ in EXPECTED}).to_pylist()
    said = ("allowed", "after_set_role", "rows", "via")
    found = {(row["role"], row["name"], row["action"]): tuple(row[name] for name in said) for row in rows}
    assert {key: found[key] for key in EXPECTED} == EXPECTED


def without(frames: Frames, *names: str) -> Frames:
    source = Source(
        "database", "postgres", "here", frames.identity, {n: e for n, e in frames._evidence.items() if n not in names}
    )
    return Frames(source)


def test_says_nothing_where_the_evidence_does_not_tell(shop: Frames) -> None:
    """A bundle of an earlier kit has neither what views read nor functions; it must not say "all"."""
    older = without(shop, "relation_uses", "functions", "function_grants", "types", "type_grants")
    rows = matrix(older, ["mx_auditor"], ["SELECT", "EXECUTE"]).to_pylist()
    left = {row["name"]: row["rows"] for row in rows if row["schema"] == "shop"}
    assert left == {"orders": "none", "orders_id_seq": None} | dict.fromkeys(("totals", "own", "over own", "joined"))
    unpoliced = matrix(without(shop, "policies"), ["mx_auditor"], ["SELECT"]).to_pylist()
    assert {row["name"]: row["rows"] for row in unpoliced}["orders"] is None


def test_names_near_an_unknown_one(shop: Frames) -> None:
    with pytest.raises(UnknownRole, match="Did you mean mx_reader"):
        matrix(shop, ["mx_raeder"])
    with pytest.raises(UsageError, match="Did you mean"):
        matrix(shop, actions=["SELEKT"])


def test_counts_by_schema(shop: Frames) -> None:
    counts = schema_matrix(shop)
    rows = matrix(shop, actions=ROW_STATEMENTS, kinds=RELATION_KINDS).to_pandas()
    rows["filtered"], rows["hidden"], rows["relations"] = rows["rows"] == "filtered", rows["rows"] == "none", True
    # Of sequences nothing is hidden; all else is told row by row.
    expected = rows.groupby(["role", "schema", "action"], observed=True)[["relations", *COUNTED]].sum()
    found = counts.set_index(["role", "schema", "action"])
    assert found.loc[expected.index].to_numpy().tolist() == expected.to_numpy().tolist()
    assert len(found) == len(expected)
    assert found.loc[("mx_reader", "shop", "SELECT")].tolist() == [6, 5, 0, 1, 3]


def test_tells_what_strangers_reach(shop: Frames) -> None:
    found = reach(shop)
    assert set(found["role"]) == {"public"}
    named = {(row.kind, row.name, row.action) for row in found[found["schema"] == "shop"].itertuples()}
    assert named == {("schema", "shop", "USAGE"), ("function", "f(integer)", "EXECUTE")} | {
        ("view", name, "SELECT") for name in ("totals", "own", "over own", "joined")
    }
    assert "closed" not in set(found["schema"].dropna())
    assert "pg_catalog" not in set(found["name"])


def test_writes_what_it_says(shop: Frames, tmp_path: Path) -> None:
    file = tmp_path / "matrix.parquet"
    file.write_text("an older one")
    written = write_matrix(shop, file)
    table = pq.read_table(file)
    assert written == table.num_rows > 1000
    assert table.schema.names == ["role", "kind", "schema", "name", "action", "allowed", "after_set_role", "rows", "via"]
    assert table.to_pylist() == matrix(shop).to_pylist()
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(UsageError, match="cannot be written"):
        write_matrix(shop, tmp_path / "missing" / "matrix.parquet")
