"""Exports in odd but real shapes: what they hold is found, what they cannot tell is said, and no secret is written."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.analyze.findings import Result
from kit.collect.cloud.exports import collect_cloud
from kit.collect.cloud.failures import refusal, told
from kit.collect.cloud.masking import masked_export
from kit.collect.cloud.values import value_facts
from kit.evidence.model import Capture, Cost, Source
from kit.evidence.records import records
from tests.test_cloud_collect import collect, gcloud

__all__ = ["gcloud"]

DATA = Path(__file__).parent / "data" / "cloud" / "healthy"
AT = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)
ACCOUNT = "web-runtime@orders-prod.iam.gserviceaccount.com"
CLIENT, SECRETS = "service_accounts_without_cloudsql_client", "service_accounts_without_secret_access"
Files = dict[str, Any]


@pytest.fixture
def healthy() -> Files:
    return {path.stem: json.loads(path.read_bytes()) for path in DATA.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Callable[[Files], Source]:
    def collected(files: Files) -> Source:
        for name, content in files.items():
            path = tmp_path / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return collect_cloud(tmp_path, AT)

    return collected


@pytest.fixture
def judge(source: Any) -> Callable[[Files], dict[str, Result]]:
    def judged(files: Files) -> dict[str, Result]:
        return {r.check: r for r in checks.judge(Capture("t", AT, AT, "0", (source(files),), Cost())) if r.source == "cloud"}

    return judged


def template(files: Files) -> dict[str, Any]:
    return files["service"]["spec"]["template"]


def env(files: Files) -> list[dict[str, Any]]:
    return template(files)["spec"]["containers"][0]["env"]


def attach(files: Files, names: str) -> None:
    template(files)["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"] = names


def bindings(files: Files) -> list[dict[str, Any]]:
    return files["iam-policy"]["bindings"]


def without_role(files: Files) -> None:
    files["iam-policy"]["bindings"] = [b for b in bindings(files) if b["role"] != "roles/cloudsql.client"]


def severities(result: Result) -> list[str]:
    return [finding.severity for finding in result.findings]


def is_told(result: Result, words: str) -> bool:
    return words in f"{result.reason} {[item.reason for item in result.not_examined]}"


# Files


def test_a_folder_for_each_kind_is_read_and_a_secret_s_policy_is_known_there(judge: Any, healthy: Files) -> None:
    found = judge({f"exports/{name}": content for name, content in healthy.items()})
    assert [(r.check, r.status) for r in found.values() if r.findings or r.not_examined or r.status == "skipped"] == []


def test_a_broken_file_in_a_sub_folder_is_not_passed_over(judge: Any, healthy: Files) -> None:
    assert is_told(judge(healthy | {"below/other": b'{"kind": "Serv'})["unread_exports"], "below/other.json is not JSON")


def test_two_regions_of_a_service_are_not_taken_for_one(judge: Any, healthy: Files) -> None:
    other = copy.deepcopy(healthy["service"])
    other["metadata"]["labels"]["cloud.googleapis.com/location"] = "europe-west1"
    found = judge(healthy | {"services": [other]})["unread_exports"]
    assert is_told(found, "services.json holds a second service session-api (europe-west1)")
    assert judge(healthy | {"services": [healthy["service"]]})["unread_exports"].status == "clean"


REFUSED = "ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/jwt-key] not found.\r\n"


@pytest.mark.parametrize(
    "content",
    [
        REFUSED.encode("utf-16"),
        ("\ufeff" + REFUSED).encode(),
        f"gcloud : {REFUSED}At line:1 char:1\r\n+ gcloud secrets\r\n".encode("utf-16"),
        f"WARNING: Python 3.8 is no longer supported\n{REFUSED}".encode(),
    ],
)
def test_a_refusal_is_known_however_it_was_written(judge: Any, healthy: Files, content: bytes) -> None:
    found = judge(healthy | {"secret-versions-jwt-key": content})["unusable_secrets"]
    assert severities(found) == ["critical"]
    assert "does not exist" in found.findings[0].message


@pytest.mark.parametrize("content", [b"[]\nListed 0 items.\n", b"WARNING: old gcloud\n\n[]\n", b"\xef\xbb\xbf[]\r\n"])
def test_what_gcloud_says_besides_is_no_part_of_its_answer(source: Any, content: bytes) -> None:
    found = source({"revisions": content})
    assert len(found.evidence["revisions"].frame) == 0
    assert "revisions.json" not in found.gaps


def test_text_that_only_quotes_a_refusal_is_none() -> None:
    assert refusal("DATABASE_URL=postgres://a:hunter2@h/d # ERROR: (gcloud.x) denied") is None


# Who may


def cross_project(files: Files) -> None:
    attach(files, "data-prod:us-central1:orders-db")
    files["instance"]["project"], files["instance"]["connectionName"] = "data-prod", "data-prod:us-central1:orders-db"


def test_a_role_in_another_project_than_the_instance_s_clears_nothing(judge: Any, healthy: Files) -> None:
    cross_project(healthy)
    env(healthy)[:] = [variable for variable in env(healthy) if "value" not in variable]
    assert is_told(judge(healthy)[CLIENT], "the instance is in another project than the service account")
    own = {"bindings": [{"role": "roles/viewer", "members": ["user:a@example.com"]}], "etag": "x"}
    assert severities(judge(healthy | {"iam-policy-data-prod": own})[CLIENT]) == ["critical"]
    own["bindings"].append({"role": "roles/cloudsql.client", "members": [f"serviceAccount:{ACCOUNT}"]})  # type: ignore[attr-defined]
    assert judge(healthy | {"iam-policy-data-prod": own})[CLIENT].status == "clean"


def test_the_instance_s_project_does_not_open_secrets(judge: Any, healthy: Files) -> None:
    cross_project(healthy)
    reading = {"role": "roles/secretmanager.secretAccessor", "members": [f"serviceAccount:{ACCOUNT}"]}
    healthy["iam-policy"]["bindings"] = [b for b in bindings(healthy) if b["role"] != reading["role"]]
    healthy["secret-iam-policy-jwt-key"] = {"etag": "ACAB"}
    viewing = {"role": "roles/viewer", "members": ["user:a@example.com"]}
    assert severities(judge(healthy | {"iam-policy-data-prod": {"bindings": [reading, viewing]}})[SECRETS]) == ["critical"]


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"role": "roles/run.serviceAgent"}, "cannot tell from this file what it permits"),
        ({"role": "roles/writer"}, "cannot tell from this file what it permits"),
        ({"role": "roles/cloudsql.client", "members": ["projectEditor:orders-prod"]}, "whether the account is in it"),
        ({"role": "roles/cloudsql.client", "members": ["allUsers"], "condition": {"title": "until June"}}, "'until June'"),
    ],
)
def test_what_may_be_enough_is_not_called_too_little(judge: Any, healthy: Files, binding: Any, words: str) -> None:
    without_role(healthy)
    bindings(healthy).append({"members": [f"serviceAccount:{ACCOUNT}"]} | binding)
    found = judge(healthy)[CLIENT]
    assert is_told(found, words)
    assert found.findings == ()


@pytest.mark.parametrize("member", [f"deleted:serviceAccount:{ACCOUNT}?uid=1", f"user:{ACCOUNT}"])
def test_what_only_looks_like_the_account_is_not_it(judge: Any, healthy: Files, member: str) -> None:
    without_role(healthy)
    bindings(healthy).append({"role": "roles/cloudsql.client", "members": [member]})
    assert severities(judge(healthy)[CLIENT]) == ["critical"]


def test_the_letters_of_a_mail_address_have_no_case(judge: Any, healthy: Files) -> None:
    without_role(healthy)
    bindings(healthy).append({"role": "roles/cloudsql.client", "members": [f"serviceAccount:{ACCOUNT.title()}"]})
    assert judge(healthy)[CLIENT].status == "clean"


def test_a_connector_of_the_service_s_own_needs_the_role_as_well(judge: Any, healthy: Files) -> None:
    without_role(healthy)
    del template(healthy)["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"]
    env(healthy)[:] = [{"name": "INSTANCE_CONNECTION_NAME", "value": "orders-prod:us-central1:orders-db"}]
    [finding] = judge(healthy)[CLIENT].findings
    assert "names Cloud SQL instance 'orders-prod:us-central1:orders-db' and runs as" in finding.message


# Healthy after all


def test_a_proxy_beside_the_service_may_make_the_socket(judge: Any, healthy: Files) -> None:
    del template(healthy)["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"]
    assert severities(judge(healthy)["unattached_instances"]) == ["critical"]
    template(healthy)["spec"]["containers"].append({"name": "proxy", "image": "cloud-sql-proxy"})
    found = judge(healthy)["unattached_instances"]
    assert is_told(found, "one of them may be a proxy")
    assert found.findings == ()


def test_an_instance_that_nobody_here_uses_may_be_stopped(judge: Any, healthy: Files) -> None:
    other = copy.deepcopy(healthy["instance"]) | {"name": "attic", "connectionName": "orders-prod:us-central1:attic"}
    other["settings"]["activationPolicy"] = "NEVER"
    other["ipAddresses"] = []
    assert severities(judge(healthy | {"instances": [healthy["instance"], other]})["stopped_instances"]) == ["info"]
    healthy["instance"]["settings"]["activationPolicy"] = "NEVER"
    assert sorted(severities(judge(healthy | {"instances": [other]})["stopped_instances"])) == ["critical", "info"]


def test_secrets_of_one_name_in_two_projects_are_two(judge: Any, healthy: Files) -> None:
    def version(project: str, number: int, state: str) -> dict[str, str]:
        name = f"projects/{project}/secrets/jwt-key/versions/{number}"
        return {"name": name, "state": state, "createTime": "2025-02-11T10:00:00Z"}

    alias = template(healthy)["metadata"]["annotations"]
    alias["run.googleapis.com/secrets"] = "jwt:projects/22/secrets/jwt-key"
    for variable in env(healthy):
        if "valueFrom" in variable:
            variable["valueFrom"]["secretKeyRef"]["name"] = "jwt"
    healthy["secret-versions-jwt-key"] = [version("22", 1, "ENABLED"), version("22", 2, "ENABLED")]
    healthy["secret-versions-jwt-key"] += [version("11", 1, "DESTROYED"), version("11", 2, "DISABLED")]
    assert judge(healthy)["unusable_secrets"].status == "clean"


# Logs


def entry(number: int, words: str, **more: Any) -> dict[str, Any]:
    at = datetime(2025, 6, 11, 10, 0, tzinfo=UTC) - timedelta(seconds=number)
    labels = {"service_name": "session-api", "revision_name": "session-api-00012"}
    kept = {"insertId": f"i{number}", "timestamp": at.isoformat(), "severity": "ERROR", "textPayload": words}
    return kept | {"logName": "projects/p/logs/x", "resource": {"type": "cloud_run_revision", "labels": labels}} | more


def test_a_long_log_is_counted_and_its_last_entry_named(judge: Any, healthy: Files) -> None:
    log = [entry(number, 'password authentication failed for user "app"') for number in range(3000)]
    [finding] = judge(healthy | {"log-errors": log})["logged_errors"].findings
    assert finding.value == 3000
    assert "3000 times, last at 2025-06-11 10:00:00 UTC" in finding.message
    assert "(log-errors.json /0)" in finding.message  # gcloud prints the newest first
    assert len(finding.evidence[1]) == 100


# Secrets

HIDDEN = "hunter2hunter2"
SERVICE_SECRETS: dict[str, Any] = {
    "labels": {"team": HIDDEN, "cloud.googleapis.com/location": "us-central1"},
    "annotations": {"example.com/note": HIDDEN, "run.googleapis.com/ingress": "all"},
}
BUILD = {
    "logName": "projects/p/logs/cloudaudit.googleapis.com%2Factivity",
    "timestamp": "2025-06-01T00:00:00Z",
    "protoPayload": {
        "methodName": "google.devtools.cloudbuild.v1.CloudBuild.CreateBuild",
        "request": {
            "build": {
                "steps": [{"env": [f"PGPASSWORD={HIDDEN}"], "args": [HIDDEN], "entrypoint": HIDDEN, "script": HIDDEN}],
                "substitutions": {"_KEY": HIDDEN},
                "options": {"env": [f"A={HIDDEN}"]},
            }
        },
        "status": {"code": 7, "message": f"token={HIDDEN} was refused"},
    },
}
LINES = [
    entry(1, f"Authorization: Basic {HIDDEN}", httpRequest={"requestUrl": f"https://x/cb?code={HIDDEN}"}),
    entry(2, f'user {HIDDEN} said: relation "orders" does not exist; body {HIDDEN}', labels={"a": HIDDEN}),
    entry(3, "", jsonPayload={"message": HIDDEN, "headers": {"cookie": HIDDEN}}),
]


def test_nothing_that_may_be_a_secret_is_written_or_printed(gcloud: Any) -> None:
    service = json.loads((DATA / "service.json").read_text())
    for metadata in (service["metadata"], service["spec"]["template"]["metadata"]):
        for key, values in SERVICE_SECRETS.items():
            metadata.setdefault(key, {}).update(values)
    [container] = service["spec"]["template"]["spec"]["containers"]
    container |= {"args": [f"--password={HIDDEN}"], "command": ["sh", HIDDEN]}
    container["env"] += [
        {"name": "ODD", "value": {"nested": HIDDEN}},
        {"name": "U", "value": f"postgres://u:p@h/d?x=a@b&k={HIDDEN}"},
    ]
    container["livenessProbe"] = {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": HIDDEN}]}}
    said = f"ERROR: (gcloud.sql.users.list) HTTPError 403: Bearer ya29.{HIDDEN} access_token={HIDDEN}\n"
    root = gcloud(
        **{
            "run services list": json.dumps([service]),
            "sql users list": said,
            "logging read resource": json.dumps(LINES),
            "logging read log_id": json.dumps([BUILD]),
        }
    )
    done = collect(root, "--json")
    written = {path.name: path.read_text() for path in (root / "out").iterdir()}
    assert len(written) == 9
    assert [name for name, text in written.items() if HIDDEN in text] == []
    assert HIDDEN not in done.stdout + done.stderr
    found = collect_cloud(root / "out", AT)
    signatures = [(row["signature"], row["subject"]) for row in records(found.evidence["log_signatures"].frame)]
    assert sorted(signatures, key=str) == [("another error", None), ("another error", None), ("relation missing", "orders")]
    assert records(found.evidence["services"].frame)[0]["service_name"] == "session-api"


@pytest.mark.parametrize("signature", ["healthy", "incident_d"])
def test_a_masked_log_is_read_as_the_plain_one(tmp_path: Path, signature: str) -> None:
    plain = json.loads((DATA.parent / signature / "log-errors.json").read_bytes())
    read = []
    for name, content in (("plain", plain), ("masked", masked_export(plain))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log-errors.json").write_text(json.dumps(content))
        read.append(records(collect_cloud(tmp_path / name, AT).evidence["log_signatures"].frame))
    assert read[0] == read[1]


@pytest.mark.parametrize(
    "words",
    [
        f"access_token={HIDDEN}",
        f"refresh_token: '{HIDDEN}'",
        f"Bearer {HIDDEN}",
        f"ya29.{HIDDEN}",
        f'{{"client_secret": "{HIDDEN}"}}',
        f"postgres://u:{HIDDEN}@h/d",
    ],
)
def test_a_token_in_gcloud_s_words_is_not_kept(words: str) -> None:
    assert HIDDEN not in told(f"ERROR: (gcloud.run.services.list) UNAUTHENTICATED: {words} is not valid")


def test_the_name_of_a_secret_is_no_secret() -> None:
    words = "Permission denied on secret: projects/1/secrets/jwt-key/versions/latest for Revision service account x"
    assert told(words) == words


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://u:p@h/d?application_name=a@b&password={HIDDEN}",
        f"postgresql://u:p@h/d?options=x@y&api_key={HIDDEN}",
        f"postgresql://u:p@h/d#{HIDDEN}",
        f"postgresql://u:p@h/d;key={HIDDEN}",
        f"https://hooks.example.com/?to=bob@{HIDDEN}",
    ],
)
def test_what_stands_behind_a_query_s_at_sign_is_not_shown(value: str) -> None:
    assert HIDDEN not in repr(value_facts("DATABASE_URL", value))


def test_a_collection_that_was_killed_leaves_no_folder_that_reads_like_a_whole_one(gcloud: Any) -> None:
    root = gcloud(**{"projects get-iam-policy": "sleep"})
    command = [sys.executable, "-m", "kit.cli", "cloud", "collect", "--project", "orders-prod", "--service", "session-api"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [*command, "--out", str(root / "out")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "projects get-iam-policy" in line:
                break
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert not (root / "out").exists()


def test_an_empty_folder_is_taken_and_a_folder_above_is_made(gcloud: Any) -> None:
    root = gcloud()
    (root / "out").mkdir()
    assert collect(root).returncode == 3
    assert (root / "out" / "commands.json").is_file()
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


def test_the_policy_of_the_instance_s_own_project_is_asked_for(gcloud: Any) -> None:
    service = json.loads((DATA / "service.json").read_text())
    attached = service["spec"]["template"]["metadata"]["annotations"]
    attached["run.googleapis.com/cloudsql-instances"] = "data-prod:us-central1:orders-db"
    root = gcloud(**{"run services list": json.dumps([service])})
    collect(root)
    assert (root / "out" / "iam-policy-data-prod.json").is_file()
