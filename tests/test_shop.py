"""The staged incident on real servers: each fault is there, and nothing else is broken."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kit.sandbox import binaries, server, shop
from kit.sandbox.shop import EXPECTED_FAULTS, HEALTHY_TABLES, Shop

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
VERSIONS = [None, *(pytest.param(major, marks=pytest.mark.matrix) for major in binaries.MATRIX_VERSIONS)]


@dataclass(frozen=True)
class Stage:
    server: server.Server
    shop: Shop

    def rows(self, query: str, user: str = "postgres") -> list[tuple[Any, ...]]:
        with self.server.connect(shop.DATABASE, user) as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str, user: str = "postgres") -> Any:
        [(value,)] = self.rows(query, user)
        return value


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda major: str(major or "embedded"))
def staged(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param and (reason := binaries.npm_is_missing(request.param)):
        warnings.warn(f"PostgreSQL {request.param} of the matrix was NOT tested: {reason}", stacklevel=2)
        pytest.skip(reason)
    with server.running(binaries.npm(request.param) if request.param else None) as running:
        yield Stage(running, shop.stage(running, NOW))


def names(tables: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'::regclass" for name in tables)


def test_symptom(staged: Stage) -> None:
    """Unqualified, the name does not exist; qualified, it is forbidden; and it is there for its owner."""
    for table in EXPECTED_FAULTS.tables:
        with pytest.raises(psycopg.errors.UndefinedTable, match=f'relation "{table}" does not exist'):
            staged.rows(f"select * from {table}", EXPECTED_FAULTS.role)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema auth"):
            staged.rows(f"select * from {EXPECTED_FAULTS.schema}.{table}", EXPECTED_FAULTS.role)
        assert len(staged.rows(f"select * from auth.{table}", EXPECTED_FAULTS.owner)) == 40
    assert staged.value("show search_path", EXPECTED_FAULTS.role) == "auth, shop"
    assert f'relation "{EXPECTED_FAULTS.tables[0]}" does not exist' == staged.shop.symptom


def test_default_privileges_are_for_the_wrong_creator(staged: Stage) -> None:
    acl = staged.value("select defaclacl::text from pg_default_acl where defaclnamespace = 'auth'::regnamespace")
    assert acl == "{shop_api=arwd/shop_owner}"
    owners = "select distinct relowner::regrole::text from pg_class where relnamespace = 'auth'::regnamespace"
    assert staged.rows(owners) == [("migrator",)]
    assert not staged.value("select has_table_privilege('shop_api', 'auth.siwe_nonces', 'select')")


def test_smallest_remedy(staged: Stage) -> None:
    with staged.server.connect(shop.DATABASE) as connection:
        connection.autocommit = False
        connection.execute("grant usage on schema auth to shop_api")
        connection.execute("grant select on auth.siwe_nonces to shop_api")
        connection.execute("set session authorization shop_api")
        connection.execute("set search_path = auth, shop")
        assert len(connection.execute("select * from siwe_nonces").fetchall()) == 40
        connection.rollback()


def test_failed_migration(staged: Stage) -> None:
    query = f"select migration_name, finished_at, rolled_back_at, started_at, logs from {EXPECTED_FAULTS.ledger}"
    *_, failed = sorted(staged.rows(query, "incident_kit"))
    assert failed[:3] == (EXPECTED_FAULTS.migration, None, None)
    assert timedelta(minutes=10) < NOW - failed[3] < NOW - staged.shop.since
    assert 'role "shop_service" does not exist' in failed[4]
    assert all(finished for _, finished, *_ in sorted(staged.rows(query))[:-1])


def test_slow_statement(staged: Stage) -> None:
    statements = staged.rows(
        "select query, calls, total_exec_time, mean_exec_time from extensions.pg_stat_statements "
        "where userid = 'shop_api'::regrole order by 3 desc",
        "incident_kit",
    )
    text, calls, total, mean = statements[0]
    assert (text, calls) == (EXPECTED_FAULTS.slow_statement, 64)
    # More than 10 ms on a slow machine; the fastest still take these.
    assert mean >= 5
    assert total > 0.8 * sum(row[2] for row in statements)
    plan = staged.value(f"explain (format json) {text.replace('$1', repr('x'))}", EXPECTED_FAULTS.role)
    assert plan[0]["Plan"]["Node Type"] == "Seq Scan"


def test_bloated_table(staged: Stage) -> None:
    table_bytes, live, wasted = staged.rows(
        "select table_len, tuple_count, table_len - tuple_len from extensions.pgstattuple('shop.carts')"
    )[0]
    assert live == 20_000
    assert wasted > 10 * 1024**2
    assert wasted / table_bytes > 0.5
    dead = staged.value("select n_dead_tup from pg_stat_user_tables where relid = 'shop.carts'::regclass")
    assert dead == 120_000
    assert staged.rows("select dead_tuple_percent from extensions.pgstattuple_approx('shop.carts')", "incident_kit")


def test_held_sessions(staged: Stage) -> None:
    """Seen by the kit's own role; and afterwards nothing of it is left, not in the statistics either."""
    wait = f"select pg_blocking_pids(pid), application_name, {'waitstart' if staged.server.version >= 14 else 1} "
    wait += "from pg_locks join pg_stat_activity using (pid) where not granted"
    for _ in range(2):
        with shop.held_sessions(staged.server, staged.shop) as held:
            [(pids, application, _since)] = staged.rows(wait, "incident_kit")
            assert (pids, application) == ([held.blocking_pid], EXPECTED_FAULTS.blocked_application)
            blocking = f"select application_name, state, query from pg_stat_activity where pid = {held.blocking_pid}"
            [(application, state, query)] = staged.rows(blocking, "incident_kit")
            assert (application, state) == (EXPECTED_FAULTS.blocking_application, "idle in transaction")
            assert staged.shop.secrets.session_token in query
    assert staged.rows(wait) == []
    assert staged.rows("select note from shop.orders where order_id = 1") == [(None,)]
    waited = "select 1 from extensions.pg_stat_statements where query like 'update orders set status = $1 w%'"
    assert staged.rows(waited) == []


