"""What the checks make of evidence that no test server can give: made-up frames with the declared columns."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.analyze.bloat import shown_bytes
from kit.analyze.findings import Finding, NotExamined
from kit.analyze.locks import roots
from kit.analyze.statements import compared_columns, statements
from kit.checks import registry
from kit.checks.triage._attempts import kind_of
from kit.checks.triage._sessions import shown_seconds
from kit.collect.queries import fact_queries
from kit.collect.rows import CONNECTION_COLUMNS
from kit.evidence.columns import build_frame
from kit.evidence.model import Evidence, Frames, Identity, Provenance, Source

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
HERE = Identity(
    user="kit",
    session_user="kit",
    database="shop",
    server_version=180000,
    server_version_text="18.0",
    server="local socket",
    is_superuser=True,
    in_recovery=False,
    search_path="public",
    visible_schemas=["public"],
)
Rows = list[dict[str, Any]]


def frames(**given: Rows) -> Frames:
    return Frames(Source("database", "postgres", "here", HERE, {name: evidence(name, rows) for name, rows in given.items()}))


def evidence(name: str, rows: Rows) -> Evidence:
    columns = CONNECTION_COLUMNS if name == "connection" else fact_queries()[name][0].columns
    unknown = {key for row in rows for key in row} - {column.name for column in columns}
    assert not unknown
    frame = build_frame(columns, [tuple(row.get(column.name) for column in columns) for row in rows])
    provenance = Provenance(title=name, grain="", text="", text_sha256="", at=NOW, seconds=0, rows=len(rows))
    return Evidence(frame, columns, provenance)


def judge(check: str, evidence: Frames, **thresholds: float) -> tuple[list[Finding], list[NotExamined]]:
    defaults: Mapping[str, float] = {t.name: t.default for t in registry()[check].thresholds}
    judgements = list(registry()[check].judge(evidence, {**defaults, **thresholds}))
    return [j for j in judgements if isinstance(j, Finding)], [j for j in judgements if isinstance(j, NotExamined)]


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (
            'connection to server on socket "/cloudsql/a:b:c/.s.PGSQL.5432" failed: No such file or directory',
            "unreachable",
            "region",
        ),
        ('connection to server at "10.0.0.9", port 5432 failed: Connection refused', "unreachable", "listen"),
        ('could not translate host name "db.internal" to address: Name or service not known', "unreachable", "DNS"),
        ('connection to server at "10.0.0.9", port 5432 failed: timeout expired', "unreachable", "firewall"),
        ("connection failed: FATAL: the database system is starting up", "unreachable", "recovery"),
        ("connection failed: FATAL: the database system is not yet accepting connections", "unreachable", "recovery"),
        ("connection failed: FATAL: the database system is shutting down", "unreachable", "stops it"),
        ("server closed the connection unexpectedly", "unreachable", "proxy"),
        ('connection to server at "2a05::1", port 5432 failed: Network is unreachable', "unreachable", "IPv6"),
        ("SSL error: certificate verify failed", "unreachable", "root certificate"),
        ('Unix-domain socket path "/cloudsql/…" is too long (maximum 107 bytes)', "unreachable", "shorter"),
        ("something nobody has met yet", "unreachable", "psql"),
        ('FATAL: password authentication failed for user "api"', "login", "secret"),
        ('FATAL: role "api" does not exist', "login", "Check the user's name"),
        ('FATAL: role "api" is not permitted to log in', "login", "login"),
        ("fe_sendauth: no password supplied", "login", "PGPASSWORD"),
        ('FATAL: no pg_hba.conf entry for host "10.0.0.1", user "api", database "shop", no encryption', "login", "sslmode"),
        ('FATAL: permission denied for database "shop" DETAIL: User does not have CONNECT privilege.', "login", "grant connect"),
        ('FATAL: Cloud SQL IAM user authentication failed for user "x"', "login", "instanceUser"),
        ('FATAL: database "shop" does not exist', "database", "psql -l"),
        ("FATAL: no such database: shop", "database", "psql -l"),
        ('FATAL: database "shop" is not currently accepting connections', "database", "allow_connections"),
        ("FATAL: sorry, too many clients already", "slots", "pools smaller"),
        ("FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", "slots", "reserved slots"),
        ('FATAL: too many connections for role "api"', "slots", "alter role"),
        ("FATAL: no more connections allowed (max_client_conn)", "slots", "max_client_conn"),
    ],
)
def test_each_refusal_has_one_check_and_its_own_remedy(message: str, kind: str, words: str) -> None:
    assert kind_of(message) == kind
    attempt = {"is_connected": False, "message": message, "host": "db", "database_name": "shop", "user_name": "api"}
    found = {check: judge(check, frames(connection=[attempt]))[0] for check in CONNECTION_CHECKS.values()}
    assert [check for check, items in found.items() if items] == [CONNECTION_CHECKS[kind]]
    [finding] = found[CONNECTION_CHECKS[kind]]
    assert finding.severity == "critical"
    assert words in finding.remedy


CONNECTION_CHECKS = {
    "unreachable": "unreachable_servers",
    "login": "refused_logins",
    "database": "missing_databases",
    "slots": "exhausted_connection_slots",
}


def test_a_carriage_return_in_the_host_is_named_first() -> None:
    attempt = {"is_connected": False, "message": "No such file or directory", "host": "/cloudsql/a:us-central1:b\r"}
    [finding], _ = judge("unreachable_servers", frames(connection=[attempt]))
    assert "carriage return" in finding.message
    assert "printf" in finding.remedy


def test_roots_of_a_tree_a_queue_and_a_circle() -> None:
    assert roots({2: [1], 3: [2, 1], 4: [3]}) == {2: (1, 1), 3: (1, 1), 4: (1, 2)}
    assert roots({2: [3], 3: [2], 4: [2]}) == {}
    assert roots({5: [0]}) == {5: (0, 1)}


def waiting(pid: int, *blockers: int, **more: Any) -> dict[str, Any]:
    since = {"waiting_since": NOW - timedelta(seconds=5)}
    return (
        {"blocked_pid": pid, "blocking_pids": [str(b) for b in blockers], "lock_type": "relation", "mode": "ShareLock"}
        | since
        | more
    )


def session(pid: int, **more: Any) -> dict[str, Any]:
    return {"pid": pid, "database_name": "shop", "is_hidden": False} | more


def test_a_prepared_transaction_at_the_root() -> None:
    [finding], _ = judge("blocked_sessions", frames(blocking=[waiting(7, 0)], sessions=[session(7)]))
    assert "prepared transaction" in finding.message
    assert "rollback prepared" in finding.remedy


def test_a_deadlock_has_no_root() -> None:
    both = frames(blocking=[waiting(7, 8), waiting(8, 7)], sessions=[session(7), session(8)])
    found, _ = judge("blocked_sessions", both)
    assert all("circle" in finding.message for finding in found)
    assert not any("pg_terminate_backend" in finding.remedy for finding in found)


def test_many_short_waits_behind_one_root_are_critical() -> None:
    queue = frames(blocking=[waiting(pid, 1) for pid in range(2, 13)], sessions=[session(pid) for pid in range(1, 13)])
    found, _ = judge("blocked_sessions", queue)
    assert {finding.severity for finding in found} == {"critical"}
    few, _ = judge("blocked_sessions", frames(blocking=[waiting(2, 1)], sessions=[session(1), session(2)]))
    assert {finding.severity for finding in few} == {"warning"}


def test_without_the_start_of_the_wait_the_statement_dates_it() -> None:
    old = frames(
        blocking=[waiting(7, 8, waiting_since=None), waiting(9, 8, waiting_since=None)],
        sessions=[session(7, query_started_at=NOW - timedelta(seconds=90)), session(8), session(9, is_hidden=True)],
    )
    [finding], [unseen] = judge("blocked_sessions", old)
    assert (finding.severity, "up to 90.0 s" in finding.message) == ("critical", True)
    assert unseen.subject == "session 9"


def test_a_wait_for_a_row_is_named_by_its_table() -> None:
    held = {"mode": "RowExclusiveLock", "is_granted": True, "schema_name": "app"}
    evidence = frames(
        blocking=[waiting(7, 8, lock_type="transactionid")],
        sessions=[session(7), session(8)],
        relations=[{"schema_name": "app", "relation_name": "orders"}],
        locks=[{"pid": pid, "relation_name": name, **held} for pid in (7, 8) for name in ("orders", "orders_pkey")],
    )
    [finding], _ = judge("blocked_sessions", evidence)
    assert "a row of app.orders" in finding.message
    assert finding.relations == {"orders"}


def test_sessions_of_other_databases_are_theirs() -> None:
    other = frames(blocking=[waiting(7, 8)], sessions=[session(7, database_name="else"), session(8)])
    assert judge("blocked_sessions", other) == ([], [])


def test_hidden_sessions_are_not_examined() -> None:
    hidden = frames(sessions=[session(1, is_hidden=True), session(2)])
    _, [unseen] = judge("idle_transactions", hidden)
    assert "1 of 2" in unseen.reason


def test_what_holds_back_vacuum_is_ranked() -> None:
    holders = frames(
        sessions=[session(5, xmin_age=10, transaction_started_at=NOW - timedelta(hours=2)), session(6, xmin_age=9)],
        prepared_transactions=[
            {"owner_name": "app", "database_name": "shop", "prepared_at": NOW - timedelta(days=2), "xid_age": 3_000_000},
            {"owner_name": "app", "database_name": "else", "prepared_at": NOW - timedelta(days=3), "xid_age": 4_000_000},
        ],
        replication_slots=[
            {"slot_name": "old_replica", "slot_type": "logical", "is_active": False, "catalog_xmin_age": 5_000_000}
        ],
    )
    found, _ = judge("held_back_vacuums", holders)
    assert [finding.subject.kind for finding in found] == ["replication slot", "prepared transaction", "session"]
    assert "decides for all" in found[0].message
    assert "pg_drop_replication_slot('old_replica')" in found[0].remedy


SETTINGS = {
    "autovacuum_vacuum_threshold": "50",
    "autovacuum_vacuum_scale_factor": "0.2",
    "autovacuum_vacuum_max_threshold": "100000000",
    "autovacuum_freeze_max_age": "200000000",
    "autovacuum": "on",
    "track_counts": "on",
}


def settings(**changed: str | None) -> Rows:
    values = SETTINGS | changed
    return [{"setting_name": name, "setting": value} for name, value in values.items() if value is not None]


def table(options: list[str], rows: int, dead: int) -> dict[str, Rows]:
    named = {"relation_oid": "1", "schema_name": "app", "relation_name": "orders"}
    return {
        "relations": [named | {"options": options, "estimated_rows": rows, "kind": "table"}],
        "table_statistics": [named | {"dead_rows": dead, "live_rows": rows, "rows_inserted": rows + dead, "rows_deleted": dead}],
    }


@pytest.mark.parametrize(
    ("options", "rows", "dead", "cap", "is_found"),
    [
        ([], 100_000, 40_000, "100000000", False),
        ([], 100_000, 41_000, "100000000", True),
        (["autovacuum_vacuum_scale_factor=0.5"], 100_000, 41_000, "100000000", False),
        ([], 1_000_000_000, 250_000_000, "100000000", True),
        ([], 1_000_000_000, 250_000_000, None, False),
        (["autovacuum_vacuum_max_threshold=-1"], 1_000_000_000, 250_000_000, "100000000", False),
        (["autovacuum_vacuum_threshold=0", "autovacuum_vacuum_scale_factor=0"], 10, 900, "100000000", False),
    ],
)
def test_the_number_of_dead_rows_autovacuum_waits_for(
    options: list[str], rows: int, dead: int, cap: str | None, is_found: bool
) -> None:
    given = frames(settings=settings(autovacuum_vacuum_max_threshold=cap), **table(options, rows, dead))
    assert bool(judge("unvacuumed_tables", given)[0]) == is_found


def test_switches_of_the_server_that_are_off() -> None:
    found, _ = judge("disabled_autovacuums", frames(settings=settings(autovacuum="off"), relations=[]))
    assert [finding.subject.name for finding in found] == ["autovacuum"]
    assert found[0].remedy == "alter system set autovacuum = on;\nselect pg_catalog.pg_reload_conf()"


@pytest.mark.parametrize(("age", "severity"), [(499e6, None), (500e6, "warning"), (1.2e9, "critical")])
@pytest.mark.parametrize("column", ["frozen_xid_age", "minimum_multixact_age"])
def test_ages_of_databases(column: str, age: float, severity: str | None) -> None:
    found, _ = judge("transaction_id_ages", frames(databases=[{"database_name": "Shop", column: int(age)}], settings=settings()))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_a_freeze_age_set_high_on_purpose_is_respected() -> None:
    high = frames(
        databases=[{"database_name": "shop", "frozen_xid_age": 900_000_000}],
        settings=settings(autovacuum_freeze_max_age="700000000"),
    )
    assert judge("transaction_id_ages", high) == ([], [])


def statement(query_id: str | None, calls: int, total: float, **more: Any) -> dict[str, Any]:
    text = f"select {query_id}" if query_id else None
    times = {"calls": calls, "total_exec_ms": total, "mean_exec_ms": total / calls, "maximum_exec_ms": total}
    seen = {"database_name": "shop", "user_name": "api", "is_hidden": query_id is None}
    return {"query_id": query_id, "statement": text} | times | seen | more


def test_a_load_done_once_does_not_hide_what_dominates() -> None:
    given = frames(statements=[statement("1", 1, 90_000), statement("2", 40, 800), statement("3", 9_000, 900)])
    found, unseen = judge("slow_statements", given)
    assert [finding.subject.name for finding in found] == ["2"]
    assert found[0].message.startswith("select 2 takes "), "by these words the statement is read back (subject_text)"
    assert not unseen


def test_statements_of_several_users_are_one_and_those_of_other_databases_none() -> None:
    given = frames(
        statements=[
            statement("1", 10, 100),
            statement("1", 30, 500, user_name="other"),
            statement("2", 90, 9_000, database_name="else"),
            statement("3", 90, 9_000, is_top_level=False),
            statement(None, 90, 9_000),
        ]
    )
    frame = statements(given)
    assert frame[["query_id", "calls", "mean_exec_ms", "user_count"]].to_numpy().tolist() == [["1", 40, 15.0, 2]]
    found, [unseen] = judge("slow_statements", given)
    assert found[0].evidence == ("statements", (0, 1))
    assert "1 of 3" in unseen.reason


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("select * from app.orders as o where o.a = $1", (("app", "orders", ("a",)),)),
        (
            "select * from a join b on a.id = b.a_id where a.x = $1 and b.y in ($2, $3)",
            ((None, "a", ("x",)), (None, "b", ("y",))),
        ),
        ("update app.t set z = $1 where id = any($2) and lower(q) = $3", (("app", "t", ("id",)),)),
        ("delete from t where k = ?", ((None, "t", ("k",)),)),
        ("select * from t where a > $1", ()),
        ("select * from t where a = b", ()),
        ("COPY …", ()),
    ],
)
def test_columns_a_statement_compares(text: str, columns: object) -> None:
    assert compared_columns(text) == columns


def test_an_index_under_construction_is_not_judged() -> None:
    index = {"schema_name": "app", "index_name": "orders_by_id", "table_name": "orders", "is_valid": False, "is_ready": True}
    lock = {"mode": "ShareUpdateExclusiveLock", "is_granted": True, "schema_name": "app", "relation_name": "orders"}
    found, [unseen] = judge("invalid_indexes", frames(indexes=[index], locks=[lock]))
    assert (found, unseen.subject) == ([], "app.orders_by_id")
    [remnant], _ = judge("invalid_indexes", frames(indexes=[index | {"index_name": "orders_by_id_ccnew"}], locks=[]))
    assert remnant.remedy == "drop index concurrently app.orders_by_id_ccnew"


def test_statistics_that_are_too_young_say_nothing_of_unused_indexes() -> None:
    given = frames(
        indexes=[],
        foreign_keys=[],
        relations=[],
        databases=[{"database_name": "shop", "is_current": True, "statistics_reset_at": NOW - timedelta(days=3)}],
        session=[{"server_started_at": NOW - timedelta(days=30)}],
    )
    found, [unseen] = judge("unused_indexes", given)
    assert (found, "3.0 days" in unseen.reason) == ([], True)


def test_an_unused_index_is_dropped_only_after_a_look_elsewhere() -> None:
    index = {"schema_name": "app", "index_name": "orders_by_note", "table_name": "orders", "table_oid": "1", "scans": 0}
    plain = {"is_unique": False, "is_primary": False, "backs_constraint": False, "is_valid": True, "index_bytes": 10_000_000}
    given = frames(
        indexes=[index | plain | {"column_names": ["note"]}],
        foreign_keys=[],
        relations=[],
        databases=[{"database_name": "shop", "is_current": True, "statistics_reset_at": NOW - timedelta(days=30)}],
        session=[{"server_started_at": NOW - timedelta(days=30)}],
    )
    [finding], _ = judge("unused_indexes", given)
    comment, statement = finding.remedy.splitlines()
    assert comment == "-- after checking replicas and rare jobs:"
    assert statement == "drop index concurrently app.orders_by_note"


def test_words_for_sizes_and_times() -> None:
    assert [shown_bytes(n) for n in (0, 999, 25_500_000, 3e13)] == ["0 bytes", "999 bytes", "25.5 MB", "30.0 TB"]
    assert [shown_seconds(n) for n in (0.26, 119, 3600, 90_000)] == ["0.3 s", "119.0 s", "60 min", "25 h 0 min"]
