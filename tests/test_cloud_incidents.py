"""The staged exports of the incidents C, D and E: every layer is found, in the order of the ladder, and the rest cleared."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

import kit.sandbox
from kit import checks
from kit.analyze.changes import changes
from kit.analyze.cloud.comparison import compare_services
from kit.analyze.findings import LADDER, Finding, Result
from kit.case.judging import Question, judged
from kit.collect.cloud.exports import collect_cloud
from kit.evidence.model import Capture, Cost, Frames, Source

STAGED = Path(kit.sandbox.__file__).parent / "staged"
AT = datetime(2025, 9, 1, tzinfo=UTC)
TRUTH = {name: tomllib.loads((STAGED / f"incident_{name}" / "truth.toml").read_text(encoding="utf-8")) for name in "cde"}
VARIANTS = [(name, variant) for name, truth in TRUTH.items() for variant in truth["variants"]]


def collected(name: str, variant: str) -> Source:
    return collect_cloud(STAGED / f"incident_{name}" / "exports" / variant, AT)


def results_of(source: Source) -> list[Result]:
    return [r for r in checks.judge(Capture("t", AT, AT, "0", (source,), Cost())) if r.source == "cloud"]


def critical(results: list[Result]) -> list[Finding]:
    found = [finding for result in results for finding in result.findings if finding.severity == "critical"]
    return sorted(found, key=lambda finding: LADDER.index(finding.layer))


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_broken_layers_are_those_of_the_truth_in_ladder_order(name: str, variant: str) -> None:
    document = judged(Capture("t", AT, AT, "0", (collected(name, variant),), Cost()), Question(name))
    broken = [entry.layer for entry in document.layers if entry.status == "broken"]
    assert broken == TRUTH[name]["variants"][variant]
    expected = broken[0] if broken else None
    assert (document.verdict.status, document.verdict.layer) == ("broken" if broken else "healthy", expected)


@pytest.mark.parametrize("name", "cde")
def test_a_mended_incident_shows_nothing_at_warning_or_above(name: str) -> None:
    source = collected(name, "mended")
    results = results_of(source)
    assert [f.message for r in results for f in r.findings if f.severity != "info"] == []
    assert [r.check for r in results if r.status not in ("clean", "findings") or r.not_examined] == []
    assert source.gaps == {}


def test_every_finding_names_the_file_and_the_pointer_that_decided() -> None:
    for name, variant in VARIANTS:
        source = collected(name, variant)
        for finding in critical(results_of(source)):
            frame = source.evidence[finding.evidence[0]].frame.iloc[list(finding.evidence[1])]
            assert len(frame), finding.message
            folder = STAGED / f"incident_{name}" / "exports" / variant
            for file, pointer in zip(frame["file"], frame["pointer"], strict=True):
                value = json.loads((folder / file).read_bytes())
                for part in str(pointer).split("/")[1:]:
                    value = value[int(part) if isinstance(value, list) else part.replace("~1", "/").replace("~0", "~")]


def test_incident_d_finds_the_carriage_return_in_the_annotation_the_variable_and_the_log() -> None:
    found = critical(results_of(collected("d", "after_grant")))
    told = [finding.message for finding in found if "carriage return" in finding.message]
    assert len(told) == 3
    assert all(r"'orders-prod:us-central1:orders-db\r'" in message for message in told)
    assert [finding.check for finding in found] == ["misnamed_instances", "misnamed_instances", "logged_errors", "logged_errors"]


def test_incident_d_before_the_grant_lacks_the_role_and_says_in_which_file() -> None:
    found = {finding.check: finding for finding in critical(results_of(collected("d", "before_grant")))}
    message = found["service_accounts_without_cloudsql_client"].message
    assert "has none of the roles that let it connect. (iam-policy.json /bindings; what a folder or the org" in message


def test_incident_d_on_one_time_line_the_grant_came_after_the_three_revisions() -> None:
    told = changes({"cloud": Frames(collected("d", "after_grant"))})
    revisions = {c.summary.split(",")[0].split()[1]: c.at for c in told if c.kind == "revision"}
    [granted] = [c.at for c in told if c.kind == "iam grant" and c.outcome == "accepted"]
    before = sorted(name for name, at in revisions.items() if at < granted)
    assert before == ["session-api-00033-kef", "session-api-00034-wam", "session-api-00035-pov"]
    assert [name for name, at in revisions.items() if at > granted] == ["session-api-00036-dih"]
    [result] = [r for r in results_of(collected("d", "after_grant")) if r.check == "revisions_before_grant"]
    assert sorted(finding.subject.name for finding in result.findings) == before


def test_incident_d_with_the_socket_mended_names_the_missing_column() -> None:
    [finding] = critical(results_of(collected("d", "socket_mended")))
    assert "logged “column missing” of 'platform_id' once" in finding.message
    assert "a matter of schema" in finding.message


def test_incident_c_clears_the_database_by_comparison() -> None:
    frames = Frames(collected("c", "failing"))
    found = compare_services(frames, "auth-service", "backend")
    equal = {item.what for item in found.equal}
    assert {"Cloud SQL instance", "variable DATABASE_URL", "may connect to Cloud SQL"} <= equal
    assert [d.what for d in found.differs_in("reachability")] == ["VPC connector", "VPC egress"]
    order = [LADDER.index(difference.layer) for difference in found.differences]
    assert order == sorted(order)


def test_incident_c_finds_the_dependency_and_leaves_the_ladder_below_cleared() -> None:
    document = judged(Capture("t", AT, AT, "0", (collected("c", "failing"),), Cost()), Question("c"))
    cleared = {entry.layer for entry in document.layers if entry.status == "cleared"}
    assert {"configuration", "reachability", "authentication", "change"} <= cleared
    assert any(
        "REDIS_URL of service backend leads to the private address 10.20.0.4" in f.message
        for r in document.results
        for f in r.findings
    )


def test_incident_c_s_claims_would_have_been_seen() -> None:
    engine = critical(results_of(collected("c", "other_engine")))[0]
    assert "is MYSQL_8_0, and service auth-service expects POSTGRES. (instance.json /databaseVersion)" in engine.message
    stopped = critical(results_of(collected("c", "stopped")))[0]
    assert "is stopped, although its state reads RUNNABLE. (instance.json /settings/activationPolicy)" in stopped.message


def test_incident_e_finds_all_that_was_not_there() -> None:
    found = {(f.check, f.subject.name): f.message for f in critical(results_of(collected("e", "failing")))}
    service = "settlement-service"
    assert list(found) == [
        ("misnamed_instances", f"{service} annotation"),
        ("misnamed_instances", f"{service} variable INSTANCE_CONNECTION_NAME"),
        ("unusable_secrets", "settlement-database-url"),
        ("service_accounts_without_secret_access", f"{service} settlement-database-url"),
        ("service_accounts_without_cloudsql_client", service),
        ("logged_errors", "settlement-service-00007-qub SQLite in use"),
        ("logged_errors", "settlement-service-00007-qub SQLite in use settlement_commands"),
    ]
    assert "does not exist. (commands.json /8)" in found["unusable_secrets", "settlement-database-url"]
    assert (
        "names the zone us-central1-a where the region us-central1 belongs"
        in found["misnamed_instances", f"{service} annotation"]
    )


def test_the_staged_files_hold_no_password_and_no_literal_value() -> None:
    for path in STAGED.glob("incident_[cde]/exports/*/*.json"):
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in ("hunter2", "changeme", "BEGIN PRIVATE"))
        for variable in _variables(json.loads(text)):
            assert variable.get("value") in (None, "<masked>"), path


def _variables(value: object) -> list[dict[str, object]]:
    if isinstance(value, list):
        return [found for item in value for found in _variables(item)]
    if not isinstance(value, dict):
        return []
    own = [item for item in value.get("env", []) if isinstance(item, dict)]
    return own + [found for item in value.values() for found in _variables(item)]
