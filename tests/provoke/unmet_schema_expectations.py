"""An expected schema against a database whose migration did not run."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kit.analyze.schema.evidence import NAME, expected_evidence
from kit.analyze.schema.file import parse_file
from kit.sandbox.server import Server

EXPECTED = """
extensions = ["pg_stat_statements"]

[tables."expected.sessions"]
columns.session_id = "bigint not null"
columns.platform_id = "text"
columns.note = "text"
indexes = ["(session_id)"]

[tables."expected.there"]
columns.name = "text"
"""


@contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        "create schema expected; create table expected.sessions (session_id bigint not null, note text not null default '');"
        "create table expected.there (name text)",
        database,
    )
    yield {
        "extra": {NAME: expected_evidence(parse_file(EXPECTED, "expected.toml"), datetime.now(UTC))},
        "expected": [
            "unmet_schema_expectations:column:sessions.platform_id",
            "unmet_schema_expectations:extension:pg_stat_statements",
            'unmet_schema_expectations:index:sessions."(session_id)"',
        ],
        "absent": ["unmet_schema_expectations:column:there.name", "unmet_schema_expectations:column:sessions.session_id"],
    }
