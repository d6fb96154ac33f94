"""Incident D whole: four layers at once, each listed in the order of the ladder, and a grant that came too late."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import nbformat
import pytest

from kit.analyze.document import ChangeEntry
from kit.sandbox import incidents
from kit.sandbox.incidents import Incident
from tests.staged_incidents import Run, kit, leaks, run, truth

VARIANTS = ("before_grant", "after_grant", "socket_mended", "mended")
INSIDE = ["privileges", "row security", "data integrity", "capacity and performance"]
CLEARED = {
    "before_grant": ["reachability", "database identity", *INSIDE],
    "after_grant": ["reachability", "authentication", "database identity", *INSIDE, "change"],
    "socket_mended": ["configuration", "reachability", "authentication", "database identity", *INSIDE, "change"],
    "mended": ["configuration", "reachability", "authentication", "database identity", "schema", *INSIDE, "change"],
}
TOO_EARLY = ["session-api-00033-kef", "session-api-00034-wam", "session-api-00035-pov"]


@dataclass(frozen=True)
class Ran:
    incident: Incident
    runs: dict[str, Run]
    status: str
    requests: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    with incidents.staged("d", "before_grant", tmp_path_factory.mktemp("d")) as incident:
        runs, requests, status = {}, [], ""
        for variant in VARIANTS:
            incident.become(variant)
            runs[variant] = run(incident, variant, notebook="deploy_history" if variant == "after_grant" else None)
            assert incident.services is not None
            requests += incident.services["session-api"].requests
            status = kit(incident, "status", variant)[1] if variant == "after_grant" else status
        yield Ran(incident, runs, status, requests)


@pytest.mark.parametrize("variant", VARIANTS)
def test_verdict_broken_layers_and_exit_status_are_those_of_the_truth(ran: Ran, variant: str) -> None:
    made = ran.runs[variant]
    assert made.held() == truth("d", variant)
    assert made.document.verdict.layer == (made.layers("broken") or ["service"])[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_other_layers_are_cleared(ran: Ran, variant: str) -> None:
    assert ran.runs[variant].layers("cleared") == CLEARED[variant]


@pytest.mark.parametrize("variant", ["before_grant", "after_grant"])
def test_the_carriage_return_is_found_in_the_string_itself_and_shown(ran: Ran, variant: str) -> None:
    found = {finding.subject.name: finding for finding in ran.runs[variant].found("faulty_connection_strings")}
    told = found["invisible_characters"]
    assert told.severity == "critical"
    assert "at the end of the host: carriage return (U+000D)" in told.message
    assert "(postgresql+asyncpg://app:***@/orders?host=/cloudsql/orders-prod:us-central1:orders-db[CR])" in told.message
    assert told.remedy.endswith("postgresql+asyncpg://app:***@/orders?host=/cloudsql/orders-prod:us-central1:orders-db")
    assert found["driver_suffixes"].severity == "info"


def test_it_is_found_in_the_exports_too_and_nowhere_once_it_is_mended(ran: Ran) -> None:
    named = ran.runs["after_grant"].found("misnamed_instances")
    assert len(named) == 2
    assert all(r"'orders-prod:us-central1:orders-db\r'" in finding.message for finding in named)
    for variant in ("socket_mended", "mended"):
        later = ran.runs[variant]
        assert not later.found("misnamed_instances")
        assert [finding.severity for finding in later.found("faulty_connection_strings")] == ["info"]


@pytest.mark.parametrize("variant", ["before_grant", "after_grant", "socket_mended"])
def test_the_missing_column_is_found_because_it_is_expected(ran: Ran, variant: str) -> None:
    [found] = ran.runs[variant].found("unmet_schema_expectations")
    assert (found.subject.kind, found.subject.name) == ("column", "platform_id")
    assert found.remedy == "alter table app.sessions add column platform_id text"


def test_the_printed_remedy_mends_the_column(ran: Ran) -> None:
    assert ran.runs["mended"].found("unmet_schema_expectations") == []
    assert ran.runs["mended"].result("unmet_schema_expectations").status == "clean"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_health_of_200_is_no_all_clear(ran: Ran, variant: str) -> None:
    made = ran.runs[variant]
    [unseen] = made.result("failing_services").not_examined
    assert "answers 200, which clears nothing behind it" in unseen.reason
    assert "service" not in made.layers("cleared")
    assert set(ran.requests) <= {"GET /health", "HEAD /health"}


def test_the_time_line_has_the_grant_after_three_revisions_and_before_the_fourth(ran: Ran) -> None:
    told = ran.runs["after_grant"].document.changes
    created = {_revision(change): change.at for change in told if change.kind == "revision"}
    [grant] = [change for change in told if change.kind == "iam grant" and change.outcome == "accepted"]
    assert f"{grant.at:%H:%M:%S}" == "10:42:48"
    assert sorted(name for name, at in created.items() if at < grant.at) == TOO_EARLY
    assert [name for name, at in created.items() if at > grant.at] == ["session-api-00036-dih"]
    assert told == sorted(told, key=lambda change: change.at)
    assert sorted(finding.subject.name for finding in ran.runs["after_grant"].found("revisions_before_grant")) == TOO_EARLY


def test_the_page_of_deploys_shows_them_in_this_order(ran: Ran) -> None:
    folder = ran.runs["after_grant"].folder
    [listed] = [
        cell["outputs"][0]["data"]["text/plain"]
        for cell in nbformat.read(folder / "notebooks" / "deploy_history.ipynb", 4).cells
        if cell["source"] == "investigation.changes"
    ]
    revisions = [listed.index(f"{name} created") for name in (*TOO_EARLY, "session-api-00036-dih")]
    grant = listed.index("10:42:48 UTC iam grant roles/cloudsql.client granted to")
    # An earlier attempt of the same grant was refused, and granted nothing.
    assert listed.index("failed: Permission 'resourcemanager.projects.setIamPolicy' denied") < revisions[0]
    assert [*revisions[:3], grant, revisions[3]] == sorted([*revisions, grant])
    assert "it could not have reached" in (folder / "deploy_history.html").read_text()


def test_the_status_names_every_broken_layer_in_order(ran: Ran) -> None:
    lines = ran.status.splitlines()
    assert lines[0].startswith("after_grant: BROKEN at configuration (")
    assert "fault invisible_characters in DATABASE_URL" in lines[0]
    assert re.match(r"Also broken, further on: schema \(.*column platform_id in sessions\); service \(", lines[1])
    assert lines[2].startswith("Since: 2025-06-03 11:06 UTC, by the first error logged; ")
    assert lines[2].endswith("; the last known change before it: revision, 2025-06-03 11:04 UTC.")


def test_no_password_is_written_or_printed(ran: Ran) -> None:
    for name, made in ran.runs.items():
        assert leaks(ran.incident, made.folder, made.printed) == [], name


def _revision(change: ChangeEntry) -> str:
    return change.summary.split()[1]
