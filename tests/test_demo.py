"""The demo's incident from end to end: the verdict, every staged fault by name, and nothing on the healthy tables."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jsonschema
import pytest
from playwright.sync_api import BrowserContext

from kit.analyze.document import FindingsDocument
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.report.demo import order_of
from kit.report.runner import Report, run
from kit.report.running import exit_status
from kit.sandbox import binaries
from kit.sandbox.shop import EXPECTED_FAULTS, HEALTHY_TABLES, SYMPTOM
from kit.target import DatabaseSource, Target
from tests.browser import look
from tests.conftest import Staged, staged_shop
from tests.record import SCHEMA

MATRIX = [pytest.param(major, marks=pytest.mark.matrix) for major in binaries.MATRIX_VERSIONS]


@dataclass(frozen=True)
class Ran:
    """A published report and the staged shop that it is about."""

    report: Report
    staged: Staged


@pytest.fixture(scope="module", params=[None, *MATRIX], ids=lambda major: f"PostgreSQL {major or 'embedded'}")
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    major = request.param
    if major and (missing := binaries.npm_is_missing(major)):
        pytest.skip(missing)
    options = {"binaries": binaries.npm(major)} if major else {}
    with staged_shop(tmp_path_factory.mktemp("exports"), **options) as staged:
        order = order_of(staged.shop, staged.exports, tmp_path_factory.mktemp("reports"), print)
        yield Ran(run(order), staged)


def test_the_verdict_is_privileges_and_change_is_only_also_seen(ran: Ran):
    verdict = ran.report.document.verdict
    broken = [entry.layer for entry in ran.report.document.layers if entry.status == "broken"]

    assert (verdict.status, verdict.layer, broken) == ("broken", "privileges", ["privileges"])
    assert exit_status(ran.report.document, "critical") == 1


def test_every_staged_fault_is_found_by_name(ran: Ran):
    assert expected_fingerprints() <= fingerprints(ran.report.document)


def test_the_slow_statement_and_the_waiting_session_are_named_in_words(ran: Ran):
    said = {result.check: finding.message for result, finding in ran.report.document.findings()}

    assert EXPECTED_FAULTS.slow_column in said["slow_statements"]
    assert EXPECTED_FAULTS.blocked_application in said["blocked_sessions"]
    assert EXPECTED_FAULTS.blocking_application in said["blocked_sessions"]


def test_nothing_is_found_on_the_healthy_tables(ran: Ran):
    healthy = {name.split(".")[1] for name in HEALTHY_TABLES}
    blamed = [
        finding.fingerprint
        for _, finding in ran.report.document.findings()
        if finding.subject.kind in ("table", "index") and any(name in finding.subject.name for name in healthy)
    ]

    assert blamed == []


def test_all_five_notebooks_ran_to_their_end(ran: Ran):
    assert {notebook.name: notebook.status for notebook in ran.report.document.notebooks} == dict.fromkeys(
        ("triage", "permissions", "bloat", "slow_queries", "deploy_history"), "ok"
    )


def test_the_findings_validate_against_the_published_schema(ran: Ran):
    for path in ran.report.folder.rglob("findings.json"):
        jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))


def test_every_page_is_drawn_from_disk_without_a_network(ran: Ran, context: BrowserContext):
    pages = sorted(ran.report.folder.glob("*.html"))
    charts = {}
    for path in pages:
        seen = look(context, path)
        seen.draw_all()
        seen.assert_quiet()
        charts[path.stem] = seen.marks()

    assert len(pages) == 7
    assert all(min(marks) > 0 for name, marks in charts.items() if name not in ("index", "report"))
    assert len(charts["report"]) == sum(len(marks) for name, marks in charts.items() if name != "report")


def test_no_planted_secret_stands_in_any_written_file(ran: Ran):
    files = [path for path in ran.report.folder.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)

    assert [secret for secret in ran.staged.shop.secrets if secret.encode() in content] == []
    assert len(files) > 40


def test_the_verdict_is_known_within_fifteen_seconds(ran: Ran):
    assert ran.report.verdict_seconds <= 15


@pytest.mark.parametrize("role", ["only_login", "only_monitor", "postgres"])
def test_what_a_lesser_role_cannot_see_is_not_examined(role: str, staged: Staged):
    make = {"only_login": "create role only_login login", "only_monitor": "create role only_monitor login in role pg_monitor"}
    if role in make:
        staged.server.execute(f"{make[role]}; grant connect on database shop to {role}")
    target = Target("shop", (DatabaseSource("database", staged.server.dsn("shop", role)),), cloud=staged.exports)
    document = judged(collected(target), Question(case="roles", symptom=SYMPTOM))

    missed = {fingerprint.split(":")[0] for fingerprint in expected_fingerprints() - fingerprints(document)}
    unseen = {result.check for result in document.results if result.not_examined or result.status == "skipped"}

    assert document.verdict.layer == "privileges"
    assert missed <= unseen
    assert role != "postgres" or missed == set()


def fingerprints(document: FindingsDocument) -> set[str]:
    """Return the fingerprints of all findings; those of statements and sessions end with their kind."""
    found = {finding.fingerprint for _, finding in document.findings()}
    return found | {":".join(fingerprint.split(":")[:2]) for fingerprint in found}


def expected_fingerprints() -> set[str]:
    """Return what the staging promises; statements and sessions have numbers of their own, so only their kind."""
    faults = EXPECTED_FAULTS
    return {
        f"schemas_without_usage:role:auth.{faults.role}",
        f"unreadable_tables:role:auth.{faults.role}",
        f"misdirected_default_privileges:role:auth.{faults.role}",
        f'failed_migrations:migration:auth."{faults.migration}"',
        "bloated_tables:table:shop.carts",
        "disabled_autovacuums:table:shop.carts",
        "unvacuumed_tables:table:shop.carts",
        "large_sequential_scans:table:shop.events",
        "slow_statements:statement",
        "blocked_sessions:session",
        f'failed_revisions:revision:"{faults.failed_revision}"',
    }
