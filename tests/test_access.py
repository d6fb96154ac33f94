"""The access model held against the server's own answers; incident A from its symptom to its repair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg
import pytest

from kit.analyze.access.privileges import Access
from kit.analyze.access.search_path import identifiers
from kit.analyze.findings import Examined, Finding, NotExamined, Result
from kit.analyze.hypotheses import hypotheses
from kit.analyze.symptom import parse_symptom, symptom_evidence
from kit.checks.permissions import (
    misdirected_default_privileges,
    schemas_without_usage,
    tables_without_policies,
    unreadable_tables,
)
from kit.collect.postgres import collect_database
from kit.evidence.model import Frames, Source
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.random_catalog import Catalog, staged

SEEDS = range(5)
RELATION_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def source_of(running: Server, database: str, user: str = "postgres") -> Source:
    return collect_database(DatabaseSource("database", running.dsn(database, user)))[0]


def frames_of(running: Server, database: str) -> Frames:
    return Frames(source_of(running, database))


@dataclass(frozen=True)
class Place:
    """A database of a test, and what the checks say of it."""

    server: Server
    database: str

    def execute(self, statements: str) -> None:
        self.server.execute(statements, self.database)

    def frames(self, user: str = "postgres", symptom: str | None = None) -> Frames:
        extra = {"symptom": symptom_evidence(parse_symptom(symptom), datetime.now(UTC))} if symptom else {}
        return Frames(source_of(self.server, self.database, user), extra)

    def findings(self, check: Any, symptom: str | None = None) -> list[Finding]:
        judgements = list(check.judge(self.frames(symptom=symptom), {}))
        assert not any(isinstance(judgement, NotExamined) for judgement in judgements)
        return [judgement for judgement in judgements if isinstance(judgement, Finding)]

    def severities(self, check: Any, symptom: str | None = None) -> dict[str, str]:
        return {finding.subject.qualified: finding.severity for finding in self.findings(check, symptom)}

    def finding(self, check: Any, subject: str) -> Finding | None:
        return next((finding for finding in self.findings(check) if finding.subject.qualified == subject), None)

    def failure(self, user: str, statement: str) -> str | None:
        """What the server says to a login of `user`, or None if it does as it is told."""
        with self.server.connect(self.database, user) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                return f"{error.sqlstate}: {error.diag.message_primary}"
        return None


Stage = Callable[[str], Place]


@pytest.fixture
def stage(server: Server) -> Iterator[Stage]:
    """A fresh database prepared by statements (`{database}` is its name); its roles go with it."""
    database = f"access_{time.monotonic_ns()}"
    known = server.execute("select rolname from pg_roles")
    server.create_database(database)

    def prepare(statements: str) -> Place:
        place = Place(server, database)
        place.execute(statements.replace("{database}", database))
        return place

    yield prepare
    server.execute(f"drop database {database} with (force)")
    for (role,) in set(server.execute("select rolname from pg_roles")) - set(known):
        server.execute(f"drop role {role}")


# --- the oracle -----------------------------------------------------------------------------------------------------

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
        from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace,
            unnest(array['SELECT', 'INSERT', 'UPDATE']) p
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
            refused = "not permitted to log in" in str(error)
            refused |= not access.has_database_privilege(role, catalog.database, "CONNECT")
            assert refused, error  # noqa: PT017  a refusal that the model did not foresee
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


def test_agrees_with_the_server(server: Server) -> None:
    started = time.monotonic()
    compared = compare_all(server, SEEDS)
    assert compared >= 20_000
    assert time.monotonic() - started < 60


@pytest.mark.matrix
@pytest.mark.parametrize("major", list(binaries.MATRIX_VERSIONS))
def test_agrees_with_every_version(major: int) -> None:
    if reason := binaries.npm_is_missing(major):
        pytest.skip(f"PostgreSQL {major} of the matrix was NOT tested: {reason}")
    with sandbox.running(binaries.npm(major)) as running:
        assert compare_all(running, SEEDS) >= 20_000


# --- the search_path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"$user", public', ("$user", "public")),
        ("", ()),
        ("  ", ()),
        ('""', ("",)),
        ("App,  other\t", ("app", "other")),
        ('"App, public"', ("App, public",)),
        ('"a""b" , ÄB', ('a"b', "Äb")),
        ("x" * 80, ("x" * 63,)),
        ("a,", None),
        (",a", None),
        ('"a" b', None),
        ('"a', None),
    ],
)
def test_identifier_lists(text: str, expected: tuple[str, ...] | None) -> None:
    assert identifiers(text) == expected


def test_takes_no_search_path_of_the_asker(stage: Stage) -> None:
    place = stage("create role pa_asker login; create role pa_other login; alter role pa_asker set search_path = secret")
    paths = [Access(place.frames(user)).search_path("pa_other") for user in ("pa_asker", "postgres")]
    assert [(path.entries, path.origin) for path in paths] == [
        (("pa_other", "public"), "assumed"),
        (("pa_other", "public"), "default"),
    ]


def test_search_path_of_the_server() -> None:
    with sandbox.running(settings={"search_path": "App, $user"}, preload=()) as running:
        running.execute("create role api login")
        path = Access(frames_of(running, "postgres")).search_path("api")
        with running.connect(user="api") as connection:
            assert connection.execute("show search_path").fetchall() == [(path.text,)]
    assert (path.entries, path.origin, path.own) == (("app", "api"), "server", frozenset({"api"}))


# --- incident A -----------------------------------------------------------------------------------------------------

INCIDENT = """
    create role ia_migrator login; create role ia_api login; create role ia_other login;
    grant create on database {database} to ia_migrator;
    alter role ia_api set search_path = app, public;
    alter role ia_other in database {database} set search_path = app;
    set role ia_migrator;
    create schema app;
    create table app.siwe_nonces (nonce text); create table app.blacklisted_tokens (token text);
    create table app."Odd table" (n int); create schema other; create table other.secrets (n int);
    create table app._prisma_migrations (
      id text, checksum text, finished_at timestamptz, migration_name text, logs text, rolled_back_at timestamptz,
      started_at timestamptz, applied_steps_count int);
    reset role;
    alter default privileges in schema app grant select, insert on tables to ia_api;