def test_held_sessions_when_the_server_is_gone() -> None:
    with server.running() as running:
        staged = shop.stage(running, NOW)
        with shop.held_sessions(running, staged):
            running.stop("immediate")


def test_healthy_tables_are_tended(staged: Stage) -> None:
    query = f"""
        select count(*), min(n_live_tup), max(n_dead_tup), max(n_mod_since_analyze), max(seq_scan),
          bool_and(last_vacuum is not null and last_analyze is not null)
        from pg_stat_user_tables where relid in ({names(HEALTHY_TABLES)})
    """
    count, live, dead, modified, sequential_scans, is_tended = staged.rows(query, "incident_kit")[0]
    assert (count, live, sequential_scans, is_tended) == (len(HEALTHY_TABLES), 1000, 0, True)
    # What the sessions of `held_sessions` leave: a dead row of the rolled-back update each time.
    assert dead <= 2
    assert modified <= 2
    options = f"select reloptions, relowner::regrole::text from pg_class where oid in ({names(HEALTHY_TABLES)})"
    assert set(staged.rows(options)) == {(None, "shop_owner")}


def test_healthy_indexes(staged: Stage) -> None:
    """Each is valid and read, and each foreign key has one."""
    indexes = f"""
        select indexrelid::regclass::text, indisvalid and indisready, idx_scan > 0
        from pg_index join pg_stat_user_indexes using (indexrelid) where indrelid in ({names(HEALTHY_TABLES)})
    """
    found = staged.rows(indexes)
    assert len(found) == 10
    assert [name for name, is_valid, is_read in found if not (is_valid and is_read)] == []
    lonely = """
        select conname from pg_constraint where contype = 'f' and not exists (
          select from pg_index where indrelid = conrelid and (indkey::int2[])[0:cardinality(conkey) - 1] = conkey)
    """
    assert staged.rows(lonely) == []


def test_service_may_use_the_healthy_tables(staged: Stage) -> None:
    for table in HEALTHY_TABLES:
        for privilege in ("select", "insert", "update", "delete"):
            assert staged.value(f"select has_table_privilege('shop_api', '{table}', '{privilege}')")
    assert not staged.value("select has_schema_privilege('shop_api', 'public', 'create')")


