"""Incident C whole: the database is innocent, both claims about it are refuted, and the service is what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.sandbox import incidents
from kit.sandbox.incidents import Incident
from tests.staged_incidents import Run, kit, leaks, run, truth

DATABASE_LAYERS = [
    "configuration",
    "reachability",
    "authentication",
    "database identity",
    "schema",
    "privileges",
    "row security",
    "data integrity",
    "capacity and performance",
]
MYSQL, TIMEOUT = "the instance is MySQL, not PostgreSQL", "database connection timeout"


@dataclass(frozen=True)
class Ran:
    incident: Incident
    runs: dict[str, Run]
    status: str
    requests: dict[str, list[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    with incidents.staged("c", "failing", tmp_path_factory.mktemp("c")) as incident:
        runs = {"failing": run(incident, "c", notebook="triage")}
        services = incident.services
        assert services is not None
        requests = {name: list(services[name].requests) for name in ("auth", "backend", "websocket")}
        status = kit(incident, "status", "c")[1]
        for variant in ("other_engine", "stopped", "mended"):
            incident.become(variant)
            runs[variant] = run(incident, variant)
        yield Ran(incident, runs, status, requests)


@pytest.mark.parametrize("variant", ["failing", "other_engine", "stopped", "mended"])
def test_verdict_broken_layers_and_exit_status_are_those_of_the_truth(ran: Ran, variant: str) -> None:
    assert ran.runs[variant].held() == truth("c", variant)


def test_every_layer_below_the_service_is_cleared_and_the_verdict_says_not_the_database(ran: Ran) -> None:
    failing = ran.runs["failing"]
    verdict = failing.document.verdict
    assert failing.layers("cleared") == [*DATABASE_LAYERS, "change"]
    assert verdict.layer == "service"
    assert verdict.summary.startswith("Not the database: the 9 layers up to capacity and performance are cleared. ")
    # The cause goes before its witnesses: the log's timeout, and the request that died.
    assert "REDIS_URL of service backend leads to the private address 10.20.0.4" in verdict.summary
    assert all(entry.reason for entry in failing.document.layers)


def test_each_other_variant_clears_the_rest(ran: Ran) -> None:
    cleared = {variant: ran.runs[variant].layers("cleared") for variant in ("other_engine", "stopped", "mended")}
    assert cleared == {
        "other_engine": [*DATABASE_LAYERS[1:], "change"],
        "stopped": ["configuration", *DATABASE_LAYERS[2:], "change"],
        "mended": [*DATABASE_LAYERS, "change"],
    }
    assert not any("Not the database" in ran.runs[variant].document.verdict.summary for variant in cleared)


def test_both_hypotheses_are_refuted_with_what_was_seen_against_them(ran: Ran) -> None:
    held = {item.statement: item for item in ran.runs["failing"].document.hypotheses}
    assert {name: item.status for name, item in held.items()} == {MYSQL: "refuted", TIMEOUT: "refuted"}
    instance = "platform-staging:us-central1:shared-postgres"
    assert held[MYSQL].against == [f"foreign_engines: clean, 1 examined ({instance} is POSTGRES_14)"]
    against = " ".join(held[TIMEOUT].against)
    assert f"stopped_instances: clean, 1 examined ({instance} is RUNNABLE, activation policy ALWAYS)" in against
    assert all(check in against for check in ("unreachable_servers", "exhausted_connection_slots", "connections_near_limit"))


@pytest.mark.parametrize(("variant", "supported"), [("other_engine", [MYSQL]), ("stopped", [TIMEOUT])])
def test_a_claim_that_were_true_would_be_supported(ran: Ran, variant: str, supported: list[str]) -> None:
    held = ran.runs[variant].document.hypotheses
    assert [item.statement for item in held if item.status == "supported"] == supported
    assert [item.status for item in held if item.statement not in supported] == ["refuted"]


def test_the_comparison_of_the_two_services_names_the_vpc_connector_and_clears_what_they_share(ran: Ran) -> None:
    [found] = ran.runs["failing"].found("differing_services")
    shared, _, different = found.message.partition("They differ in")
    assert "Cloud SQL instance, variable DATABASE_URL" in shared
    assert "may connect to Cloud SQL" in shared
    assert "VPC connector: projects/platform-staging/locations/us-central1/connectors/staging-connector / not set" in different


def test_each_service_is_told_by_where_its_request_died(ran: Ran) -> None:
    failing = ran.runs["failing"]
    [dead], [follower] = failing.found("unanswering_services"), failing.found("failing_services")
    assert (dead.severity, dead.subject.name) == ("critical", "backend")
    assert "TLS" in dead.message
    assert "auth, asked in the same moment, answers 200" in dead.message
    assert (follower.severity, follower.subject.name) == ("warning", "websocket")
    assert "it follows from backend" in follower.message
    assert all(request.split()[0] in ("GET", "HEAD") for requests in ran.requests.values() for request in requests)
    assert all(len(requests) <= 2 for requests in ran.requests.values())


def test_the_other_service_s_session_is_seen_at_work_in_the_same_database(ran: Ran) -> None:
    exit_status, printed = kit(ran.incident, "show", "c", "applications", "--json")
    assert exit_status == 0
    assert '"application_name": "auth-service"' in printed


def test_the_status_says_that_it_is_not_the_database_and_what_is_ruled_out(ran: Ran) -> None:
    lines = ran.status.splitlines()
    assert lines[0].startswith("c: NOT the database; BROKEN at service (")
    assert f"Ruled out: {MYSQL}; {TIMEOUT}." in lines
    assert len(lines) <= 8


def test_no_password_is_written_or_printed(ran: Ran) -> None:
    for name, made in ran.runs.items():
        assert leaks(ran.incident, made.folder, made.printed) == [], name


def test_the_triage_page_tells_the_same(ran: Ran) -> None:
    page = Path(ran.runs["failing"].folder / "triage.html").read_text()
    assert "Not the database" in page
    assert page.count("refuted") >= 2


def test_a_demo_of_an_unknown_incident_is_refused_in_one_sentence(ran: Ran) -> None:
    exit_status, printed = kit(ran.incident, "demo", "--incident", "z")
    assert exit_status == 2
    assert "There is no such staged incident." in printed
    assert "Known: a, c, d, e." in printed
