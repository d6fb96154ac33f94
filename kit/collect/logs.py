"""Log queries: written once in BigQuery's dialect, run here on local files through sqlglot and DuckDB.

A log store's sink gives each log a table; `audit_tables` lays the entries that `gcloud logging read
--format=json` prints out as the sink would, so that the same text runs on either. The schema is spelled out,
not inferred: a dataset that never saw an IAM change has no column for it, and a query must not depend on that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pandas as pd
import pyarrow as pa

from kit.collect.masking import masked
from kit.collect.queries import SQL_FOLDER, FactQuery, parse
from kit.collect.secrecy import Secrecy
from kit.errors import KitError, MissingTier
from kit.evidence.columns import build_frame

ACTIVITY = "cloudaudit_googleapis_com_activity"


def _struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


_TEXT, _MOMENT = pa.string(), pa.timestamp("us", tz="UTC")
_DELTA = _struct(action=_TEXT, role=_TEXT, member=_TEXT)
_LABELS = ("project_id", "service_name", "revision_name", "location", "database_id", "region", "secret_id")
_AUDIT = _struct(
    serviceName=_TEXT,
    methodName=_TEXT,
    resourceName=_TEXT,
    requestJson=_TEXT,
    responseJson=_TEXT,
    authenticationInfo=_struct(principalEmail=_TEXT),
    status=_struct(code=pa.int64(), message=_TEXT),
    servicedata_v1_iam=_struct(policyDelta=_struct(bindingDeltas=pa.list_(_DELTA))),
)
# The columns of the sink's table that the kit's queries read, under the sink's names.
AUDIT_SCHEMA = pa.schema(
    [
        ("timestamp", _MOMENT),
        ("receiveTimestamp", _MOMENT),
        ("insertId", _TEXT),
        ("logName", _TEXT),
        ("severity", _TEXT),
        ("resource", _struct(type=_TEXT, labels=_struct(**dict.fromkeys(_LABELS, _TEXT)))),
        ("operation", _struct(id=_TEXT, producer=_TEXT, first=pa.bool_(), last=pa.bool_())),
        ("protopayload_auditlog", _AUDIT),
    ]
)


@cache
def log_queries() -> Mapping[str, FactQuery]:
    """Return the log queries by name; their SQL is GoogleSQL with the parameters @since and @until."""
    return {query.name: query for query in map(parse, sorted((SQL_FOLDER / "logs").glob("*.sql")))}


def run_log_query(name: str, tables: Mapping[str, pa.Table], since: datetime, until: datetime) -> pd.DataFrame:
    """Return the rows of the log query `name` over `tables`, for `since` <= time < `until`, as declared columns.

    Raises MissingTier without DuckDB or sqlglot, and KitError when DuckDB refuses the query or a table is missing.
    """
    query = log_queries()[name]
    duckdb = _duckdb()
    try:
        with _closed_connection(duckdb, tables) as connection:
            answer = connection.execute(translated(name), {"since": since, "until": until})
            return Secrecy().frame(build_frame(query.columns, masked(query.columns, answer.fetchall())), query.columns)
    except duckdb.Error as error:
        # The message may quote a value of the log, so only its kind is told.
        raise KitError(f"The log query {name} failed in DuckDB ({type(error).__name__}).") from None


@cache
def translated(name: str) -> str:
    """Return the log query `name` in DuckDB's dialect; MissingTier without sqlglot."""
    try:
        import sqlglot
    except ImportError as error:
        raise _missing() from error
    return str(sqlglot.transpile(log_queries()[name].sql, read="bigquery", write="duckdb")[0])


def audit_tables(entries: Iterable[Mapping[str, Any]]) -> dict[str, pa.Table]:
    """Return the sink's table of Admin Activity, made from log entries as gcloud prints them.

    Entries of other logs are left out; what an entry lacks, or holds in another type, is NULL.
    """
    rows = [_audit_row(entry) for entry in entries if is_activity(entry)]
    return {ACTIVITY: pa.Table.from_pylist(rows, schema=AUDIT_SCHEMA)}


def is_activity(entry: Mapping[str, Any]) -> bool:
    """Return whether this log entry is an audit entry of the Admin Activity log."""
    name = entry.get("logName")
    return isinstance(entry.get("protoPayload"), dict) and (name is None or str(name).endswith("%2Factivity"))


def moment(value: Any) -> datetime | None:
    """Return an RFC 3339 time in UTC (digits below the microsecond are cut); None for anything else."""
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _duckdb() -> Any:
    try:
        import duckdb
        import pytz  # noqa: F401  DuckDB returns no TIMESTAMPTZ without it
    except ImportError as error:
        raise _missing() from error
    return duckdb


def _missing() -> MissingTier:
    return MissingTier("Reading log exports needs DuckDB and sqlglot.", "pip install 'incident-kit[report]'")


def _closed_connection(duckdb: Any, tables: Mapping[str, pa.Table]) -> Any:
    connection = duckdb.connect(
        ":memory:",
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
    )
    for name, table in tables.items():
        connection.register(name, table)
    for setting in ("TimeZone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def _audit_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    payload = entry["protoPayload"]
    operation, resource = _record(entry, "operation"), _record(entry, "resource")
    return {
        "timestamp": moment(entry.get("timestamp")) or moment(entry.get("receiveTimestamp")),
        "receiveTimestamp": moment(entry.get("receiveTimestamp")),
        **_texts(entry, "insertId", "logName", "severity"),
        "resource": {**_texts(resource, "type"), "labels": _texts(_record(resource, "labels"), *_LABELS)},
        "operation": {**_texts(operation, "id", "producer"), **_flags(operation, "first", "last")},
        "protopayload_auditlog": _payload(payload),
    }


def _payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    status = _record(payload, "status")
    return {
        **_texts(payload, "serviceName", "methodName", "resourceName"),
        "requestJson": _json(payload.get("request")),
        "responseJson": _json(payload.get("response")),
        "authenticationInfo": _texts(_record(payload, "authenticationInfo"), "principalEmail"),
        "status": {"code": _code(status.get("code")), **_texts(status, "message")},
        "servicedata_v1_iam": {"policyDelta": {"bindingDeltas": _deltas(payload)}},
    }


def _deltas(payload: Mapping[str, Any]) -> list[dict[str, str | None]]:
    # Older services put the delta under serviceData, newer ones under metadata.
    places = (_record(_record(payload, key), "policyDelta") for key in ("serviceData", "metadata"))
    found = next((items for place in places if isinstance(items := place.get("bindingDeltas"), list)), [])
    return [_texts(item, "action", "role", "member") for item in found if isinstance(item, dict)]


def _record(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _texts(value: Mapping[str, Any], *keys: str) -> dict[str, str | None]:
    return {key: _text(value.get(key)) for key in keys}


def _text(value: Any) -> str | None:
    # A lone surrogate, which JSON may spell, is no UTF-8; it becomes a question mark.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _flags(value: Mapping[str, Any], *keys: str) -> dict[str, bool | None]:
    return {key: value[key] if isinstance(value.get(key), bool) else None for key in keys}


def _code(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _json(value: Any) -> str | None:
    try:
        return None if value is None else _text(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None
