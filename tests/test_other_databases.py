"""What the other databases of the instance hold is collected, and none of them can take the capture down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from kit.case.collecting import collected
from kit.collect import elsewhere
from kit.collect.elsewhere import COLUMNS, collect_elsewhere
from kit.collect.postgres import collect_database
from kit.collect.queries import fact_queries
from kit.evidence import bundle
from kit.evidence.model import Capture, Gap, Source
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, resolve

ODD = """it's "the" other =db"""
HOSTILE = "host=/nowhere user=nobody dbname=postgres"
PRISMA = """
create schema auth;
create table auth._prisma_migrations (
  id varchar(36) primary key, checksum varchar(64), finished_at timestamptz, migration_name varchar(255), logs text,
  rolled_back_at timestamptz, started_at timestamptz default now(), applied_steps_count int default 0
);
insert into auth._prisma_migrations (id, migration_name, started_at, finished_at, rolled_back_at) values
  ('1', '20240101_init', '2024-01-01', '2024-01-01', null),
  ('2', '20240202_siwe', '2024-02-02', '2024-02-02 00:01+00', null),
  ('3', '20240303_undone', '2024-03-03', null, '2024-03-03'),
  ('4', '20240404_failed', '2024-04-04', null, null);
create table auth.siwe_nonces (id int); create view auth.nonces as select id from auth.siwe_nonces;
create table public.alembic_version (version_num varchar(32)); insert into public.alembic_version values ('ae1027a6acf');
grant usage on schema auth to od_plain; grant select on auth._prisma_migrations to od_plain;
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server with an empty database for the application, and one in which the migrations ran."""
    with sandbox.running() as running:
        running.execute("create role od_plain login")
        for name in ("app", "closed", "quiet", ODD, HOSTILE):
            running.create_database(name)
        running.execute("revoke connect on database closed from public")
        running.execute("alter database quiet allow_connections false")
        running.execute(PRISMA, ODD)
        yield running


def _taken(server: Server, user: str = "od_plain", database: str = "app") -> Capture:
    return collected(resolve(server.dsn(database, user)))


def _rows(source: Source, name: str) -> list[tuple[Any, ...]]:
    frame = source.evidence[name].frame.astype(object)
    return [tuple(row) for row in frame.where(frame.notna(), None).itertuples(index=False)]


def test_the_relation_that_does_not_exist_is_found_where_the_migrations_ran(own: Server) -> None:
    source = _taken(own).sources[0]

    assert "siwe_nonces" not in set(source.evidence["relations"].frame["relation_name"])
    assert _rows(source, "relations_elsewhere") == [
        (ODD, "auth", "_prisma_migrations", "table", "postgres"),
        (ODD, "auth", "nonces", "view", "postgres"),
        (ODD, "auth", "siwe_nonces", "table", "postgres"),
        (ODD, "public", "alembic_version", "table", "postgres"),
    ]


def test_a_ledger_elsewhere_tells_its_last_applied_migration_or_that_it_cannot_be_read(own: Server) -> None:
    at = pd.Timestamp("2024-02-02 00:01", tz="UTC")
    prisma = (ODD, "auth", "_prisma_migrations", "prisma", "20240202_siwe", at)

    plain, superuser = (_rows(_taken(own, user).sources[0], "ledgers_elsewhere") for user in ("od_plain", "postgres"))

    assert plain == [prisma, (ODD, "public", "alembic_version", "alembic", None, None)]
    assert superuser == [prisma, (ODD, "public", "alembic_version", "alembic", "ae1027a6acf", None)]


def test_a_database_that_refuses_is_a_row_and_no_gap(own: Server) -> None:
    source = _taken(own).sources[0]

    rows = {name: (status, reason) for name, status, reason in _rows(source, "other_databases")}
    assert {name: status for name, (status, _) in rows.items()} == {
        ODD: "read",
        HOSTILE: "read",
        "closed": "refused",
        "postgres": "read",
    }
    assert 'permission denied for database "closed"' in rows["closed"][1]
    assert not [name for name in source.gaps if name not in ("statements", "statements_info", "settings:hidden")]


def test_the_frames_are_saved_with_their_provenance(own: Server, tmp_path: Any) -> None:
    bundle.save(_taken(own), tmp_path / "bundle")

    source = bundle.load(tmp_path / "bundle").sources[0]

    for name, columns in COLUMNS.items():
        evidence = source.evidence[name]
        assert list(evidence.frame.columns) == [column.name for column in columns]
        assert evidence.provenance.rows == len(evidence.frame) > 0
        assert "/* incident-kit " in evidence.provenance.text


