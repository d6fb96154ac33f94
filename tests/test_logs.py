"""The log query: DuckDB's rows are held against zetasql, the real GoogleSQL engine, on the same entries."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.collect.logs import ACTIVITY, AUDIT_SCHEMA, audit_tables, log_queries, moment, run_log_query, translated
from kit.collect.masking import masked
from kit.errors import KitError, MissingTier
from kit.evidence.columns import build_frame
from kit.evidence.records import records

DATA = Path(__file__).parent / "data" / "cloud"
SINCE, UNTIL = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = [column.name for column in log_queries()["audit_changes"].columns]
Row = tuple[Any, ...]


class GoogleSql:
    """zetasql, spoken to in its protocol buffers: its Python wrappers lose timestamps and nested values."""

    def __init__(self) -> None:
        import zetasql.core.wasm_client as client
        from wasmtime import Config
        from zetasql.core.local_service import ZetaSqlLocalService

        class CachedConfig(Config):  # type: ignore[misc]
            """Keeps the compiled module between runs: compiling it takes some 15 seconds."""

            def __init__(self) -> None:
                super().__init__()
                self.cache = True

        client.Config = CachedConfig
        self.client = ZetaSqlLocalService.get_instance().wasm_client

    def rows(self, sql: str, name: str, table: pa.Table, since: datetime, until: datetime) -> tuple[list[str], list[Row]]:
        from zetasql.types import LanguageOptions
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
        from zetasql.wasi._pb2.zetasql.public import options_pb2

        language = LanguageOptions.maximum_features().to_proto()
        language.product_mode = options_pb2.PRODUCT_EXTERNAL  # the type names that BigQuery knows
        request = service.EvaluateQueryRequest(sql=sql)
        request.options.language_options.CopyFrom(language)
        request.options.default_timezone = "UTC"
        for key, value in (("since", since), ("until", until)):
            request.options.query_parameters.add(name=key).type.CopyFrom(_type(pa.timestamp("us")))
            request.params.add(name=key).value.CopyFrom(_value(value, pa.timestamp("us")))
        request.simple_catalog.name = "log"
        request.simple_catalog.builtin_function_options.language_options.CopyFrom(language)
        return self._evaluated(request, name, table)

    def _evaluated(self, request: Any, name: str, table: pa.Table) -> tuple[list[str], list[Row]]:
        from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service

        declared = request.simple_catalog.table.add(name=name)
        for field in table.schema:
            declared.column.add(name=field.name).type.CopyFrom(_type(field.type))
        content = request.table_content[name].table_data
        content.SetInParent()
        for row in table.to_pylist():
            content.row.add().cell.extend(_value(row[field.name], field.type) for field in table.schema)
        answer = self.client.call_grpc_func("ZetaSqlLocalService_EvaluateQuery", request, service.EvaluateQueryResponse)
        rows = [tuple(_plain(cell) for cell in row.cell) for row in answer.content.table_data.row]
        return [column.name for column in answer.prepared.columns], rows


def _type(arrow: pa.DataType) -> Any:
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    proto = type_pb2.TypeProto()
    if pa.types.is_struct(arrow):
        proto.type_kind = type_pb2.TYPE_STRUCT
        for field in arrow:
            proto.struct_type.field.add(field_name=field.name).field_type.CopyFrom(_type(field.type))
    elif pa.types.is_list(arrow):
        proto.type_kind = type_pb2.TYPE_ARRAY
        proto.array_type.element_type.CopyFrom(_type(arrow.value_type))
    else:
        kinds = {"string": "STRING", "int64": "INT64", "bool": "BOOL"}
        proto.type_kind = type_pb2.TypeKind.Value(f"TYPE_{kinds.get(str(arrow), 'TIMESTAMP')}")
    return proto


def _value(value: Any, arrow: pa.DataType) -> Any:
    from zetasql.wasi._pb2.zetasql.public import value_pb2

    proto = value_pb2.ValueProto()
    if value is None:
        return proto
    if pa.types.is_struct(arrow):
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(_value(value[field.name], field.type) for field in arrow)
    elif pa.types.is_list(arrow):
        proto.array_value.SetInParent()
        proto.array_value.element.extend(_value(item, arrow.value_type) for item in value)
    elif pa.types.is_timestamp(arrow):
        proto.timestamp_value.FromDatetime(value)
    else:
        setattr(proto, {"string": "string_value", "int64": "int64_value", "bool": "bool_value"}[str(arrow)], value)
    return proto


def _plain(cell: Any) -> Any:
    kind = cell.WhichOneof("value")
    if kind == "timestamp_value":
        return cell.timestamp_value.ToDatetime(tzinfo=UTC)
    return None if kind is None else getattr(cell, kind)


@pytest.fixture(scope="session")
def google_sql() -> GoogleSql:
    pytest.importorskip("zetasql", reason="zetasql, the GoogleSQL engine, is a development extra")
    return GoogleSql()


def entries(*parts: str) -> list[dict[str, Any]]:
    return list(json.loads(DATA.joinpath(*parts).read_bytes()))


def duckdb_rows(items: list[dict[str, Any]], since: datetime = SINCE, until: datetime = UNTIL) -> list[Row]:
    return [tuple(row.values()) for row in records(run_log_query("audit_changes", audit_tables(items), since, until))]


def google_rows(engine: GoogleSql, items: list[dict[str, Any]]) -> list[Row]:
    query = log_queries()["audit_changes"]
    names, rows = engine.rows(query.sql, ACTIVITY, audit_tables(items)[ACTIVITY], SINCE, UNTIL)
    assert names == COLUMNS
    frame = build_frame(query.columns, masked(query.columns, [tuple(row) for row in rows]))
    return [tuple(row.values()) for row in records(frame)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("folder", ["healthy", "incident_d", "shapes"])
def test_duckdb_returns_what_googlesql_returns(google_sql: GoogleSql, folder: str) -> None:
    items = entries(folder, "audit.json")
    rows = duckdb_rows(items)
    assert rows == google_rows(google_sql, items)
    assert rows


_TEXTS = st.sampled_from(["", "a", "A/b", "a.b/c", "x/", "é", "ADD", "REMOVE", "roles/owner", "SetIamPolicy", "a\r\n", "1\x00"])
_METHODS = st.sampled_from(
    [
        "google.cloud.run.v1.Services.ReplaceService",
        "google.cloud.run.v2.Jobs.UpdateJob",
        "SetIamPolicy",
        "cloudsql.users.x",
        "/a/",
        "",
    ]
)
_DELTAS = st.lists(st.fixed_dictionaries({}, optional={"action": _TEXTS, "role": _TEXTS, "member": _TEXTS}), max_size=3)
# No fractions: DuckDB spells 1e+16 as 10000000000000000.0, and no image is a number.
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)
_IMAGE = st.builds(lambda image: {"service": {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}}, _JSON)
_PAYLOADS = st.fixed_dictionaries(
    {"methodName": _METHODS, "serviceName": st.sampled_from(["run.googleapis.com", "iam.googleapis.com", ""])},
    optional={
        "resourceName": _TEXTS,
        "request": _IMAGE | _JSON,
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(-1, 2**40), "message": st.text()}),
        "serviceData": st.fixed_dictionaries({"policyDelta": st.fixed_dictionaries({"bindingDeltas": _DELTAS})}),
    },
)
_ENTRIES = st.fixed_dictionaries(
    {
        "insertId": st.sampled_from(["a", "b", "c", "d"]),
        "timestamp": st.sampled_from(
            ["2025-06-01T00:00:00Z", "2025-06-01T00:00:00.000001Z", "2024-12-31T23:59:59Z", "2026-01-01T00:00:00Z"]
        ),
        "protoPayload": _PAYLOADS,
    },
    optional={"operation": st.fixed_dictionaries({"id": st.sampled_from(["1", "2"]), "producer": st.just("p")})},
)


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=st.lists(_ENTRIES, max_size=5, unique_by=lambda entry: (entry["insertId"], entry["timestamp"])))
def test_duckdb_agrees_with_googlesql_on_any_entries(google_sql: GoogleSql, items: list[dict[str, Any]]) -> None:
    def order(row: Row) -> str:
        return repr(row)

    assert sorted(duckdb_rows(items), key=order) == sorted(google_rows(google_sql, items), key=order)


def test_one_row_per_change() -> None:
    found = [
        (row[COLUMNS.index("entry_id")], row[COLUMNS.index("kind")], row[COLUMNS.index("status_code")])
        for row in duckdb_rows(entries("incident_d", "audit.json"))
    ]
    assert found == [
        ("1f0aa1e1", "iam grant", 7),
        ("2b7c01a1", "deploy", None),
        ("2b7c01a2", "deploy", None),
        ("2b7c01a3", "deploy", None),
        ("1f0aa1e2", "iam grant", None),
        ("1f0aa1e2", "iam grant", None),
        ("3c11", "secret version", None),
        ("4d21", "restart", 9),
        ("2b7c01a4", "deploy", None),
    ]


def test_a_row_is_what_the_entry_says() -> None:
    row = dict(zip(COLUMNS, duckdb_rows(entries("healthy", "audit.json"))[0], strict=True))
    assert row == {
        "at": datetime(2025, 6, 9, 6, 0, tzinfo=UTC),
        "entry_id": "a1",
        "actor": "dana@example.com",
        "api": "cloudresourcemanager.googleapis.com",
        "method": "SetIamPolicy",
        "resource": "projects/orders-prod",
        "kind": "iam grant",
        "summary": "roles/cloudsql.client granted to serviceAccount:web-runtime@orders-prod.iam.gserviceaccount.com",
        "status_code": None,
        "status_message": None,
        "role": "roles/cloudsql.client",
        "member": "serviceAccount:web-runtime@orders-prod.iam.gserviceaccount.com",
    }


def test_an_insert_id_is_unique_only_together_with_its_time() -> None:
    first = entries("healthy", "audit.json")[0]
    again = {**first, "timestamp": "2025-06-10T07:29:59Z"}
    assert len(duckdb_rows([first, again, first])) == 2


@pytest.mark.parametrize("request_", [{"x": float("inf")}, {"x": "\ud800"}, {"x": 1 << 4000}])
def test_a_request_that_json_cannot_spell_costs_no_other_row(request_: Any) -> None:
    first, *others = entries("healthy", "audit.json")
    odd = {
        **first,
        "insertId": "odd",
        "protoPayload": {**first["protoPayload"], "request": request_, "status": {"code": 1 << 70}},
    }
    assert len(duckdb_rows([odd, first, *others])) == len(others) + 2


def test_the_window_takes_since_and_leaves_until() -> None:
    items = entries("incident_d", "audit.json")
    grant, next_change = (datetime(2025, 6, 3, 10, 42, 48, 30117, UTC), datetime(2025, 6, 3, 10, 50, 19, 774001, UTC))
    assert [row[COLUMNS.index("entry_id")] for row in duckdb_rows(items, grant, next_change)] == ["1f0aa1e2"] * 2


def test_no_entries_give_an_empty_frame_of_the_declared_columns() -> None:
    frame = run_log_query("audit_changes", audit_tables([]), SINCE, UNTIL)
    assert (list(frame.columns), len(frame)) == (COLUMNS, 0)


def test_entries_of_other_logs_stay_out() -> None:
    other = {
        **entries("healthy", "audit.json")[0],
        "logName": "projects/p/logs/cloudaudit.googleapis.com%2Fsystem_event",
    }
    assert audit_tables([other])[ACTIVITY] == pa.Table.from_pylist([], schema=AUDIT_SCHEMA)


def test_times_are_cut_below_the_microsecond() -> None:
    assert moment("2025-06-04T11:21:00.123456789+02:00") == datetime(2025, 6, 4, 9, 21, 0, 123456, UTC)
    assert [moment(value) for value in (None, 7, "", "soon", "2025-13-01T00:00:00Z")] == [None] * 5


def test_a_missing_table_is_a_kit_error_without_the_log_in_it() -> None:
    with pytest.raises(KitError, match=r"The log query audit_changes failed in DuckDB \(CatalogException\)"):
        run_log_query("audit_changes", {}, SINCE, UNTIL)


@pytest.mark.parametrize("package", ["duckdb", "sqlglot", "pytz"])
def test_without_the_extra_the_tier_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    translated.cache_clear()
    with pytest.raises(MissingTier) as caught:
        run_log_query("audit_changes", audit_tables([]), SINCE, UNTIL)
    assert caught.value.hint == "pip install 'incident-kit[report]'"


def test_duckdb_reaches_nothing_outside() -> None:
    import duckdb

    from kit.collect.logs import _closed_connection

    with _closed_connection(duckdb, {}) as connection:
        for sql in ("select * from read_text('/etc/hostname')", "install httpfs", "set enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)
        found = connection.execute(
            "select current_setting('autoinstall_known_extensions'), current_setting('autoload_known_extensions')"
        )
        assert found.fetchone() == (False, False)
