"""A capture harms nobody: what it sends, what it leaves behind, and what it says of what it could not see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import pglast
import pytest
import sqlalchemy as sa
from pglast import ast

from kit.analyze.document import FindingsDocument, ResultEntry
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.collect import asking, connection
from kit.collect.connection import open_database
from kit.collect.queries import GROUPS, elsewhere_queries, fact_queries
from kit.evidence.model import Capture, Source
from kit.sandbox.server import Server
from kit.target import resolve
from tests.conftest import Staged, staged_shop

LOGGED = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_line_prefix": "%m|%u|",
    "autovacuum": "off",
}
ENTRY = re.compile(r"^(?P<at>\d{4}-\d\d-\d\d [\d:.]+) UTC\|(?P<user>[^|]*)\|LOG:  (?P<words>.*)", re.DOTALL)
CONTROL = re.compile(
    r"BEGIN READ ONLY|COMMIT|ROLLBACK|(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) sa_savepoint_\d+"
    r"|set /\* incident-kit limits \*/ local lock_timeout = '100ms'"
)
MARKER = re.compile(r"(?:select|with) /\* incident-kit ([a-z_-]+) \*/ ", re.IGNORECASE)


@dataclass(frozen=True)
class Sent:
    """One statement as the server's log has it."""

    at: datetime
    protocol: str
    text: str

    @property
    def mark(self) -> str | None:
        found = MARKER.match(self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Logged:
    """A capture, and everything that the server says was sent for it."""

    capture: Capture
    sent: list[Sent]

    @property
    def queries(self) -> list[Sent]:
        return [sent for sent in self.sent if not CONTROL.fullmatch(sent.text)]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged_shop(tmp_path_factory.mktemp("exports"), settings=LOGGED) as staged:
        staged.server.create_database("private")
        staged.server.execute("create role plain login; grant connect on database shop to plain")
        staged.server.execute("create role peeping login; grant connect on database shop to peeping")
        staged.server.execute("revoke connect on database private from public")
        yield staged


@pytest.fixture(scope="module")
def logged(quiet: Staged) -> Logged:
    start = quiet.server.log_file.stat().st_size
    capture = collected(resolve(quiet.shop.kit_dsn))
    with quiet.server.log_file.open(encoding="utf-8") as file:
        file.seek(start)
        return Logged(capture, _sent(file.read(), "incident_kit"))


def test_every_statement_of_a_capture_is_a_select_or_controls_its_transaction(logged: Logged) -> None:
    assert len(logged.sent) > len(fact_queries())
    for sent in logged.queries:
        assert _is_pure_select(sent.text), sent.text


def test_every_query_goes_unnamed_through_the_extended_protocol(logged: Logged) -> None:
    assert {sent.protocol for sent in logged.queries} == {"execute <unnamed>"}
    assert {sent.protocol for sent in logged.sent} <= {"execute <unnamed>", "statement"}


def test_every_query_carries_the_marker_with_its_name(logged: Logged) -> None:
    marks = [sent.mark for sent in logged.queries]

    assert None not in marks
    assert set(marks) == {*fact_queries(), *elsewhere_queries(), "limits", "migrations_prisma"}


def test_the_session_is_recorded_before_anything_is_set(logged: Logged) -> None:
    marks = [sent.mark for sent in logged.queries]

    setting = [number for number, sent in enumerate(logged.sent) if re.match("set|.*set_config", sent.text)]
    assert logged.sent[0].text == "BEGIN READ ONLY"
    assert marks[:3] == ["session", "settings", "limits"]
    assert logged.sent[setting[0] - 2].text == "COMMIT"
    assert [sent.mark for sent in logged.sent[: setting[0]] if sent.mark] == ["session", "settings"]


def test_every_setting_ends_with_its_transaction(logged: Logged) -> None:
    calls = [call for sent in logged.sent for call in _calls(sent.text) if call.funcname[-1].sval == "set_config"]

    assert calls
    assert all(call.args[2].val.boolval is True for call in calls)
    assert not any(re.match(r"set(?! /\*.*\*/ local)|reset|discard", sent.text, re.IGNORECASE) for sent in logged.sent)


def test_every_transaction_ends_within_ten_seconds(logged: Logged) -> None:
    lengths = [(end - begin).total_seconds() for begin, end in _transactions(logged.sent)]

    assert len(lengths) > len(GROUPS)
    assert max(lengths) < asking.TRANSACTION_SECONDS


def test_a_query_that_begins_late_can_still_end_within_the_transaction() -> None:
    assert asking.BEGIN_SECONDS + connection.STATEMENT_SECONDS <= asking.TRANSACTION_SECONDS
    assert connection.UNSET_SECONDS + connection.CANCEL_SECONDS <= asking.TRANSACTION_SECONDS


def test_what_no_longer_fits_into_a_transaction_gets_one_of_its_own(quiet: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BEGIN_SECONDS", 0.0)
    start = quiet.server.log_file.stat().st_size

    source = collected(resolve(quiet.shop.kit_dsn)).sources[0]

    sent = _sent(quiet.server.log_file.read_bytes()[start:].decode(), "incident_kit")
    assert set(fact_queries()) <= set(source.evidence)
    assert list(source.evidence["other_databases"].frame["status"]) == ["read", "refused"]
    assert len(_transactions(sent)) == len(fact_queries()) + len(["the probe"]) + len(["session", "relations", "ledgers"])


def test_the_cost_counts_every_statement_that_was_sent(logged: Logged) -> None:
    assert logged.capture.cost.statements == len(logged.sent)


def test_a_capture_of_a_quiet_server_takes_no_transaction_id(quiet: Staged) -> None:
    before = _next_transaction_id(quiet.server)

    collected(resolve(quiet.server.dsn("shop")))

    assert _next_transaction_id(quiet.server) == before
    quiet.server.execute("select pg_current_xact_id()")
    assert _next_transaction_id(quiet.server) == before + 1


def test_a_second_command_in_one_text_is_refused(server: Server, database: str) -> None:
    with open_database(server.dsn(database), 30) as opened:
        with pytest.raises(sa.exc.ProgrammingError, match="multiple commands"), opened.transaction():
            opened.execute("select 1; commit; create table planted ()")
        with pytest.raises(sa.exc.ProgrammingError, match="multiple commands"), opened.transaction(settings=False):
            opened.execute("select 1; commit; create table planted ()")

    assert server.execute("select to_regclass('planted')", database) == [(None,)]


@pytest.mark.parametrize("settings", [True, False])
def test_a_write_is_refused(server: Server, database: str, settings: bool) -> None:
    with (
        open_database(server.dsn(database), 30) as opened,
        pytest.raises(sa.exc.InternalError, match="read-only transaction"),
        opened.transaction(settings=settings),
    ):
        opened.execute("create table planted ()")

    assert server.execute("select to_regclass('planted')", database) == [(None,)]


def test_nothing_is_prepared_on_the_connection(server: Server, database: str) -> None:
    with open_database(server.dsn(database), 30) as opened, opened.transaction():
        for _ in range(10):
            opened.execute("select 1")
        prepared = opened.execute("select name from pg_catalog.pg_prepared_statements")

    assert prepared == []


def test_the_limits_hold_in_a_transaction_and_are_gone_after_it(server: Server, database: str) -> None:
    with open_database(server.dsn(database), 30) as opened:
        with opened.transaction(settings=False):
            before = _settings(opened)
        with opened.transaction():
            inside = _settings(opened)
        with opened.transaction(settings=False):
            after = _settings(opened)

    assert after == before
    assert {name for name, value in inside.items() if before[name] != value} == {*connection.LOCAL_SETTINGS}
    assert inside["search_path"] == ""
    assert inside["lock_timeout"] == "100"


def test_the_texts_of_others_that_pg_stat_statements_hides_are_marked(quiet: Staged) -> None:
    quiet.server.execute("grant usage on schema extensions to peeping", "shop")

    frame = _capture_as(quiet, "peeping").sources[0].evidence["statements"].frame

    assert frame["is_hidden"].any()
    assert frame.loc[frame["is_hidden"], "statement"].isna().all()


@pytest.mark.parametrize("user", ["plain", "incident_kit", "postgres"])
def test_what_a_role_may_not_see_is_a_gap_or_marked_as_hidden(quiet: Staged, user: str) -> None:
    source = _capture_as(quiet, user).sources[0]

    assert set(fact_queries()) <= set(source.evidence) | set(source.gaps)
    assert not set(source.evidence) & set(source.gaps)
    sessions = source.evidence["sessions"].frame
    assert bool(sessions["is_hidden"].any()) is (user == "plain")
    assert sessions.loc[sessions["is_hidden"], "statement"].isna().all()
    assert set(source.gaps) == (_HIDDEN_FROM_PLAIN if user == "plain" else set())


def test_the_values_that_a_plain_role_does_not_get_are_empty_and_not_zero(quiet: Staged) -> None:
    plain, superuser = (_capture_as(quiet, user).sources[0] for user in ("plain", "postgres"))

    assert _missing(superuser, "databases", "database_bytes") == ["template0"]
    assert _missing(plain, "databases", "database_bytes") == ["private", "template0"]
    assert plain.evidence["column_widths"].frame["visible_column_count"].max() == 0
    assert superuser.evidence["column_widths"].frame["visible_column_count"].min() > 0


def test_a_plain_role_never_reports_clean_what_a_superuser_finds_broken(quiet: Staged) -> None:
    superuser, plain = (_judged_as(quiet, user) for user in ("postgres", "plain"))
    seen = {finding.fingerprint for _, finding in plain.findings()}
    missing = [(result.check, finding) for result, finding in superuser.findings() if finding.fingerprint not in seen]

    assert missing
    for check, finding in missing:
        result = _result(plain, check)
        assert result.status in ("skipped", "failed") or result.not_examined, finding.fingerprint


def test_a_member_of_pg_monitor_that_reads_all_data_finds_what_a_superuser_finds(quiet: Staged) -> None:
    superuser, monitor = (_judged_as(quiet, user) for user in ("postgres", "incident_kit"))

    assert {f.fingerprint for _, f in monitor.findings()} == {f.fingerprint for _, f in superuser.findings()}


_HIDDEN_FROM_PLAIN = {"settings:hidden", "statements", "statements_info", "migrations:auth._prisma_migrations"}


def _sent(log: str, user: str) -> list[Sent]:
    entries = [ENTRY.match(entry) for entry in re.split(r"\n(?!\t)", log)]
    found = []
    for entry in entries:
        protocol, colon, text = entry["words"].partition(": ") if entry and entry["user"] == user else ("", "", "")
        if colon and protocol.startswith(("statement", "execute", "fastpath")):
            found.append(Sent(datetime.fromisoformat(f"{entry['at']}+00:00"), protocol, text.strip()))
    return found


def _is_pure_select(text: str) -> bool:
    statements = pglast.parse_sql(text)
    if len(statements) != 1 or not isinstance(statements[0].stmt, ast.SelectStmt):
        return False
    nodes = _nodes(statements[0].stmt)
    writing = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt, ast.IntoClause, ast.LockingClause)
    return not any(isinstance(node, writing) for node in nodes)


def _calls(text: str) -> list[ast.FuncCall]:
    if not MARKER.match(text):
        return []
    return [node for node in _nodes(pglast.parse_sql(text)[0].stmt) if isinstance(node, ast.FuncCall)]


def _nodes(node: object) -> Iterator[object]:
    if isinstance(node, tuple):
        for item in node:
            yield from _nodes(item)
    elif isinstance(node, ast.Node):
        yield node
        for name in node:
            yield from _nodes(getattr(node, name))


def _transactions(sent: list[Sent]) -> list[tuple[datetime, datetime]]:
    borders = [item for item in sent if item.text in ("BEGIN READ ONLY", "COMMIT", "ROLLBACK")]
    pairs = list(pairwise(borders))[::2]
    assert len(borders) % 2 == 0
    assert all(begin.text == "BEGIN READ ONLY" and end.text != begin.text for begin, end in pairs)
    return [(begin.at, end.at) for begin, end in pairs]


def _next_transaction_id(server: Server) -> int:
    return int(server.execute("select pg_snapshot_xmax(pg_current_snapshot())::text")[0][0])


def _settings(opened: connection.Database) -> dict[str, str]:
    return dict(opened.execute("select s.name, s.setting from pg_catalog.pg_settings as s"))


def _capture_as(staged: Staged, user: str) -> Capture:
    return collected(resolve(staged.server.dsn("shop", user)))


def _judged_as(staged: Staged, user: str) -> FindingsDocument:
    return judged(_capture_as(staged, user), Question("safety"))


def _result(document: FindingsDocument, check: str) -> ResultEntry:
    return next(result for result in document.results if result.check == check)


def _missing(source: Source, name: str, column: str) -> list[str]:
    frame = source.evidence[name].frame
    return list(frame.loc[frame[column].isna(), "database_name"])
