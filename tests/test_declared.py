"""What kit.toml declares beside the places to ask: services' connection strings, and an expected schema."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.analyze.document import FindingsDocument
from kit.analyze.dsn import examine
from kit.analyze.dsn.evidence import Examined, strings_evidence
from kit.analyze.schema.comparison import compare
from kit.analyze.schema.dump import Script, read_dump
from kit.analyze.schema.evidence import NAME, expected_evidence, expected_in
from kit.analyze.schema.expected import READING, ExpectedRelation, ExpectedSchema
from kit.analyze.schema.file import parse_file
from kit.case.collecting import collected
from kit.case.declared import secrets_of
from kit.case.expecting import expect
from kit.case.judging import Question, judged
from kit.case.showing import shown
from kit.errors import ParameterError, TargetError
from kit.evidence import bundle
from kit.evidence.model import Frames, Source
from kit.report.running import exit_status
from kit.sandbox.server import Server
from kit.target import resolve
from kit.target.strings import NamedString, strings_of
from tests.test_dsn import ROWS

EXPECTED = """
extensions = ["vector >= 0.5", "pgcrypto"]
[tables.sessions]
may = ["INSERT"]
columns.id = "bigserial"
columns.platform_id = "app.platform not null"
columns.note = ""
indexes = ["unique (id)", "gin (note)", "(lower(note))"]
[tables."app.Odd Name"]
columns = ["a"]
"""
DUMP = (
    "create table app.t (id int primary key, w text generated always as ('x') stored); create view app.v as select id from app.t;"
)
PASSWORD = "hunter2-of-the-service"
AT = datetime(2026, 3, 14, tzinfo=UTC)


def written(folder: Path, text: str) -> None:
    (folder / "kit.toml").write_text(text)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    return tmp_path


def document(name: str) -> FindingsDocument:
    return judged(collected(resolve(name)), Question("case"))


@pytest.mark.parametrize("expected", [parse_file(EXPECTED, "schema.toml"), read_dump([Script("d.sql", DUMP)], "d.sql")])
def test_an_expectation_is_the_same_after_its_way_through_a_frame(expected: ExpectedSchema) -> None:
    evidence = expected_evidence(expected, AT)
    back = expected_in(Frames(Source("database", "postgres", "here", None, {NAME: evidence})))
    assert expected_evidence(back, AT).frame.equals(evidence.frame)
    assert back.relations == tuple(_reading(relation) for relation in expected.relations)
    assert (back.extensions, back.origin) == (expected.extensions, expected.origin)


def _reading(relation: ExpectedRelation) -> ExpectedRelation:
    """What the service does with a table is not kept."""
    return replace(relation, uses=READING)


def test_a_file_that_cannot_be_read_stops_the_run_before_a_verdict(configured: Path, server: Server) -> None:
    written(configured, f'[targets.t]\ndsn = "{server.dsn()}"\nexpected_schema = "absent.toml"\n')
    with pytest.raises(ParameterError, match="cannot be read"):
        document("t")


def test_without_an_expectation_the_check_is_out_of_scope(configured: Path, server: Server) -> None:
    written(configured, f'[targets.t]\ndsn = "{server.dsn()}"\n')
    [result] = [r for r in document("t").results if r.check == "unmet_schema_expectations"]
    assert (result.status, result.reason, result.source) == ("skipped", "the target names no expected_schema", "")


def test_a_bundle_is_judged_against_the_expectation_that_it_was_captured_with(
    configured: Path, server: Server, database: str
) -> None:
    server.execute("create table sessions (id bigint not null)", database)
    (configured / "schema.toml").write_text('[tables.sessions]\ncolumns.platform_id = "text"\n')
    written(configured, f'[targets.t]\ndsn = "{server.dsn(database)}"\nexpected_schema = "schema.toml"\n')
    bundle.save(collected(resolve("t")), configured / "bundle")
    (configured / "schema.toml").unlink()
    found = judged(bundle.load(configured / "bundle"), Question("case"))
    assert found.verdict.layer == "schema"
    assert found.verdict.summary == (
        "The broken layer is schema: Column platform_id of public.sessions is missing. (Expected by schema.toml.)"
    )


def test_the_gate_takes_the_same_expectation_where_none_is_named(configured: Path, server: Server, database: str) -> None:
    server.execute("create table sessions (id bigint not null)", database)
    (configured / "schema.toml").write_text('[tables.sessions]\ncolumns.platform_id = "text"\n')
    written(configured, f'[targets.t]\ndsn = "{server.dsn(database)}"\nexpected_schema = "schema.toml"\n')
    answer = expect("t", None, None)
    assert (answer.status, [item["column"] for item in answer.record["differences"]]) == (1, ["platform_id"])


def test_a_table_of_the_strings_is_shown_of_a_live_target(
    configured: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_URL", f"postgresql://api:{PASSWORD}@db/shop")
    written(configured, f'[targets.t]\ndsn = "{server.dsn()}"\nstrings = ["API_URL"]\n')
    frame = shown(["connection_strings"], "t")
    assert frame["masked"].tolist() == ["postgresql://api:***@db/shop"]


def test_a_check_that_an_unreached_server_kept_blind_is_not_clean(configured: Path) -> None:
    (configured / "schema.toml").write_text("[tables.sessions]\n")
    written(configured, '[targets.t]\ndsn = "postgresql://kit@127.0.0.1:1/shop"\nexpected_schema = "schema.toml"\n')
    [result] = [r for r in document("t").results if r.check == "unmet_schema_expectations"]
    assert result.status == "skipped"
    assert "not reached" in str(result.reason)


def test_strings_are_examined_and_never_kept(configured: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", f"postgresql://api:{PASSWORD}@localhost/shop")
    monkeypatch.setenv("JOB_URL", f'"postgresql://job:{PASSWORD}@db/shop"')
    strings = 'strings = [{env = "API_URL", consumer = "prisma", in_container = true}, "JOB_URL"]'
    written(configured, f'[targets.t]\ndsn = "{server.dsn()}"\n{strings}\n')
    bundle.save(collected(resolve("t")), configured / "bundle")
    found = judged(bundle.load(configured / "bundle"), Question("case"))
    told = {f.fingerprint: (f.layer, f.severity) for _, f in found.findings()}
    assert told['misdirected_connection_strings:fault:"API_URL".local_hosts'] == ("reachability", "critical")
    assert told['faulty_connection_strings:fault:"JOB_URL".wrapping_quotes'] == ("configuration", "critical")
    assert found.verdict.layer == "configuration"
    assert PASSWORD not in found.to_json()
    frames = (e.frame.to_csv() for s in bundle.load(configured / "bundle").sources for e in s.evidence.values())
    assert PASSWORD not in "".join(frames)


def test_a_variable_that_is_not_set_was_not_examined(configured: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_URL", raising=False)
    written(configured, f'[targets.t]\ndsn = "{server.dsn()}"\nstrings = ["API_URL"]\n')
    found = document("t")
    assert (found.verdict.status, found.verdict.layer) == ("open", "configuration")
    assert "not set where the kit runs" in found.verdict.summary
    assert exit_status(found, "critical") == 3


def test_the_instance_of_the_exports_is_what_a_string_has_to_lead_to(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", "postgresql://api@/shop?host=/cloudsql/shop:us-central1:staging")
    (configured / "exports").mkdir()
    instance = (
        '{"kind": "sql#instance", "name": "main", "connectionName": "shop:us-central1:main", "databaseVersion": "POSTGRES_16"}'
    )
    (configured / "exports" / "instance.json").write_text(instance)
    written(configured, '[targets.t]\ncloud = "exports"\nstrings = ["API_URL"]\n')
    [found] = [f for r, f in document("t").findings() if r.check == "faulty_connection_strings"]
    assert "leads to another instance than expected: instance staging instead of main" in found.message


def test_the_variables_of_sources_are_strings_too_each_once() -> None:
    entry = {"dsn_env": "A", "strings": ["B", {"env": "A", "consumer": "node"}], "sources": {"x": {"dsn_env": "C"}, "y": {}}}
    assert strings_of(entry, "t") == (NamedString("B"), NamedString("A", "node"), NamedString("C", is_way=True))


@pytest.mark.parametrize(
    "given", ["DATABASE_URL", [f"postgresql://api:{PASSWORD}@db/x"], [{"consumer": "node"}], [3], [{"env": 3}]]
)
def test_what_is_no_list_of_variables_is_refused_without_being_repeated(given: object) -> None:
    with pytest.raises(TargetError) as refused:
        strings_of({"strings": given}, "[targets.t]")
    assert PASSWORD not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+asyncpg://u:p%40ss-word@h/d",
        "host=h user=u password='p@ss-word' dbname=d",
        "jdbc:postgresql://h/d?user=u&password=p@ss-word",
        "postgresql://u:p@ss-word@h/d",
    ],
)
def test_the_passwords_of_strings_are_known_to_the_gate(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", text)
    assert "p@ss-word" in secrets_of([NamedString("API_URL")])


def test_no_string_leaves_a_piece_of_its_password_in_a_frame() -> None:
    examined = [Examined(f"V{place}", examine(row.text, **row.options)) for place, row in enumerate(ROWS)]
    frames = "".join(evidence.frame.to_csv() for evidence in strings_evidence(examined, AT).values())
    assert len(examined) > 150
    assert not re.search(r"S3c|cretTok|Tok9", frames)


def test_a_comparison_by_the_frame_is_that_by_the_file(server: Server, database: str) -> None:
    server.execute("create schema app; create table app.t (id text not null, more int not null)", database)
    expected = read_dump([Script("d.sql", DUMP)], "d.sql")
    source = collected(resolve(server.dsn(database))).source("database")
    evidence = {**source.evidence, NAME: expected_evidence(expected, AT)}
    frames = Frames(Source("database", "postgres", "here", source.identity, evidence))
    assert [d.because for d in compare(frames, expected_in(frames))] == [d.because for d in compare(frames, expected)]
    assert len(compare(frames, expected)) > 2
