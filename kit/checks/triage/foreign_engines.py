"""Instances that are not the PostgreSQL a service expects.

What it shows: instances of MySQL or SQL Server that a service reaches with a PostgreSQL connection string, or that are the
only one it has attached and whose string is not seen; and, as information, versions older than the project supports.

Why it matters: a client of another protocol fails at the first bytes, or waits for a greeting until it gives up, which
reads like a network's fault. A guess that "it is MySQL" is settled by one field of the export.

What to do: attach the instance that is meant, or use the driver of the engine that is there.

Known limits: the engine is what the export says; a server behind a private address is not asked.

References: https://cloud.google.com/sql/docs/postgres/db-versions and https://www.postgresql.org/support/versioning/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kit.analyze.cloud.connections import connections
from kit.analyze.cloud.scope import in_force, name_of, place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("sql_instances",)
SEVERITIES = ("critical", "info")
EXPLAINS = ("08001", "08006", "08P01")
SOURCE = "cloud"
THRESHOLDS = (
    Threshold(
        name="oldest_major_version",
        default=13,
        unit="major version",
        reason="the oldest that the kit's fact queries are measured on",
        source="https://www.postgresql.org/support/versioning/",
    ),
)
Record = Mapping[str, Any]
_VERSION = re.compile(r"([A-Z]+)_(\d+)(?:_(\d+))?.*")
_SCHEMES = {
    "postgresql": "POSTGRES",
    "postgres": "POSTGRES",
    "mysql": "MYSQL",
    "mariadb": "MYSQL",
    "sqlserver": "SQLSERVER",
    "mssql": "SQLSERVER",
}


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each instance of another engine than its service speaks."""
    for position, row in rows_of(frames, "sql_instances"):
        found = _VERSION.fullmatch(row["database_version"] or "")
        if found is None:
            yield NotExamined(row["connection_name"] or "unnamed instance", "the export does not say which engine it is")
            continue
        yield Examined(1, f"{row['connection_name']} is {row['database_version']}")
        expected = _expected(frames, row["connection_name"])
        if expected and expected[0] != found[1]:
            yield _finding(position, row, *expected)
        elif found[1] == "POSTGRES" and int(found[2]) < thresholds["oldest_major_version"]:
            yield _old(position, row, int(found[2]), thresholds["oldest_major_version"])


def _expected(frames: Frames, instance: str | None) -> tuple[str, str] | None:
    """Return (engine, by whom) that a service expects of the instance; None where nobody uses it alone."""
    for connection in connections(frames) if "environment" in frames else []:
        engine = _SCHEMES.get((connection.scheme or "").partition("+")[0])
        if engine and (connection.instance or "").strip() == instance:
            return engine, f"{connection.variable} of service {name_of(connection.row)}"
    attached: dict[str, set[str]] = {}
    for _, row in in_force(frames, "instance_references"):
        attached.setdefault(name_of(row), set()).add(row["instance_name"].strip())
    alone = [service for service, names in attached.items() if names == {instance}]
    # What is looked at with this kit is a PostgreSQL database.
    return ("POSTGRES", f"service {alone[0]}") if alone else None


def _finding(position: int, row: Record, engine: str, who: str) -> Finding:
    return Finding(
        severity="critical",
        subject=Subject("instance", row["connection_name"] or ""),
        message=f"Instance {row['connection_name']} is {row['database_version']}, and {who} expects {engine}. "
        f"{place(row, 'databaseVersion')}",
        remedy="Attach the instance that is meant, or use the driver of the engine that is there.",
        evidence=rows([position], "sql_instances"),
    )


def _old(position: int, row: Record, major: int, oldest: float) -> Finding:
    return Finding(
        severity="info",
        subject=Subject("instance", row["connection_name"] or ""),
        message=f"Instance {row['connection_name']} is {row['database_version']}, older than {oldest:.0f}. "
        f"{place(row, 'databaseVersion')}",
        remedy="Plan the upgrade to a supported major version.",
        evidence=rows([position], "sql_instances"),
        value=float(major),
        threshold=oldest,
        unit="major version",
    )
