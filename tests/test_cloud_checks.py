"""The checks of cloud exports: clean on a healthy set, each defect found with its place, and what a file cannot tell said."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.analyze.findings import Result
from kit.case.judging import Question, judged
from kit.collect.cloud.exports import collect_cloud
from kit.evidence.model import Capture, Cost
from kit.report.running import exit_status
from tests.cloud_v2 import revision_v2, service_v2

DATA = Path(__file__).parent / "data" / "cloud"
AT = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)
INSTANCE = "orders-prod:us-central1:orders-db"
ACCOUNT = "web-runtime@orders-prod.iam.gserviceaccount.com"
SECRET = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{ACCOUNT}"]}
Files = dict[str, Any]
Alter = Callable[[Files], None]


@pytest.fixture
def healthy() -> Files:
    return {path.stem: json.loads(path.read_bytes()) for path in (DATA / "healthy").iterdir()}


@pytest.fixture
def capture(tmp_path: Path) -> Callable[[Files], Capture]:
    def captured(files: Files) -> Capture:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, content in files.items():
            data = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{name}.json").write_text(data, encoding="utf-8")
        return Capture("t", AT, AT, "0", (collect_cloud(tmp_path, AT),), Cost())

    return captured


@pytest.fixture
def judge(capture: Any) -> Callable[[Files], dict[str, Result]]:
    return lambda files: {result.check: result for result in checks.judge(capture(files)) if result.source == "cloud"}


def annotations(files: Files) -> dict[str, str]:
    return files["service"]["spec"]["template"]["metadata"]["annotations"]


def spec(files: Files) -> dict[str, Any]:
    return files["service"]["spec"]["template"]["spec"]


def env(files: Files) -> list[dict[str, Any]]:
    return spec(files)["containers"][0]["env"]


def set_literal(files: Files, name: str, value: str) -> None:
    env(files).append({"name": name, "value": value})


def settings(files: Files) -> dict[str, Any]:
    return files["instance"]["settings"]


def attach(files: Files, name: str) -> None:
    annotations(files)["run.googleapis.com/cloudsql-instances"] = name


def detach(files: Files) -> None:
    del annotations(files)["run.googleapis.com/cloudsql-instances"]


def on_the_service_only(files: Files) -> None:
    detach(files)
    env(files)[0] = {"name": "MODE", "value": "production"}
    files["service"]["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"] = INSTANCE


def as_v2(files: Files) -> None:
    """Replace the service by the same one in the shape of REST and Terraform."""
    template = {
        "serviceAccount": ACCOUNT,
        "containers": [
            {"image": "a", "env": [{"name": "JWT_KEY", "valueSource": {"secretKeyRef": {"secret": "jwt-key", "version": "2"}}}]}
        ],
        "volumes": [{"name": "sql", "cloudSqlInstance": {"instances": [f"{INSTANCE}\r"]}}],
    }
    name = "projects/orders-prod/locations/us-central1/services/session-api"
    ready = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
    revision = f"{name}/revisions/session-api-00002-bex"
    files["service"] = {
        "name": name,
        "template": template,
        "terminalCondition": ready,
        "latestReadyRevision": revision,
        "latestCreatedRevision": revision,
    }


def without_role(files: Files, role: str) -> None:
    files["iam-policy"]["bindings"] = [b for b in files["iam-policy"]["bindings"] if b["role"] != role]


def unreadable_secret(files: Files) -> None:
    without_role(files, "roles/secretmanager.secretAccessor")


def refused_revision(files: Files) -> None:
    del files["secret-iam-policy-jwt-key"]
    unreadable_secret(files)
    ready = files["revisions"][0]["status"]["conditions"][0]
    ready |= {"status": "False", "reason": "SecretsAccessCheckFailed", "message": "Permission denied on secret jwt-key"}


def iam_login(files: Files) -> None:
    env(files)[0]["value"] = f"postgresql://web-runtime%40orders-prod.iam@/orders?host=/cloudsql/{INSTANCE}"
    files["users"].append(
        {"instance": "orders-db", "kind": "sql#user", "name": "web-runtime@orders-prod.iam", "type": "CLOUD_IAM_SERVICE_ACCOUNT"}
    )
    files["iam-policy"]["bindings"].append({"role": "roles/cloudsql.instanceUser", "members": [f"serviceAccount:{ACCOUNT}"]})


def iam_login_without(part: str) -> Alter:
    def alter(files: Files) -> None:
        iam_login(files)
        if part == "flag":
            settings(files)["databaseFlags"] = []
        elif part == "user":
            files["users"].pop()
        elif part == "role":
            files["iam-policy"]["bindings"].pop()
        else:
            env(files)[0]["value"] = env(files)[0]["value"].replace(".iam@", ".iam.gserviceaccount.com@")

    return alter


def logged(text: str, revision: str = "session-api-00002-bex", at: str = "2025-06-10T09:00:00Z") -> Alter:
    def alter(files: Files) -> None:
        labels = {"service_name": "session-api", "revision_name": revision}
        entry = {"logName": "projects/p/logs/run.googleapis.com%2Fstderr", "insertId": "1", "timestamp": at, "severity": "ERROR"}
        files["log-errors"] = [entry | {"resource": {"type": "cloud_run_revision", "labels": labels}, "textPayload": text}]

    return alter


def newer_version(files: Files) -> None:
    newest = json.loads(json.dumps(files["secret-versions-jwt-key"][0]))
    newest |= {"name": newest["name"].replace("/2", "/3"), "createTime": "2025-06-10T08:00:00Z"}
    files["secret-versions-jwt-key"].insert(0, newest)


def not_found(files: Files) -> None:
    words = "ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/jwt-key] not found.\n"
    files["secret-versions-jwt-key"] = words


def out_of_disk(files: Files) -> None:
    files["instance"]["outOfDiskReport"] = {"sqlOutOfDiskState": "SOFT_SHUTDOWN"}


def full_limit(files: Files) -> None:
    settings(files)["storageAutoResizeLimit"] = "50"


def direct(query: str, **ip_configuration: str) -> Alter:
    def alter(files: Files) -> None:
        env(files)[0]["value"] = f"postgresql://app:x@203.0.113.20/orders{query}"
        settings(files)["ipConfiguration"] |= {"sslMode": "ENCRYPTED_ONLY"} | ip_configuration

    return alter


def only_connectors(files: Files) -> None:
    direct("?sslmode=require")(files)
    settings(files)["connectorEnforcement"] = "REQUIRED"


def private_only(files: Files) -> None:
    settings(files)["ipConfiguration"]["ipv4Enabled"] = False


def private_with_connector(files: Files) -> None:
    private_only(files)
    annotations(files)["run.googleapis.com/vpc-access-connector"] = "c"


POINTER = "/spec/template/metadata/annotations/run.googleapis.com~1cloudsql-instances"
BROKEN: list[tuple[str, Alter, str, str]] = [
    (
        "misnamed_instances",
        lambda f: attach(f, f"{INSTANCE}\r"),
        "critical",
        f"(carriage return at the end). (service.json {POINTER})",
    ),
    (
        "misnamed_instances",
        lambda f: attach(f, INSTANCE.replace("1:", "1-a:")),
        "critical",
        f"names the zone us-central1-a where the region us-central1 belongs. (service.json {POINTER})",
    ),
    (
        "misnamed_instances",
        lambda f: attach(f, INSTANCE.replace("us-c", "europe-c")),
        "critical",
        f"differs from the instance's own name '{INSTANCE}'. (service.json",
    ),
    ("misnamed_instances", lambda f: attach(f, "orders-db"), "critical", "is not PROJECT:REGION:INSTANCE. (service.json"),
    ("misnamed_instances", lambda f: attach(f, f"{INSTANCE},{INSTANCE} "), "critical", "space at the end"),
    (
        "misnamed_instances",
        as_v2,
        "critical",
        "(carriage return at the end). (service.json /template/volumes/0/cloudSqlInstance/instances/0)",
    ),
    (
        "misnamed_instances",
        lambda f: set_literal(f, "INSTANCE_CONNECTION_NAME", f"{INSTANCE}\n"),
        "critical",
        "(line feed at the end). (service.json /spec/template/spec/containers/0/env/2)",
    ),
    (
        "unattached_instances",
        detach,
        "critical",
        f"leads to the socket of '{INSTANCE}'; nothing is attached. (service.json /spec/template/spec/containers/0/env/0)",
    ),
    (
        "unattached_instances",
        lambda f: attach(f, "orders-prod:us-central1:other"),
        "critical",
        "attached is 'orders-prod:us-central1:other'",
    ),
    (
        "unattached_instances",
        on_the_service_only,
        "critical",
        "has no effect. (service.json /metadata/annotations/run.googleapis.com~1cloudsql-instances)",
    ),
    ("unusable_secrets", not_found, "critical", "wants as variable JWT_KEY, does not exist. (secret-versions-jwt-key.json)"),
    (
        "unusable_secrets",
        lambda f: f["secret-versions-jwt-key"][0].update(state="DISABLED"),
        "critical",
        "has the version 2 as latest, which is DISABLED. (secret-versions-jwt-key.json /0/state)",
    ),
    (
        "unusable_secrets",
        lambda f: env(f)[1]["valueFrom"]["secretKeyRef"].update(key="7"),
        "critical",
        "has no version 7. (secret-versions-jwt-key.json /0)",
    ),
    (
        "unusable_secrets",
        lambda f: env(f)[1]["valueFrom"]["secretKeyRef"].update(key="1"),
        "critical",
        "has the version 1 as 1, which is DISABLED",
    ),
    (
        "values_with_invisible_characters",
        lambda f: set_literal(f, "DB_HOST", "10.0.0.1\r"),
        "critical",
        "carriage return at the end. (service.json /spec/template/spec/containers/0/env/2/value)",
    ),
    ("values_with_invisible_characters", lambda f: set_literal(f, "MODE", "'live'"), "warning", "quotes around it"),
    (
        "foreign_engines",
        lambda f: f["instance"].update(databaseVersion="MYSQL_8_0"),
        "critical",
        "is MYSQL_8_0, and DATABASE_URL of service session-api expects POSTGRES. (instance.json /databaseVersion)",
    ),
    ("foreign_engines", lambda f: f["instance"].update(databaseVersion="POSTGRES_9_6"), "info", "is POSTGRES_9_6, older than 13"),
    (
        "stopped_instances",
        lambda f: settings(f).update(activationPolicy="NEVER"),
        "critical",
        "is stopped, although its state reads RUNNABLE. (instance.json /settings/activationPolicy)",
    ),
    (
        "stopped_instances",
        lambda f: f["instance"].update(state="MAINTENANCE"),
        "critical",
        "is MAINTENANCE. (instance.json /state)",
    ),
    (
        "stopped_instances",
        lambda f: f["instance"].update(suspensionReason=["BILLING_ISSUE"]),
        "critical",
        "is suspended: BILLING_ISSUE",
    ),
    (
        "stopped_instances",
        out_of_disk,
        "critical",
        "is out of disk (SOFT_SHUTDOWN). (instance.json /outOfDiskReport/sqlOutOfDiskState)",
    ),
    ("stopped_instances", full_limit, "warning", "has reached the 50 GB up to which its disk grows by itself"),
    (
        "private_addresses_without_vpc",
        private_only,
        "critical",
        "has no public address. (instance.json /settings/ipConfiguration/ipv4Enabled)",
    ),
    (
        "private_addresses_without_vpc",
        lambda f: env(f)[0].update(value="postgresql://app:x@10.1.2.3/orders"),
        "critical",
        "DATABASE_URL leads to the private address 10.1.2.3",
    ),
    (
        "private_dependencies_without_vpc",
        lambda f: set_literal(f, "REDIS_URL", "redis://:x@10.1.2.3:6379"),
        "critical",
        "REDIS_URL of service session-api leads to the private address 10.1.2.3",
    ),
    (
        "service_accounts_without_secret_access",
        unreadable_secret,
        "critical",
        "no policy gives it a role that reads it (iam-policy.json /bindings; what a folder",
    ),
    (
        "service_accounts_without_secret_access",
        refused_revision,
        "critical",
        "was refused with SecretsAccessCheckFailed (revisions.json /0)",
    ),
    (
        "service_accounts_without_iam_login",
        iam_login_without("flag"),
        "critical",
        "cloudsql.iam_authentication is not on on orders-prod:us-central1:orders-db. (instance.json /settings/databaseFlags)",
    ),
    ("service_accounts_without_iam_login", iam_login_without("user"), "critical", "is not among the IAM users"),
    (
        "service_accounts_without_iam_login",
        iam_login_without("role"),
        "critical",
        "has no role that lets it log in. (iam-policy.json /bindings; what a folder",
    ),
    ("service_accounts_without_iam_login", iam_login_without("name"), "critical", "is written with .gserviceaccount.com"),
    (
        "secrets_moved_after_start",
        newer_version,
        "warning",
        "was added 30.0 minutes after revision session-api-00002-bex was created",
    ),
    (
        "logged_errors",
        logged("Error 403: boss::NOT_AUTHORIZED"),
        "critical",
        "“not authorized for Cloud SQL” once, last at 2025-06-10 09:00:00 UTC: a matter of authentication. (log-errors.json /0)",
    ),
    (
        "logged_errors",
        logged("Error 403: boss::NOT_AUTHORIZED", "session-api-00001-aan"),
        "warning",
        "that revision does not serve any more",
    ),
    (
        "logged_errors",
        logged('relation "sessions" does not exist', at="2025-06-10T07:00:00Z"),
        "warning",
        "after the last of them: ReplaceService of session-api",
    ),
    ("logged_errors", logged("something else entirely"), "info", "“another error” once"),
    (
        "faulty_service_strings",
        lambda f: set_literal(f, "REPORTS_DATABASE_URL", "postgresql://app:x@localhost:5432/orders"),
        "critical",
        "the container itself, where no database runs. (service.json /spec/template/spec/containers/0/env/2/value)",
    ),
    (
        "faulty_service_strings",
        lambda f: env(f)[0].update(value=f"postgresql://app:x@/cloudsql/{INSTANCE}"),
        "critical",
        "DATABASE_URL of service session-api: The socket's path stands where the database's name belongs",
    ),
    (
        "faulty_service_strings",
        lambda f: env(f)[0].update(value="sqlite:////tmp/fallback.db"),
        "critical",
        "This is a SQLite database, not PostgreSQL.",
    ),
    (
        "faulty_service_strings",
        lambda f: set_literal(f, "PUBLIC_URL", "postgresql://app:x@34.1.2.3/orders?sslmode=disable"),
        "warning",
        "sslmode=disable may go unencrypted to a public address",
    ),
    (
        "refusing_instance_settings",
        direct("?sslmode=disable"),
        "critical",
        "the string turns TLS off. (service.json /spec/template/spec/containers/0/env/0/value) (instance.json /settings/ipConf",
    ),
    (
        "refusing_instance_settings",
        direct("?sslmode=require", sslMode="TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
        "critical",
        "wants a client's certificate, which the string does not name",
    ),
    (
        "refusing_instance_settings",
        only_connectors,
        "critical",
        "only through a connector or the socket. (service.json /spec/template/spec/containers/0/env/0/value) (instance.json /se",
    ),
    (
        "refusing_instance_settings",
        lambda f: settings(f).update(databaseFlags=[{"name": "default_transaction_read_only", "value": "on"}]),
        "warning",
        f"Every session on {INSTANCE} is read-only by default. (instance.json /settings/databaseFlags/0/value)",
    ),
    ("unread_exports", lambda f: f.update(package={"name": "web"}), "info", "package.json holds 1 of 1 items that are not read"),
]


@pytest.mark.parametrize(("check", "alter", "severity", "words"), BROKEN, ids=[f"{n}-{row[0]}" for n, row in enumerate(BROKEN)])
def test_a_defect_is_found_with_its_place(
    judge: Any, healthy: Files, check: str, alter: Alter, severity: str, words: str
) -> None:
    assert judge(healthy)[check].findings == ()
    alter(healthy)
    found = [f for f in judge(healthy)[check].findings if f.severity == severity]
    assert any(words in finding.message for finding in found), [finding.message for finding in found]


SIGNATURES = [
    ('Cloud SQL instance "a:us-east1:b" is not reachable', "instance not reachable", "reachability"),
    (
        'connection to server on socket "/cloudsql/a:b:c/.s.PGSQL.5432" failed: No such file or directory',
        "no socket file",
        "configuration",
    ),
    ("Error: connect ENOENT /cloudsql/a:b:c/.s.PGSQL.5432", "no socket file", "configuration"),
    ('FATAL:  password authentication failed for user "app"', "password refused", "authentication"),
    ('FATAL:  Cloud SQL IAM service account authentication failed for user "x@p.iam"', "IAM login refused", "authentication"),
    ('FATAL:  database "shop" does not exist', "database missing", "database identity"),
    ('relation "settlement_commands" does not exist', "relation missing", "schema"),
    ('column "platform_id" of relation "sessions" does not exist', "column missing", "schema"),
    ("The table `public.users` does not exist in the current database.", "relation missing", "schema"),
    ("permission denied for table orders", "permission denied", "privileges"),
    (
        "FATAL: remaining connection slots are reserved for non-replication superuser connections",
        "no connection slots",
        "capacity",
    ),
    (
        "Permission denied on secret: projects/1/secrets/url/versions/latest for Revision service account",
        "secret not readable",
        "auth",
    ),
    ("Secret projects/1/secrets/url/versions/latest was not found", "secret not found", "configuration"),
    ("connect ECONNREFUSED 127.0.0.1:5432", "connection refused", "reachability"),
    ("ConnectionError: connect ETIMEDOUT 10.0.0.1:5432", "connection timed out", "reachability"),
    ("The asyncio extension requires an async driver to be used", "driver not fitting", "configuration"),
    ("Memory limit of 512 MiB exceeded with 530 MiB used.", "out of memory", "service"),
]


@pytest.mark.parametrize(("text", "signature", "layer"), SIGNATURES)
def test_a_known_error_names_its_rung_and_the_line_is_not_kept(
    judge: Any, capture: Any, healthy: Files, text: str, signature: str, layer: str
) -> None:
    logged(f"{text} at canary-7f3a")(healthy)
    [finding] = judge(healthy)["logged_errors"].findings
    assert f"“{signature}”" in finding.message
    assert f"a matter of {layer}" in finding.message
    assert "canary-7f3a" not in repr(capture(healthy).sources[0].evidence["log_signatures"].frame.to_dict())


CLEAN: list[Alter] = [
    lambda files: None,
    iam_login,
    private_with_connector,
    lambda files: annotations(files).update({"run.googleapis.com/network-interfaces": '[{"network":"default"}]'}),
    lambda files: (unreadable_secret(files), files["secret-iam-policy-jwt-key"].update(bindings=[SECRET])),  # type: ignore[list-item]
    lambda files: attach(files, f"{INSTANCE}"),
    lambda files: files.update(package={"name": "web"}),
    lambda files: files["iam-policy"]["bindings"].append({"role": "roles/viewer", "members": ["allUsers"]}),
]


@pytest.mark.parametrize("alter", CLEAN)
def test_a_healthy_set_is_healthy_with_nothing_at_warning_or_above(capture: Any, healthy: Files, alter: Alter) -> None:
    alter(healthy)
    document = judged(capture(healthy), Question("case"))
    assert [f.message for r in document.results for f in r.findings if f.severity != "info"] == []
    assert (document.verdict.status, exit_status(document, "critical")) == ("healthy", 0)


def test_an_empty_folder_is_not_examined(capture: Any) -> None:
    document = judged(capture({}), Question("case"))
    cloud = [result for result in document.results if result.source == "cloud"]
    assert {result.status for result in cloud} == {"skipped"}
    assert (document.verdict.status, exit_status(document, "critical")) == ("open", 3)


def conditional(files: Files) -> None:
    unreadable_secret(files)
    files["iam-policy"]["bindings"].append(SECRET | {"condition": {"title": "office hours", "expression": "true"}})


def grouped(files: Files) -> None:
    unreadable_secret(files)
    files["iam-policy"]["bindings"].append(SECRET | {"members": ["group:all@example.com"]})


def custom(files: Files) -> None:
    unreadable_secret(files)
    files["iam-policy"]["bindings"].append(SECRET | {"role": "projects/orders-prod/roles/runtime"})


def own_policy_missing(files: Files) -> None:
    unreadable_secret(files)
    del files["secret-iam-policy-jwt-key"]


def hidden_string(files: Files) -> None:
    detach(files)
    env(files)[0] = {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "jwt-key", "key": "latest"}}}


def denied_secret(files: Files) -> None:
    files["secret-versions-jwt-key"] = (
        "ERROR: (gcloud.secrets.versions.list) PERMISSION_DENIED: denied on [projects/1/secrets/jwt-key].\n"
    )


UNSEEN: list[tuple[str, Alter, str]] = [
    ("service_accounts_without_secret_access", conditional, "under the condition 'office hours'"),
    ("service_accounts_without_secret_access", grouped, "is given to group:all@example.com: cannot tell from this file"),
    ("service_accounts_without_secret_access", custom, "cannot tell from this file what it permits"),
    ("service_accounts_without_secret_access", own_policy_missing, "the secret's own policy is not in the folder"),
    ("unusable_secrets", lambda f: f.pop("secret-versions-jwt-key"), "no list of its versions is in the folder"),
    ("unusable_secrets", denied_secret, "its versions could not be listed: PERMISSION_DENIED"),
    ("misnamed_instances", lambda f: attach(f, "other-project:us-central1:orders-db"), "no export of the instance"),
    ("unattached_instances", hidden_string, "DATABASE_URL is in a secret, and nothing is attached"),
    ("stopped_instances", lambda f: f.pop("instance"), "no file of Cloud SQL instances"),
    ("stopped_instances", lambda f: settings(f).pop("activationPolicy"), "does not say whether it is started"),
    ("service_accounts_without_iam_login", lambda f: (iam_login(f), f.pop("users")), "no list of the instance's users"),  # type: ignore[list-item]
    ("logged_errors", lambda f: f.pop("log-errors"), "no file of log entries in the folder"),
    ("unread_exports", lambda f: f.update(other='{"kind": "Serv'), "other.json is not JSON, or was cut short"),
    (
        "faulty_service_strings",
        lambda f: set_literal(f, "OTHER_DATABASE_URL", "postgresql://app:cut-in-its-pass"),
        "where its password ends cannot be told",
    ),
    ("unread_exports", lambda f: f.update(other=""), "other.json is empty: the command that should have filled it"),
]


@pytest.mark.parametrize(("check", "alter", "words"), UNSEEN)
def test_what_a_file_cannot_tell_is_not_examined_and_never_clean(
    judge: Any, healthy: Files, check: str, alter: Alter, words: str
) -> None:
    alter(healthy)
    result = judge(healthy)[check]
    assert result.status != "clean" or result.not_examined
    assert words in f"{result.reason} {[n.reason for n in result.not_examined]}"
    assert [finding for finding in result.findings if finding.severity == "critical"] == []


def test_a_role_that_a_folder_grants_counts(judge: Any, healthy: Files) -> None:
    for role in ("roles/cloudsql.client", "roles/secretmanager.secretAccessor"):
        without_role(healthy, role)
    checked = ("service_accounts_without_cloudsql_client", "service_accounts_without_secret_access")
    assert all(judge(healthy)[check].findings for check in checked)
    bindings = [SECRET, SECRET | {"role": "roles/cloudsql.client"}]
    healthy["ancestors"] = [{"id": "42", "type": "folder", "policy": {"bindings": bindings}}]
    assert [judge(healthy)[check].status for check in checked] == ["clean", "clean"]


def test_where_the_policies_do_not_tell_the_log_may(judge: Any, healthy: Files) -> None:
    without_role(healthy, "roles/cloudsql.client")
    healthy["iam-policy"]["bindings"].append({"role": "roles/cloudsql.client", "members": ["group:all@example.com"]})
    assert judge(healthy)["service_accounts_without_cloudsql_client"].findings == ()
    logged("Error 403: boss::NOT_AUTHORIZED")(healthy)
    [finding] = judge(healthy)["service_accounts_without_cloudsql_client"].findings
    assert "but its log does. (log-errors.json /0)" in finding.message


def test_an_alias_of_a_secret_is_followed(judge: Any, healthy: Files) -> None:
    env(healthy)[1]["valueFrom"]["secretKeyRef"]["name"] = "alias"
    annotations(healthy)["run.googleapis.com/secrets"] = "alias:projects/848123456789/secrets/jwt-key"
    assert judge(healthy)["unusable_secrets"].status == "clean"


def test_two_services_on_one_instance_are_compared(judge: Any, healthy: Files) -> None:
    other = json.loads(json.dumps(healthy["service"]).replace("session-api", "billing"))
    other["spec"]["template"]["metadata"]["annotations"]["run.googleapis.com/vpc-access-connector"] = "c"
    other["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "PGPASSWORD", "value": "s3cr3t-7f3a"})
    healthy["service"] = [healthy["service"], other]
    [finding] = judge(healthy)["differing_services"].findings
    assert finding.severity == "info"
    assert "reachability: VPC connector: c / not set" in finding.message
    assert "They agree in Cloud SQL instance, variable DATABASE_URL" in finding.message
    assert "s3cr3t-7f3a" not in finding.message


def test_a_masked_collection_gives_the_same_findings_as_the_plain_export(judge: Any, healthy: Files) -> None:
    from kit.collect.cloud.masking import masked_export

    env(healthy)[0]["value"] += "\r"
    set_literal(healthy, "DB_HOST", "10.0.0.1 ")
    plain = judge(healthy)
    masked = judge({name: masked_export(content) for name, content in healthy.items()})
    assert any(result.findings for result in plain.values())
    assert {c: r.findings for c, r in masked.items()} == {c: r.findings for c, r in plain.items()}


def test_hostile_names_stay_text(judge: Any, healthy: Files) -> None:
    attach(healthy, "<script>alert(1)</script>\r\n\x1b[31m")
    healthy["service"]["metadata"]["name"] = "$(reboot)"
    for result in judge(healthy).values():
        assert result.status != "failed", result.reason
        assert not any("\x1b" in f.message or "\r" in f.message for f in result.findings)


def in_v2(files: Files) -> Files:
    services, revisions = files["service"], files["revisions"]
    return {**files, "service": service_v2(services), "revisions": [revision_v2(one) for one in revisions]}


def told(results: dict[str, Result]) -> dict[str, list[tuple[str, str]]]:
    """Return what was found or not examined; v2 attaches an instance as a volume, never as an annotation."""
    found = {check: [(f.severity, f.subject.name) for f in result.findings] for check, result in results.items()}
    unseen = {f"unseen by {check}": [(n.subject, n.reason) for n in result.not_examined] for check, result in results.items()}
    return {
        name: [(a.replace(" volume", " annotation"), b.replace(" volume", " annotation")) for a, b in rows]
        for name, rows in (found | unseen).items()
    }


OF_BOTH_SHAPES = [row for row in BROKEN if row[1] not in (as_v2, on_the_service_only)]


@pytest.mark.parametrize(("check", "alter"), [row[:2] for row in OF_BOTH_SHAPES])
def test_the_shape_of_rest_and_terraform_gives_the_same_findings(judge: Any, healthy: Files, check: str, alter: Alter) -> None:
    alter(healthy)
    knative, rest = judge(healthy), judge(in_v2(healthy))
    assert knative[check].findings
    assert told(rest) == told(knative)


def test_the_healthy_set_is_healthy_in_the_shape_of_rest_and_terraform(capture: Any, healthy: Files) -> None:
    document = judged(capture(in_v2(healthy)), Question("case"))
    assert [f.message for r in document.results for f in r.findings if f.severity != "info"] == []
    assert (document.verdict.status, exit_status(document, "critical")) == ("healthy", 0)


@pytest.mark.parametrize(
    "alter",
    [
        lambda f: set_literal(f, "CACHE_DATABASE", "sqlite:////tmp/cache.db"),
        lambda f: (set_literal(f, "PROXY_DATABASE_URL", "postgresql://app:x@localhost/orders"), beside_another(f)),
        lambda f: set_literal(f, "POOL_DATABASE_URL", f"postgresql://app:x@/orders?host=/cloudsql/{INSTANCE}&pool=5"),
        direct("?sslmode=require"),
        direct("?sslmode=verify-ca&sslcert=a&sslkey=b&sslrootcert=c", sslMode="TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
    ],
)
def test_a_string_that_works_is_not_blamed(judge: Any, healthy: Files, alter: Alter) -> None:
    alter(healthy)
    results = judge(healthy)
    assert [results[check].findings for check in ("faulty_service_strings", "refusing_instance_settings")] == [(), ()]


def beside_another(files: Files) -> None:
    spec(files)["containers"].append({"name": "proxy", "image": "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2"})
