"""Incident E whole: nothing was there, each missing thing is found, the repair is shown by two captures, no password is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.case.judging import Question, judged
from kit.evidence import bundle
from kit.report.running import exit_status
from kit.sandbox import incidents
from kit.sandbox.incidents import Incident
from tests.staged_incidents import Run, kit, leaks, run, truth

SERVICE, SECRET = "settlement-service", "settlement-database-url"
UNSEEN = ["database identity", "privileges", "row security", "data integrity", "capacity and performance", "change"]
FAULTS = {
    ("configuration", "faulty_connection_strings", "zones_for_regions"),
    ("configuration", "misnamed_instances", f"{SERVICE} annotation"),
    ("configuration", "misnamed_instances", f"{SERVICE} variable INSTANCE_CONNECTION_NAME"),
    ("configuration", "unusable_secrets", SECRET),
    ("authentication", "refused_logins", "settlement"),
    ("authentication", "service_accounts_without_cloudsql_client", SERVICE),
    ("authentication", "service_accounts_without_secret_access", f"{SERVICE} {SECRET}"),
    ("schema", "unmet_schema_expectations", "settlement_commands"),
    ("schema", "unmet_schema_expectations", "webhook_subscriptions"),
    ("service", "logged_errors", f"{SERVICE}-00007-qub SQLite in use"),
    ("service", "logged_errors", f"{SERVICE}-00007-qub SQLite in use settlement_commands"),
}


@dataclass(frozen=True)
class Ran:
    incident: Incident
    failing: FindingsDocument
    first: Run
    second: Run
    diff: tuple[int, str]
    printed: tuple[str, ...]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    with incidents.staged("e", "failing", tmp_path_factory.mktemp("e")) as incident:
        first = run(incident, "e", notebook="triage")
        failing, status = first.document, kit(incident, "status", "e")[1]
        held = first.held(), first.layers("cleared"), first.layers("not examined")
        assert held == (truth("e", "failing"), ["reachability"], UNSEEN)
        incident.become("mended")
        second, diff = run(incident, "e"), kit(incident, "diff", "e")
        later = kit(incident, "status", "e")[1]
        yield Ran(incident, failing, first, second, diff, (status, later, diff[1]))


def test_all_that_was_not_there_is_found_in_ladder_order(ran: Ran) -> None:
    found = [(f.layer, r.check, f.subject.name) for r, f in ran.failing.findings() if f.severity == "critical"]
    assert set(found) == FAULTS
    assert len(found) == len(FAULTS)
    assert ran.failing.verdict.layer == "configuration"


def test_each_is_told_by_what_decided_it(ran: Ran) -> None:
    told = {(r.check, f.subject.name): f.message for r, f in ran.failing.findings()}
    assert (
        "us-central1-a is a zone; an instance's connection name holds the region, us-central1"
        in told["faulty_connection_strings", "zones_for_regions"]
    )
    assert "does not exist. (commands.json /8)" in told["unusable_secrets", SECRET]
    assert "The server refused the password" in told["refused_logins", "settlement"]
    assert "is missing in database settlement" in told["unmet_schema_expectations", "webhook_subscriptions"]


def test_what_a_refused_login_hid_is_not_examined_rather_than_cleared(ran: Ran) -> None:
    reasons = {entry.layer: entry.reason for entry in ran.failing.layers if entry.status == "not examined"}
    assert list(reasons) == UNSEEN
    assert all("not reached" in reason or "ended before" in reason for reason in reasons.values())


def test_a_service_that_fell_back_to_sqlite_looks_alive_and_clears_nothing(ran: Ran) -> None:
    [unwell] = next(result for result in ran.failing.results if result.check == "failing_services").findings
    assert "answers 200 and says of itself: database: sqlite" in unwell.message
    assert next(entry.status for entry in ran.failing.layers if entry.layer == "service") == "broken"


def test_after_the_repair_every_finding_is_gone(ran: Ran) -> None:
    assert ran.second.held() == truth("e", "mended")
    assert [f.message for _, f in ran.second.document.findings() if f.severity != "info"] == []
    assert ran.second.layers("not examined") == ["service"]


def test_the_repaired_capture_is_healthy_where_no_symptom_is_asked_about(ran: Ran) -> None:
    taken = bundle.load(folders.captures(ran.second.folder)[-1])
    document = judged(taken, Question("e"))
    assert document.verdict.status == "healthy", document.verdict.summary
    assert exit_status(document, "critical") == 0


def test_two_captures_of_one_case_show_the_repair(ran: Ran) -> None:
    exit_code, printed = ran.diff
    assert exit_code == 1
    assert len(folders.captures(ran.second.folder)) == 2
    assert "Findings gone: 11" in printed
    assert "Findings new: none" in printed
    for what in (
        "'settlement-prod:us-central1-a:settlement-db' / 'settlement-prod:us-central1:settlement-db'",
        "attempt to connect: password refused",
        'connection string "DATABASE_URL": postgresql://settlement:***@/settlement?host=/cloudsql/settlement-prod:us-central1-a:',
        "settlement.webhook_subscriptions: missing / kind table",
        f"may connect to Cloud SQL of {SERVICE}: no role seen / yes",
    ):
        assert what in printed


def test_neither_password_is_written_or_printed_anywhere(ran: Ran) -> None:
    assert leaks(ran.incident, ran.second.folder, ran.first.printed, ran.second.printed, *ran.printed) == []
