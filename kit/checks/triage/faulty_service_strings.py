"""Connection strings of deployed services that do not say what was meant.

What it shows: what `kit dsn` finds in the connection strings that stand as literal values in a service's template: a scheme
or a driver that no reader takes, localhost in a service of one container, a path in the place of the database's name, a bad
port, a missing database, a password in the query string, a SQLite database where nothing else leads to PostgreSQL. What is
invisible in them, and the names of instances and IAM users, are in other checks.

Why it matters: the string decides everything after it, and nobody reads it again once it is deployed. A service that fell
back to SQLite starts and answers its health check.

What to do: write the string as the finding says, put it into a secret, and deploy.

Known limits: an export holds the string without its password; a string in a secret is not seen: give it to `kit dsn`. Who
reads the string is guessed from its form, so that what only some readers refuse is a warning, or left out.

References: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING and
https://cloud.google.com/sql/docs/postgres/connect-run
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kit.analyze.cloud.connections import DATABASE_NAME, Connection, connections
from kit.analyze.cloud.scope import in_force, name_of, place
from kit.analyze.dsn import examine
from kit.analyze.dsn.findings import DsnFinding, reader_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("environment", "runtime_settings")
SEVERITIES = ("critical", "warning")
EXPLAINS = ("08001", "08006", "28P01", "28000", "3D000")
SOURCE = "cloud"

# Other checks hold these against what was exported.
_ELSEWHERE = frozenset(
    """cloudsql_paths zones_for_regions other_instances long_socket_paths invisible_characters wrapping_quotes
    surrounding_spaces final_line_ends iam_user_names""".split()
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each problem of each literal connection string."""
    found = [connection for connection in connections(frames) if connection.reading is not None]
    for connection in found:
        if _is_for_postgres(connection) or _is_a_fallback(frames, connection, found):
            yield Examined(1)
            yield from (_finding(connection, problem) for problem in _problems(frames, connection))
    for _, row in in_force(frames, "environment"):
        if row["value_shape"] == "connection string" and row["shown_value"] is None:
            reason = "where its password ends cannot be told, so nothing of it was kept: give it to `kit dsn`"
            yield NotExamined(f"{name_of(row)} {row['variable_name']}", reason)


def _is_for_postgres(found: Connection) -> bool:
    return found.reading is not None and found.reading.is_postgres


def _is_a_fallback(frames: Frames, found: Connection, others: Iterable[Connection]) -> bool:
    """Return whether a SQLite database stands where the service has nothing else that leads to its database."""
    if found.reading is None or found.reading.form != "sqlite" or not DATABASE_NAME.search(found.variable):
        return False
    service = found.row["service_name"]
    hidden = [row for _, row in in_force(frames, "environment") if row["value_kind"] == "secret"]
    has_hidden = any(row["service_name"] == service and DATABASE_NAME.search(row["variable_name"]) for row in hidden)
    return not has_hidden and not any(_is_for_postgres(one) for one in others if one.row["service_name"] == service)


def _problems(frames: Frames, found: Connection) -> Iterator[DsnFinding]:
    if found.reading is None:
        return
    _, is_reader_known = reader_of(found.reading, None)
    for problem in examine(found.text, in_container=_is_alone(frames, found)).findings:
        is_guess = problem.check == "unknown_parameters" and not is_reader_known
        if problem.severity != "info" and problem.check not in _ELSEWHERE and not is_guess:
            yield problem


def _is_alone(frames: Frames, found: Connection) -> bool:
    """Return whether the service has one container: beside another, localhost may well be a proxy."""
    own = [row for _, row in in_force(frames, "runtime_settings") if row["service_name"] == found.row["service_name"]]
    return any(row["setting"] == "containers" and row["value"] == "1" for row in own)


def _finding(found: Connection, problem: DsnFinding) -> Finding:
    service = name_of(found.row)
    return Finding(
        severity=problem.severity,
        subject=Subject("setting", f"{service} {found.variable} {problem.check}"),
        message=f"{found.variable} of service {service}: {problem.message} {place(found.row, 'value')}",
        remedy=problem.remedy,
        evidence=rows([found.position], "environment"),
    )
