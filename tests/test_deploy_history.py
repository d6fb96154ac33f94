"""The checks of the area deploy history: clean, provoked, found, mended as the remedy says, clean again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.analyze.findings import Finding, NotExamined, Result, Subject
from kit.checks.deploy_history._cloudsql import home_of
from kit.collect.cloud.exports import collect_cloud
from kit.evidence.columns import Column, build_frame
from kit.evidence.instances import project_of
from kit.evidence.model import Capture, Cost, Evidence, Gap, Provenance, Source

DATA = Path(__file__).parent / "data" / "cloud"
AT = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)
INSTANCE = "orders-prod:us-central1:orders-db"
ACCOUNT = "web-runtime@orders-prod.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
CLOUD_CHECKS = (
    "failed_revisions",
    "revisions_before_grant",
    "revisions_not_serving",
    "service_accounts_without_cloudsql_client",
)
Files = dict[str, Any]


def files_of(folder: str) -> Files:
    return {path.stem: json.loads(path.read_bytes()) for path in (DATA / folder).iterdir()}


@pytest.fixture
def healthy() -> Files:
    return files_of("healthy")


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., dict[str, Result]]:
    """Return what writes the files to a folder, collects it, and judges it with one check each."""

    def judged(files: Files, thresholds: Mapping[str, float] | None = None) -> dict[str, Result]:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return results(collect_cloud(tmp_path, AT), thresholds)

    return judged


def results(source: Source, thresholds: Mapping[str, float] | None = None) -> dict[str, Result]:
    judged = checks.judge(Capture("t", AT, AT, "0", (source,), Cost()), thresholds)
    return {result.check: result for result in judged if result.area == "deploy_history"}


def finding(check: str, **given: Any) -> Finding:
    subject = given["subject"]
    layer = checks.registry()[check].layer
    return Finding(**given, check=check, layer=layer, fingerprint=f"{check}:{subject.kind}:{subject.qualified}")


def rest_is_clean(found: Mapping[str, Result], *but: str) -> bool:
    return all(found[name].status == "clean" for name in CLOUD_CHECKS if name not in but)


def test_a_healthy_set_is_clean(judge: Any, healthy: Files) -> None:
    found = judge(healthy)
    assert {name: (found[name].status, found[name].examined) for name in CLOUD_CHECKS} == {
        "failed_revisions": ("clean", 2),
        "revisions_before_grant": ("clean", 2),
        "revisions_not_serving": ("clean", 1),
        "service_accounts_without_cloudsql_client": ("clean", 1),
    }


def test_incident_d_names_the_three_revisions_that_could_not_have_worked(judge: Any) -> None:
    found = judge(files_of("incident_d"))
    minutes = {"00035-pov": 2.685, "00034-wam": 55.167, "00033-kef": 98.591}
    assert found["revisions_before_grant"].findings == tuple(
        finding(
            "revisions_before_grant",
            severity="warning",
            subject=Subject("revision", f"session-api-{number}"),
            message=f"Revision session-api-{number} was created {value:.1f} minutes before roles/cloudsql.client was "
            f"granted to {ACCOUNT} at 2025-06-03 10:42:48 UTC: it could not have reached '{INSTANCE}\\r'. "
            f"(revisions.json /{position})",
            remedy="Judge a fix only by a revision created after the grant: deploy once more.",
            evidence=("revisions", (position,)),
            value=value,
            unit="minutes",
        )
        for position, (number, value) in enumerate(minutes.items(), 1)
    )
    assert [(f.severity, f.subject.name[-9:]) for f in found["failed_revisions"].findings] == [
        ("warning", "00035-pov"),
        ("warning", "00034-wam"),
        ("warning", "00033-kef"),
    ]
    assert rest_is_clean(found, "revisions_before_grant", "failed_revisions")


def test_incident_d_is_clear_once_its_old_revisions_are_gone_and_no_remedy_deletes_them(judge: Any) -> None:
    files = files_of("incident_d")
    found = judge(files)
    assert not any("delete" in f.remedy for result in found.values() for f in result.findings)
    deleted = {f.subject.name for f in found["revisions_before_grant"].findings}
    files["revisions"] = [r for r in files["revisions"] if r["metadata"]["name"] not in deleted]
    assert (len(deleted), rest_is_clean(judge(files))) == (3, True)


def fail(revision: Any) -> None:
    ready = revision["status"]["conditions"][0]
    ready |= {"status": "False", "reason": "SecretsAccessCheckFailed", "message": "Permission denied on secret"}


def test_a_failed_latest_revision_is_critical_until_another_is_deployed(judge: Any, healthy: Files) -> None:
    fail(healthy["revisions"][0])
    found = judge(healthy)
    assert found["failed_revisions"].findings == (
        finding(
            "failed_revisions",
            severity="critical",
            subject=Subject("revision", "session-api-00002-bex"),
            message="Revision session-api-00002-bex, the latest of service session-api, is not ready "
            "(SecretsAccessCheckFailed): Permission denied on secret (revisions.json /0)",
            remedy='gcloud logging read \'resource.type="cloud_run_revision" AND '
            'resource.labels.revision_name="session-api-00002-bex"\' --limit=50\n'
            "Mend what it names, then deploy the service again.",
            evidence=("revisions", (0,)),
        ),
    )
    assert rest_is_clean(found, "failed_revisions")
    newer = json.loads(json.dumps(healthy["revisions"][1]))
    newer["metadata"] |= {"name": "session-api-00003-cid", "creationTimestamp": "2025-06-10T08:00:00Z"}
    healthy["revisions"].insert(0, newer)
    [left] = judge(healthy)["failed_revisions"].findings
    assert left.severity == "warning"
    assert left.remedy.splitlines()[0] == "gcloud run revisions describe session-api-00002-bex", "a failure is evidence"
    del healthy["revisions"][1]
    assert rest_is_clean(judge(healthy))


def test_a_revision_that_still_starts_is_not_examined(judge: Any, healthy: Files) -> None:
    healthy["revisions"][0]["status"]["conditions"][0]["status"] = "Unknown"
    found = judge(healthy)["failed_revisions"]
    reason = "the export does not say whether it got ready"
    assert (found.examined, found.not_examined) == (1, (NotExamined("session-api-00002-bex", reason),))


def test_a_retired_revision_did_not_fail(judge: Any, healthy: Files) -> None:
    healthy["revisions"][1]["status"]["conditions"][0] |= {"status": "False", "reason": "Retired"}
    assert judge(healthy)["failed_revisions"].status == "clean"


def test_a_latest_revision_that_never_got_ready_is_not_serving(judge: Any, healthy: Files) -> None:
    status = healthy["service"]["status"]
    status["latestCreatedRevisionName"] = "session-api-00003-cid"
    found = judge(healthy)
    assert found["revisions_not_serving"].findings == (
        finding(
            "revisions_not_serving",
            severity="warning",
            subject=Subject("revision", "session-api-00003-cid"),
            message="Service session-api was last deployed as session-api-00003-cid; its latest ready revision is "
            "session-api-00002-bex. (service.json)",
            remedy="gcloud run revisions describe session-api-00003-cid\nMend what it names, then deploy again.",
            evidence=("services", (0,)),
        ),
    )
    for key in ("latestCreatedRevisionName", "latestReadyRevisionName"):
        status[key] = "session-api-00004-dad"
    status["traffic"][0]["revisionName"] = "session-api-00004-dad"
    assert rest_is_clean(judge(healthy))


def test_traffic_pinned_to_an_older_revision_is_found(judge: Any, healthy: Files) -> None:
    latest, older = "session-api-00002-bex", "session-api-00001-aan"
    healthy["service"]["status"]["traffic"] = [
        {"percent": 25, "revisionName": latest},
        {"percent": 75, "revisionName": older},
        {"revisionName": older, "tag": "old"},
    ]
    found = judge(healthy)
    assert found["revisions_not_serving"].findings == (
        finding(
            "revisions_not_serving",
            severity="warning",
            subject=Subject("revision", latest),
            message=f"75 % of the traffic of service session-api goes to {older}, not to its latest revision {latest}. "
            "(service.json /status/traffic/1)",
            remedy="gcloud run services update-traffic session-api --to-latest",
            evidence=("traffic", (1,)),
            value=75.0,
            threshold=0.0,
            unit="percent of the requests",
        ),
    )
    healthy["service"]["status"]["traffic"] = [{"latestRevision": True, "percent": 100, "revisionName": latest}]
    assert rest_is_clean(judge(healthy))


def test_each_service_is_held_against_its_own_traffic(judge: Any, healthy: Files) -> None:
    other = json.loads(json.dumps(healthy["service"]).replace("session-api", "billing"))
    assert rest_is_clean(judge({**healthy, "service": [healthy["service"], other]}))


def test_a_deploy_under_way_is_not_examined(judge: Any, healthy: Files) -> None:
    healthy["service"]["metadata"]["generation"] = 99
    found = judge(healthy)["revisions_not_serving"]
    assert (found.status, found.reason) == ("skipped", "a deploy was under way in the export")


def binding_of(files: Files, role: str) -> Any:
    return next(binding for binding in files["iam-policy"]["bindings"] if binding["role"] == role)


def test_an_account_without_the_role_is_critical_until_the_remedy_is_applied(judge: Any, healthy: Files) -> None:
    binding_of(healthy, "roles/cloudsql.client")["members"].clear()
    found = judge(healthy)
    [shown] = found["service_accounts_without_cloudsql_client"].findings
    assert shown == finding(
        "service_accounts_without_cloudsql_client",
        severity="critical",
        subject=Subject("service", "session-api"),
        message=f"Service session-api has Cloud SQL instance '{INSTANCE}' attached and runs as {ACCOUNT}, "
        "which has none of the roles that let it connect. (iam-policy.json /bindings; what a folder or the organisation "
        "grants is not in it)",
        remedy=f"gcloud projects add-iam-policy-binding orders-prod --member={MEMBER} --role=roles/cloudsql.client",
        evidence=("services", (0,)),
    )
    assert shown.layer == "authentication"
    assert rest_is_clean(found, "service_accounts_without_cloudsql_client")
    member, role = (word.partition("=")[2] for word in shown.remedy.split()[-2:])
    healthy["iam-policy"]["bindings"].append({"role": role, "members": [member]})
    assert rest_is_clean(judge(healthy))


@pytest.mark.parametrize("role", ["roles/cloudsql.viewer", "roles/cloudsql.instanceUser", "roles/viewer"])
def test_roles_that_do_not_connect_do_not_count(judge: Any, healthy: Files, role: str) -> None:
    binding_of(healthy, "roles/cloudsql.client")["role"] = role
    assert judge(healthy)["service_accounts_without_cloudsql_client"].status == "findings"


@pytest.mark.parametrize("role", ["roles/cloudsql.editor", "roles/cloudsql.admin", "roles/editor", "roles/owner"])
def test_stronger_roles_count(judge: Any, healthy: Files, role: str) -> None:
    binding_of(healthy, "roles/cloudsql.client")["role"] = role
    assert judge(healthy)["service_accounts_without_cloudsql_client"].status == "clean"


def test_what_everybody_may_the_account_may(judge: Any, healthy: Files) -> None:
    binding_of(healthy, "roles/cloudsql.client")["members"] = ["allAuthenticatedUsers"]
    assert judge(healthy)["service_accounts_without_cloudsql_client"].status == "clean"


def test_a_deleted_account_of_the_same_name_does_not_count(judge: Any, healthy: Files) -> None:
    binding_of(healthy, "roles/cloudsql.client")["members"] = [f"deleted:{MEMBER}?uid=123"]
    assert judge(healthy)["service_accounts_without_cloudsql_client"].status == "findings"


def set_condition(files: Files) -> None:
    binding_of(files, "roles/cloudsql.client")["condition"] = {"title": "office hours", "expression": "true"}


def set_custom_role(files: Files) -> None:
    binding_of(files, "roles/cloudsql.client")["role"] = "projects/orders-prod/roles/runtime"


def set_group(files: Files) -> None:
    binding_of(files, "roles/cloudsql.client")["members"] = ["group:a@b.com"]


def set_other_project(files: Files) -> None:
    binding_of(files, "roles/cloudsql.client")["members"].clear()
    annotations = files["service"]["spec"]["template"]["metadata"]["annotations"]
    annotations["run.googleapis.com/cloudsql-instances"] = "shared-data:us-central1:main"


def set_policy_of_a_secret(files: Files) -> None:
    secret = {"role": "roles/secretmanager.secretAccessor", "members": [MEMBER]}
    files["iam-policy"]["bindings"] = [secret]


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (
            set_condition,
            "roles/cloudsql.client is bound under the condition 'office hours': cannot tell from this file",
        ),
        (
            set_custom_role,
            "the custom role projects/orders-prod/roles/runtime is bound: cannot tell from this file what it permits",
        ),
        (
            set_group,
            "roles/cloudsql.client is given to group:a@b.com: cannot tell from this file whether the account is in it",
        ),
        (
            set_other_project,
            "the instance is in another project than the service account, and a policy does not say whose it is",
        ),
        (set_policy_of_a_secret, "no file in the folder is a project's IAM policy with bindings"),
    ],
)
def test_what_a_file_cannot_tell_is_not_examined(judge: Any, healthy: Files, alter: Any, reason: str) -> None:
    alter(healthy)
    found = judge(healthy)["service_accounts_without_cloudsql_client"]
    assert (found.status, found.not_examined) == ("skipped", (NotExamined("session-api", reason),))


def grant_entry(files: Files) -> Any:
    return next(e for e in files["audit"] if e["protoPayload"]["methodName"] == "SetIamPolicy")


def test_a_refused_grant_is_none(judge: Any, healthy: Files) -> None:
    grant_entry(healthy)["protoPayload"]["status"] = {"code": 7, "message": "denied"}
    # The log then knows no grant, and the policy holds one: it is older than the log.
    assert rest_is_clean(judge(healthy))
    binding_of(healthy, "roles/cloudsql.client")["members"].clear()
    found = judge(healthy)["revisions_before_grant"]
    reason = f"neither the audit log nor the policy shows a role for {ACCOUNT} that lets it connect"
    names = ("session-api-00002-bex", "session-api-00001-aan")
    assert found.not_examined == tuple(NotExamined(name, reason) for name in names)


def test_a_role_held_besides_the_logged_one_clears(judge: Any) -> None:
    files = files_of("incident_d")
    files["iam-policy"]["bindings"].append({"role": "roles/editor", "members": [MEMBER]})
    assert judge(files)["revisions_before_grant"].status == "clean"


def policy_change(files: Files, entry_id: str, at: str, *actions: str) -> None:
    entry = json.loads(json.dumps(grant_entry(files))) | {"insertId": entry_id, "timestamp": at}
    delta = entry["protoPayload"]["serviceData"]["policyDelta"]
    delta["bindingDeltas"] = [{**delta["bindingDeltas"][0], "action": action} for action in actions]
    files["audit"].append(entry)


def before_grant(result: Result) -> list[tuple[str, float | None]]:
    return [(shown.subject.name, shown.value) for shown in result.findings]


def test_between_revoke_and_grant_nothing_connects(judge: Any, healthy: Files) -> None:
    policy_change(healthy, "r1", "2025-06-10T07:00:00Z", "REMOVE")
    policy_change(healthy, "r2", "2025-06-10T08:00:00Z", "ADD")
    assert before_grant(judge(healthy)["revisions_before_grant"]) == [("session-api-00002-bex", 29.992)]


def test_what_the_log_first_revokes_was_held_before(judge: Any, healthy: Files) -> None:
    policy_change(healthy, "r1", "2025-06-10T07:00:00Z", "REMOVE")
    policy_change(healthy, "r2", "2025-06-10T08:00:00Z", "ADD")
    healthy["audit"].remove(next(entry for entry in healthy["audit"] if entry["insertId"] == "a1"))
    assert before_grant(judge(healthy)["revisions_before_grant"]) == [("session-api-00002-bex", 29.992)]


def test_a_changed_condition_is_no_gap_in_the_grant(judge: Any, healthy: Files) -> None:
    policy_change(healthy, "c1", "2025-06-10T07:00:00Z", "ADD", "REMOVE")
    policy_change(healthy, "c2", "2025-06-10T08:00:00Z", "ADD", "REMOVE")
    assert judge(healthy)["revisions_before_grant"].status == "clean"


def test_a_failure_just_after_the_grant_is_information(judge: Any, healthy: Files) -> None:
    grant_entry(healthy)["timestamp"] = "2025-06-09T07:25:00.250000Z"
    assert judge(healthy)["revisions_before_grant"].status == "clean"
    fail(healthy["revisions"][1])
    [shown] = judge(healthy)["revisions_before_grant"].findings
    assert (shown.severity, shown.value, shown.threshold) == ("info", 5.0, 10)
    assert judge(healthy, {"revisions_before_grant.propagation_minutes": 5})["revisions_before_grant"].status == "clean"


def test_a_service_without_cloud_sql_is_nobodys_business(judge: Any, healthy: Files) -> None:
    for item in (healthy["service"]["spec"]["template"], *healthy["revisions"]):
        del item["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"]
        item["spec"]["containers"][0]["env"] = []
    binding_of(healthy, "roles/cloudsql.client")["members"].clear()
    found = judge(healthy)
    assert [found[name].examined for name in CLOUD_CHECKS] == [2, 0, 1, 0]
    assert rest_is_clean(found)


def test_what_cannot_connect_explains_a_connection_that_fails(judge: Any, healthy: Files) -> None:
    assert judge(healthy)["service_accounts_without_cloudsql_client"].explains == {"08001", "08006"}


def test_projects_are_read_from_names() -> None:
    assert [project_of(name) for name in ("p:r:i", "example.com:p:r:i\r", "i", "r:i")] == [
        "p",
        "example.com:p",
        None,
        None,
    ]
    accounts = (
        "a@p.iam.gserviceaccount.com",
        "a@p.example.com.iam.gserviceaccount.com",
        "1-compute@developer.gserviceaccount.com",
    )
    assert [home_of(account) for account in accounts] == ["p", "example.com:p", None]


TIME = "datetime64[us, UTC]"
LEDGER = (
    *(Column(name, "string") for name in ("tool", "schema_name", "relation_name", "migration_name")),
    *(Column(name, "datetime64[us, UTC]") for name in ("started_at", "finished_at", "rolled_back_at")),
    Column("is_failed", "boolean"),
    Column("applied_steps", "Int64"),
)
PRISMA = ("prisma", "public", "_prisma_migrations")
START = AT - timedelta(hours=2)


def migrations(*rows: tuple[Any, ...], **thresholds: float) -> Result:
    provenance = Provenance(title="", grain="", text="", text_sha256="", at=AT, seconds=0, rows=len(rows))
    evidence = {
        "migration_ledgers": Evidence(build_frame((), ()), (), provenance),
        "migrations": Evidence(build_frame(LEDGER, rows), LEDGER, provenance),
    }
    source = Source("app", "postgres", "laptop", None, evidence)
    return results(source, {f"failed_migrations.{key}": value for key, value in thresholds.items()})["failed_migrations"]


def test_a_ledger_that_could_not_be_read_is_not_examined() -> None:
    gap = Gap(kind="not permitted", reason="permission denied for table _prisma_migrations (42501)")
    provenance = Provenance(title="", grain="", text="", text_sha256="", at=AT, seconds=0, rows=1)
    evidence = {"migration_ledgers": Evidence(build_frame((), ()), (), provenance)}
    gaps = {"migrations:public._prisma_migrations": gap}
    result = results(Source("app", "postgres", "laptop", None, evidence, gaps), {})["failed_migrations"]

    assert result.status == "skipped"
    assert [(unseen.subject, unseen.reason) for unseen in result.not_examined] == [("public._prisma_migrations", gap.reason)]


GOOD = (*PRISMA, "001_init", START, START, None, False, 1)
BAD = (*PRISMA, "002_it's bad", START, None, None, True, 0)


def test_a_failed_migration_is_critical_until_it_is_rolled_back_and_deployed() -> None:
    assert (migrations(GOOD).status, migrations(GOOD).examined) == ("clean", 1)
    assert migrations(GOOD, BAD).findings == (
        finding(
            "failed_migrations",
            severity="critical",
            subject=Subject("migration", "002_it's bad", "public"),
            message="Migration 002_it's bad of prisma (ledger public._prisma_migrations), started at "
            "2025-06-11 10:00:00 UTC, failed or never finished.",
            remedy="Undo what it left behind, then:\n"
            "prisma migrate resolve --rolled-back '002_it'\"'\"'s bad'\nprisma migrate deploy",
            evidence=("migrations", (1,)),
            value=120.0,
            unit="minutes",
        ),
    )
    resolved = (*BAD[:6], AT, True, 0)
    assert migrations(GOOD, resolved).status == "clean"
    retried = (*BAD[:4], AT, AT, None, False, 1)
    assert migrations(GOOD, resolved, retried).status == "clean"


def test_a_later_success_clears_and_an_earlier_one_does_not() -> None:
    later = (*BAD[:4], START + timedelta(minutes=1), AT, None, False, 1)
    earlier = (*BAD[:4], START - timedelta(minutes=1), START, None, False, 1)
    assert [migrations(*rows).status for rows in ((BAD, later), (later, BAD), (earlier, BAD), (BAD, earlier))] == [
        "clean",
        "clean",
        "findings",
        "findings",
    ]


def test_without_times_the_place_in_the_ledger_decides() -> None:
    bad = ("sqlx", "public", "_sqlx_migrations", "7", None, None, None, True, None)
    good = (*bad[:7], False, None)
    assert [migrations(*rows).status for rows in ((bad, good), (good, bad))] == ["clean", "findings"]


def test_two_failures_of_one_migration_are_one_finding() -> None:
    [shown] = migrations(BAD, GOOD, (*BAD[:4], START + timedelta(minutes=30), *BAD[5:])).findings
    assert (shown.evidence, shown.value) == (("migrations", (0, 2)), 90.0)


def test_a_migration_just_started_may_still_run() -> None:
    young = (*BAD[:4], AT - timedelta(minutes=9), *BAD[5:])
    [shown] = migrations(young).findings
    assert (shown.severity, shown.value, shown.threshold) == ("warning", 9.0, 10.0)
    assert shown.message.endswith("started at 2025-06-11 11:51:00 UTC, has not finished and may still run.")
    assert shown.remedy == "Wait until it has ended, then capture again."
    assert migrations(young, running_minutes=9).findings[0].severity == "critical"


def test_a_failure_with_an_end_does_not_still_run() -> None:
    ended = ("flyway", "public", "flyway_schema_history", "3", AT, AT, None, True, None)
    [shown] = migrations(ended).findings
    assert (shown.severity, shown.remedy) == (
        "critical",
        "Undo what it left behind, then:\nflyway repair\nflyway migrate",
    )


def test_a_ledger_that_cannot_record_failure_holds_nothing_back() -> None:
    rows = [("django", "App", "django_migrations", name, START, START, None, None, None) for name in ("a", "b")]

    assert [(migrations(*given).status, migrations(*given).examined) for given in ((*rows, BAD), rows)] == [
        ("findings", 1),
        ("clean", 0),
    ]


def test_a_failed_migration_explains_what_is_missing() -> None:
    assert migrations(BAD).explains == {"42P01", "42703", "42704"}
    assert (migrations().status, migrations().examined) == ("clean", 0)