"""


def test_incident_a(stage: Stage) -> None:
    place = stage(INCIDENT)
    symptom = place.failure("ia_api", "select * from siwe_nonces")
    assert symptom == '42P01: relation "siwe_nonces" does not exist'
    found = {finding.subject.qualified: finding for finding in place.findings(schemas_without_usage)}
    assert sorted(found) == ["app.ia_api", "app.ia_other"]
    assert found["app.ia_api"].message == (
        'role "ia_api" has no USAGE on schema app, so its 4 tables "do not exist" for it by their plain names'
    )
    assert found["app.ia_api"].severity == "critical"
    assert "siwe_nonces" in found["app.ia_api"].relations

    named = {finding.subject.qualified: finding.message for finding in place.findings(schemas_without_usage, symptom)}
    assert named["app.ia_api"] == (
        'role "ia_api" has no USAGE on schema app, so its 4 tables, among them siwe_nonces, '
        '"do not exist" for it by their plain names'
    )
    elsewhere = place.findings(schemas_without_usage, 'relation "other.siwe_nonces" does not exist')
    assert not any("among them" in finding.message for finding in elsewhere), "that is another table"

    unreadable = place.finding(unreadable_tables, "app.ia_api")
    assert unreadable.relations == {"siwe_nonces", "blacklisted_tokens", "Odd table"}, "the ledger is not the service's"
    [misdirected] = place.findings(misdirected_default_privileges)
    assert 'created by "postgres"' in misdirected.message
    assert 'created by "ia_migrator"' in misdirected.message

    place.execute(found["app.ia_api"].remedy)
    assert place.failure("ia_api", "select * from siwe_nonces") == "42501: permission denied for table siwe_nonces"
    place.execute(unreadable.remedy)
    assert place.failure("ia_api", 'select * from siwe_nonces, "Odd table"') is None
    assert place.failure("ia_api", "insert into blacklisted_tokens values ('t')") is None
    assert place.finding(schemas_without_usage, "app.ia_api") is None
    assert place.finding(unreadable_tables, "app.ia_api") is None
    for user, statement in (
        ("ia_other", "select * from siwe_nonces"),
        ("ia_api", "delete from siwe_nonces"),
        ("ia_api", "select * from other.secrets"),
        ("ia_api", "select * from _prisma_migrations"),
    ):
        assert place.failure(user, statement), f"the repair of ia_api let {user} {statement}"

    place.execute(misdirected.remedy)
    place.execute("set role ia_migrator; create table app.later (n int)")
    assert place.failure("ia_api", "select * from later") is None
    assert place.findings(misdirected_default_privileges) == []


def test_the_hypothesis_names_who_is_kept_out(stage: Stage) -> None:
    place = stage(INCIDENT)
    symptom = replace(parse_symptom('relation "siwe_nonces" does not exist'), relation_exists=True)
    found = [finding for finding in place.findings(schemas_without_usage) if finding.severity == "critical"]
    base = Result("schemas_without_usage", "permissions", "privileges", "database", "findings", findings=tuple(found))
    result = replace(base, explains=frozenset(schemas_without_usage.EXPLAINS))

    def said(*names: str) -> str:
        first = result.findings[0]
        findings = tuple(replace(first, subject=replace(first.subject, name=name)) for name in names)
        return hypotheses([replace(result, findings=findings)], symptom)[1].statement

    assert said("ia_api") == '"siwe_nonces" is there, but role "ia_api" may not reach it.'
    assert said("a", "b", "b") == '"siwe_nonces" is there, but roles "a" and "b" may not reach it.'
    assert said("a", "b", "c", "d", "e") == '"siwe_nonces" is there, but roles "a", "b", "c" and 2 more may not reach it.'
    assert said() == '"siwe_nonces" is there, but the role that asks may not reach it.'


def test_any_asker_sees_the_same(stage: Stage) -> None:
    place = stage(INCIDENT)
    for check in (schemas_without_usage, unreadable_tables, misdirected_default_privileges):
        as_superuser, as_api = (list(check.judge(place.frames(user), {})) for user in ("postgres", "ia_api"))
        assert as_superuser == as_api


# --- what is a defect, and what is meant ------------------------------------------------------------------------------

SHARED = """
    create role sh_api login; create role sh_monitor login in role pg_monitor; create role sh_stranger login;
    create schema app; create table app.orders (n int); create table app.lines (n int); create table public.notes (n int);
    alter database {database} set search_path = app, public;
    grant connect on database {database} to sh_api, sh_monitor;
