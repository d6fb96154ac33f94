"""A target with several sources of one kind: each shows its own evidence, and no finding is taken for another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.analyze.document import FindingsDocument
from kit.case.judging import Question, judged
from kit.case.opened import Case
from kit.case.opened import capture as live_case
from kit.collect.capture import capture
from kit.evidence.model import Capture
from kit.present.evidence import EvidenceView, Several
from kit.report.index import index_page
from kit.report.pages import PageLink
from kit.report.publish import provenance_of
from kit.report.sanitize import clean_html
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

OPEN_SCHEMA = "public_create_on_schemas:schema:shop"
NOWHERE = "host=127.0.0.1 port=1 user=kit dbname=shop connect_timeout=2"


@pytest.fixture
def open_database(server: Server, database: str) -> str:
    """A database in which every role may create in schema shop."""
    server.execute("create schema shop; create table shop.orders (n int); grant create on schema shop to public", database)
    return database


@pytest.fixture
def closed_database(server: Server, database: str) -> Iterator[str]:
    """A database beside it with a schema of the same name, with nothing wrong."""
    name = f"{database}_closed"
    server.create_database(name)
    server.execute("create schema aaa; create schema shop; create table shop.carts (n int)", name)
    yield name
    server.execute(f"drop database if exists {name} with (force)")


def captured(**sources: str) -> Capture:
    return capture(Target("shop", tuple(DatabaseSource(name, dsn, f"from {name}") for name, dsn in sources.items())))


def case_of(taken: Capture) -> Case:
    return Case(taken, judged(taken, Question("shop")))


def fingerprints(document: FindingsDocument) -> list[str]:
    return [finding.fingerprint for _, finding in document.findings()]


def test_each_source_shows_its_own_rows_marked_by_its_own_findings(
    server: Server, open_database: str, closed_database: str
) -> None:
    case = case_of(captured(closed=server.dsn(closed_database), opened=server.dsn(open_database)))
    shown = case.evidence("schema_grants")
    assert isinstance(shown, Several)
    views = {view.source.name: view for view in shown.displays if isinstance(view, EvidenceView) and view.source}
    [finding] = [f for _, f in case.document.findings() if f.fingerprint.endswith(OPEN_SCHEMA)]
    assert set(finding.evidence.rows) <= set(views["opened"].rows)
    assert "shop" in set(views["opened"].frame.iloc[finding.evidence.rows]["schema_name"])
    assert not views["closed"].rows, "no finding was made there"
    html = str(shown.html())
    assert 'id="evidence-closed-schema_grants"' in html
    assert 'id="evidence-opened-schema_grants"' in html
    assert 'id="evidence-opened-schema_grants"' in clean_html(html), "the sanitiser keeps what the index links to"


def test_a_single_source_keeps_its_plain_anchor(server: Server, open_database: str) -> None:
    case = case_of(captured(database=server.dsn(open_database)))
    assert 'id="evidence-schema_grants"' in case.evidence("schema_grants").html()
    assert fingerprints(case.document).count(OPEN_SCHEMA) == 1
    assert 'href="permissions.html#evidence-schema_grants"' in index_of(case)


def test_the_index_links_to_the_evidence_of_the_right_source_and_names_each_vantage(
    server: Server, open_database: str, closed_database: str
) -> None:
    page = index_of(case_of(captured(closed=server.dsn(closed_database), opened=server.dsn(open_database))))
    assert 'href="permissions.html#evidence-opened-schema_grants"' in page
    assert "#evidence-schema_grants" not in page
    words = re.sub(r"<[^>]+>", "", page)
    assert "closed as postgres, from from closed; opened as postgres, from from opened." in words


def test_a_source_that_was_not_reached_still_counts(server: Server, open_database: str) -> None:
    """Else a refused login would rename every finding of the source that answered, and break the links."""
    case = case_of(captured(one=server.dsn(open_database), two=NOWHERE))
    assert f"one/{OPEN_SCHEMA}" in fingerprints(case.document)
    assert 'id="evidence-one-schema_grants"' in case.evidence("schema_grants").html()
    assert 'href="permissions.html#evidence-one-schema_grants"' in index_of(case)


def test_two_identities_on_one_database_are_told_apart(server: Server, open_database: str) -> None:
    results = checks.judge(captured(owner=server.dsn(open_database), api=server.dsn(open_database)))
    found = [finding for result in results for finding in result.findings]
    assert {f"owner/{OPEN_SCHEMA}", f"api/{OPEN_SCHEMA}"} <= {finding.fingerprint for finding in found}
    assert len({finding.fingerprint for finding in found}) == len(found)
    assert {finding.subject.database for finding in found} == {open_database}


def test_a_live_case_is_judged_by_the_same_rules_again(
    server: Server, open_database: str, tmp_path: Path, monkeypatch: Any
) -> None:
    config = tmp_path / "kit.toml"
    config.write_text('[targets.shop]\ndsn_env = "SHOP_DSN"\nout_of_scope = ["schema"]\n', encoding="utf-8")
    monkeypatch.setenv("KIT_CONFIG", str(config))
    monkeypatch.setenv("SHOP_DSN", server.dsn(open_database))
    case = live_case("shop", "SQLSTATE 42P01")
    again = case.refresh()
    statuses = [{entry.layer: entry.status for entry in each.document.layers} for each in (case, again, again.refresh())]
    assert [each["schema"] for each in statuses] == ["out of scope"] * 3
    assert again.document.symptom == "SQLSTATE 42P01"


def index_of(case: Case) -> str:
    pages = [PageLink(area, area) for area in checks.AREAS]
    return index_page(case.document, provenance=provenance_of(case.capture, None), pages=pages)