def test_kit_role_sees_and_cannot_write(staged: Stage) -> None:
    assert staged.rows("select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls from pg_roles "
                       "where rolname = current_user", "incident_kit") == [(False,)]  # fmt: skip
    seen = "select count(distinct tablename) from pg_stats where schemaname in ('auth', 'shop')"
    assert staged.value(seen, "incident_kit") == staged.value(seen) == 11
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        staged.rows("update shop.orders set note = '' returning 1", "incident_kit")
    for dsn, user in ((staged.shop.kit_dsn, "incident_kit"), (staged.shop.api_dsn, "shop_api")):
        with psycopg.connect(dsn) as connection:
            assert connection.info.user == user


def test_secrets_are_planted(staged: Stage, tmp_path: Path) -> None:
    secrets = staged.shop.secrets
    assert len(set(secrets)) == len(secrets)
    statements = str(staged.rows("select query from extensions.pg_stat_statements", "incident_kit"))
    passwords = (secrets.api_password, secrets.kit_password, secrets.deployer_password, secrets.migrator_password)
    assert [password for password in passwords if password not in statements] == []
    settings = str(staged.rows("select setconfig from pg_db_role_setting", "incident_kit"))
    assert secrets.jwt_secret in settings
    assert secrets.mapping_password in str(staged.rows("select umoptions from pg_user_mappings"))
    shop.write_cloud_exports(tmp_path, NOW, secrets)
    assert secrets.payments_key in (tmp_path / "service.json").read_text()


def test_extensions(staged: Stage) -> None:
    assert staged.shop.left_out == ()


def test_without_pg_stat_statements() -> None:
    with server.running(preload=()) as running:
        staged = Stage(running, shop.stage(running, NOW))
        assert staged.shop.left_out == ("pg_stat_statements",)
        assert staged.value("select idx_scan > 0 from pg_stat_user_indexes where indexrelname = 'orders_pkey'")


def test_cloud_exports(tmp_path: Path) -> None:
    shop.write_cloud_exports(tmp_path / "cloud", NOW, shop.make_secrets())
    read = {path.name: json.loads(path.read_text()) for path in (tmp_path / "cloud").iterdir()}
    assert set(read) == {path.name for path in Path(shop.__file__).parent.joinpath("staged", "cloud").iterdir()}
    assert "{{" not in str(read)
    revisions = {item["metadata"]["name"]: item["status"]["conditions"][0] for item in read["revisions.json"]}
    assert list(revisions) == [f"shop-api-000{number}" for number in (14, 13, 12, 11)]
    assert revisions[EXPECTED_FAULTS.failed_revision]["reason"] == "HealthCheckContainerError"
    assert [name for name, ready in revisions.items() if ready["status"] != "True"] == [EXPECTED_FAULTS.failed_revision]
    status = read["service.json"]["status"]
    assert status["latestReadyRevisionName"] == status["traffic"][0]["revisionName"] == EXPECTED_FAULTS.serving_revision


def test_cloud_exports_fit_together(tmp_path: Path) -> None:
    """The account has its role, and each successful deploy precedes its revision by seconds."""
    shop.write_cloud_exports(tmp_path, NOW, shop.make_secrets())
    policy, log, revisions = (
        json.loads((tmp_path / name).read_text()) for name in ("iam-policy.json", "audit-log.json", "revisions.json")
    )
    account = f"serviceAccount:{revisions[0]['spec']['serviceAccountName']}"
    assert "roles/cloudsql.client" in {item["role"] for item in policy["bindings"] if account in item["members"]}
    times = [datetime.fromisoformat(entry["timestamp"]) for entry in log]
    assert times == sorted(times, reverse=True)
    assert times[0] < NOW
    deploys = [
        entry
        for entry in log
        if entry["protoPayload"]["methodName"].endswith(".ReplaceService") and "status" not in entry["protoPayload"]
    ]
    for entry, revision in zip(deploys, revisions, strict=True):
        created = datetime.fromisoformat(revision["metadata"]["creationTimestamp"])
        assert timedelta(0) < created - datetime.fromisoformat(entry["timestamp"]) < timedelta(seconds=10)
        image = entry["protoPayload"]["request"]["service"]["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == revision["spec"]["containers"][0]["image"]
    assert len(log) - len(deploys) == 3