def test_the_cost_holds_that_of_the_other_databases(own: Server) -> None:
    source = DatabaseSource("database", own.dsn("app"))
    alone = set(fact_queries())

    (_, without), (_, whole) = collect_database(source, only=alone), collect_database(source)

    read = 4
    # begin, commit, two for the limits, three queries behind savepoints
    assert whole.statements - without.statements == read * (2 + 2 + 3 * 3)
    assert whole.rows - without.rows >= read


@pytest.mark.parametrize(("only", "asked"), [({"relations"}, False), ({"relations", "ledgers_elsewhere"}, True)])
def test_one_table_alone_does_not_ask_the_others(own: Server, only: set[str], asked: bool) -> None:
    source, _ = collect_database(DatabaseSource("database", own.dsn("app")), only=only)

    assert (set(COLUMNS) <= set(source.evidence)) is asked
    assert not set(COLUMNS) & set(source.gaps)


def test_a_database_whose_catalog_is_locked_refuses_and_the_others_are_read(own: Server) -> None:
    with own.connect(HOSTILE, autocommit=False) as holder:
        holder.execute("lock table pg_catalog.pg_class in access exclusive mode")
        source = _taken(own).sources[0]
        holder.rollback()

    rows = {name: (status, reason) for name, status, reason in _rows(source, "other_databases")}
    assert rows[HOSTILE][0] == "refused"
    assert "timeout" in rows[HOSTILE][1]
    assert rows[ODD][0] == "read"
    assert set(source.evidence["relations_elsewhere"].frame["database_name"]) == {ODD}


def test_no_more_than_so_many_are_asked(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "MAXIMUM_DATABASES", 1)

    rows = _rows(_taken(own).sources[0], "other_databases")

    assert [status for _, status, _ in rows] == ["refused", "not asked", "not asked", "not asked"]
    assert "no more than 1" in rows[1][2]


def test_no_longer_than_so_many_seconds_are_spent(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "TOTAL_SECONDS", float(elsewhere.CONNECT_SECONDS))

    source = _taken(own).sources[0]

    assert {row[1] for row in _rows(source, "other_databases")} == {"not asked"}
    assert source.evidence["relations_elsewhere"].frame.empty


def test_nobody_is_asked_when_the_connection_was_lost(own: Server) -> None:
    def lose(title: str) -> None:
        if title == fact_queries()["relations"][0].title:
            own.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'od_plain'")

    source, _ = collect_database(DatabaseSource("database", own.dsn("app", "od_plain")), progress=lose)

    assert "capture" in source.gaps or "relations" in source.gaps
    assert {row[1] for row in _rows(source, "other_databases")} == {"not asked"}


def test_without_the_list_of_databases_the_frames_are_gaps(own: Server) -> None:
    source, _ = collect_database(DatabaseSource("database", own.dsn("app")), only={"session"})
    gap = Gap(kind="timed out", reason="canceling statement due to statement timeout (57014)")

    found = collect_elsewhere(own.dsn("app"), source.evidence, {"databases": gap}, None)

    assert {name: gap.kind for name, gap in found.gaps.items()} == dict.fromkeys(COLUMNS, "timed out")
    assert "statement timeout" in found.gaps["relations_elsewhere"].reason
    assert not found.evidence


def test_a_password_in_a_refusal_is_masked(own: Server) -> None:
    name = "postgresql://a:correct-horse@b/c"
    own.create_database(name)
    own.execute(f'revoke connect on database "{name}" from public')
    try:
        source = _taken(own).sources[0]
    finally:
        own.execute(f'drop database "{name}"')

    assert "correct-horse" not in str(_rows(source, "other_databases"))


def test_another_server_behind_the_same_name_does_not_count(own: Server, server: Server) -> None:
    source, _ = collect_database(DatabaseSource("database", own.dsn("app")), only={"other_databases"})

    found = collect_elsewhere(server.dsn(), source.evidence, {}, None)

    rows = {row[0]: row[1:] for row in found.evidence["other_databases"].frame.itertuples(index=False)}
    assert rows["postgres"] == ("refused", "another database or another server answered under this name")
    assert found.cost.statements == 2 + 2 + 3 * 3, "what was asked in vain has its cost too"