"""


def test_path_of_the_whole_database(stage: Stage) -> None:
    place = stage(SHARED)
    assert place.severities(schemas_without_usage) == {"app.sh_api": "critical"}
    place.execute("grant select on public.notes to sh_api")
    assert place.severities(schemas_without_usage) == {"app.sh_api": "warning"}
    assert place.severities(schemas_without_usage, 'relation "orders" does not exist') == {"app.sh_api": "critical"}
    assert place.severities(unreadable_tables) == {}
    assert place.severities(unreadable_tables, "permission denied for table lines") == {"app.sh_api": "critical"}


PARTIAL = """
    create role pt_group; create role pt_api login in role pt_group; create role pt_owner login;
    create role pt_quiet login noinherit in role pt_group; create role pt_reader login in role pg_read_all_data;
    create schema app; grant usage on schema app to public;
    create table app.orders (day date) partition by range (day);
    create table app.orders_1 partition of app.orders default;
    create table app.lines (n int, secret int); create table app.own (n int); create view app.seen as select 1 as n;
    alter table app.own owner to pt_owner;
    grant select on app.orders to pt_group;
"""


def test_partial_grants_are_no_defect_by_themselves(stage: Stage) -> None:
    place = stage(PARTIAL)
    assert place.findings(unreadable_tables) == []
    place.execute("alter role pt_api set search_path = app")
    assert place.severities(unreadable_tables) == {"app.pt_api": "warning"}
    finding = place.finding(unreadable_tables, "app.pt_api")
    assert finding.remedy.endswith("Of those that it is meant to use: grant select on app.lines, app.own to pt_api")
    named = place.severities(unreadable_tables, "permission denied for table lines")
    assert named == {"app.pt_api": "critical", "app.pt_owner": "critical"}, "whoever uses the schema may have met it"
    place.execute("grant select (n) on app.lines to pt_api")
    assert place.finding(unreadable_tables, "app.pt_api").relations == {"own"}


def test_default_privileges_are_an_intention(stage: Stage) -> None:
    place = stage(PARTIAL)
    place.execute("alter default privileges in schema app grant select, update on tables to pt_group")
    assert place.severities(unreadable_tables) == {"app.pt_api": "critical"}
    assert place.finding(unreadable_tables, "app.pt_api").remedy == "grant select on app.own to pt_api"
    place.execute("revoke all on app.orders from pt_group")
    assert place.severities(unreadable_tables) == {"app.pt_api": "critical"}
    expected = "grant select, update on app.lines, app.orders, app.own to pt_api"
    assert place.finding(unreadable_tables, "app.pt_api").remedy == expected


def test_a_masked_search_path_is_not_examined(stage: Stage) -> None:
    place = stage("create role ma_api login; alter role ma_api set search_path = app")
    frames = place.frames()
    frames["role_settings"]["setting_value"] = "<masked>"
    assert NotExamined("ma_api", "its search_path is masked or cannot be read") in schemas_without_usage.judge(frames, {})


def test_row_security_hides_only_from_the_bound(stage: Stage) -> None:
    place = stage(
        """
        create role rs_owner login; create role rs_free login bypassrls; create role rs_api login;
        create table notes (n int); alter table notes owner to rs_owner; alter table notes enable row level security;
        grant select on notes to rs_free;
        """
    )
    assert place.findings(tables_without_policies) == []
    place.execute("grant select on notes to rs_api")
    assert place.findings(tables_without_policies)[0].message.endswith('no policy: "rs_api" may query it and get zero rows')
    assert place.severities(tables_without_policies, "users see zero rows of notes") == {"public.notes": "critical"}
    place.execute("alter table notes force row level security")
    assert '"rs_api", "rs_owner"' in place.findings(tables_without_policies)[0].message


def test_default_privileges_that_work_are_no_defect(stage: Stage) -> None:
    place = stage(
        """
        create role dw_migrator login; create role dw_api login; create schema app authorization dw_migrator;
        alter default privileges for role dw_migrator grant select on tables to dw_api;
        alter default privileges in schema app grant select on tables to dw_api, public;
        set role dw_migrator; create table app.orders (n int);
        """
    )
    assert [finding.subject.name for finding in place.findings(misdirected_default_privileges)] == ["public"]


# --- size -----------------------------------------------------------------------------------------------------------


def test_ten_thousand_tables_and_two_hundred_roles(stage: Stage) -> None:
    place = stage("create role big_0 login; create schema app; create table app.t (n int); grant select on app.t to big_0")
    frames = grown(source_of(place.server, place.database), tables=10_000, roles=200)
    started = time.process_time()
    access = Access(frames)
    closed = sum(int(access.unreachable(f"big_{number}").sum()) for number in range(200))
    assert closed == 199 * 10_000
    for check in (schemas_without_usage, unreadable_tables):
        assert any(isinstance(judgement, Examined) for judgement in check.judge(frames, {}))
    assert time.process_time() - started < 10


def grown(source: Source, tables: int, roles: int) -> Frames:
    """The same evidence with the table, its grants and the role many times over."""
    big = {name: source.evidence[name].frame for name in ("relations", "relation_grants", "roles")}
    for name in ("relations", "relation_grants"):
        rows = big[name][big[name]["relation_name"] == "t"]
        numbers = [str(number) for number in range(tables)] * len(rows)
        many = rows.loc[rows.index.repeat(tables)].reset_index(drop=True)
        big[name] = many.assign(relation_oid=numbers, relation_name=[f"t{number}" for number in numbers])
    role = big["roles"][big["roles"]["role_name"] == "big_0"]
    others = [role.assign(role_name=f"big_{number}") for number in range(1, roles)]
    big["roles"] = pd.concat([big["roles"], *others], ignore_index=True)
    evidence = {name: replace(source.evidence[name], frame=frame) for name, frame in big.items()}
    return Frames(replace(source, evidence={**source.evidence, **evidence}))
