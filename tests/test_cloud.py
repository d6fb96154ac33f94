"""The cloud collector: frames from gcloud's files, and a gap for whatever cannot be read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.analyze.changes import Change, changes
from kit.collect.capture import capture
from kit.collect.cloud.exports import collect_cloud
from kit.collect.cloud.frames import EVIDENCE
from kit.errors import TargetError
from kit.evidence.bundle import load, save
from kit.evidence.columns import Column, build_frame
from kit.evidence.model import Capture, Cost, Evidence, Frames, Gap, Provenance, Source
from kit.evidence.records import records
from kit.target import resolve

DATA = Path(__file__).parent / "data" / "cloud"
AT = datetime(2025, 6, 3, 12, 0, tzinfo=UTC)
NAMES = set(EVIDENCE)
INSTANCE = "orders-prod:us-central1:orders-db"
ACCOUNT = "web-runtime@orders-prod.iam.gserviceaccount.com"


def collected(folder: Path | str) -> Source:
    return collect_cloud(DATA / folder, AT)


def rows(source: Source, name: str) -> list[dict[str, Any]]:
    return records(source.evidence[name].frame)


def facts(source: Source, name: str) -> list[dict[str, Any]]:
    """Return the rows without the places they stand at."""
    return [{key: value for key, value in row.items() if key not in ("file", "pointer")} for row in rows(source, name)]


def folder_of(path: Path, **files: Any) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / f"{name}.json").write_bytes(data)
    return path


def test_a_whole_set_of_files_leaves_no_gap() -> None:
    source = collected("healthy")
    assert (source.name, source.kind, source.vantage, source.identity) == ("cloud", "cloud", "exports", None)
    assert (set(source.evidence), source.gaps) == (NAMES, {})


def test_a_service_and_its_traffic() -> None:
    source = collected("incident_d")
    assert rows(source, "services") == [
        {
            "service_name": "session-api",
            "latest_created_revision": "session-api-00036-dih",
            "latest_ready_revision": "session-api-00036-dih",
            "service_account": ACCOUNT,
            "url": "https://session-api-abc123-uc.a.run.app",
            "is_ready": True,
            "ready_message": None,
            "cloudsql_instances": [f"{INSTANCE}\r"],
            "file": "service.json",
            "pointer": "",
        }
    ]
    expected = {"service_name": "session-api", "revision_name": "session-api-00036-dih", "percent": 100}
    assert rows(source, "traffic") == [expected | {"file": "service.json", "pointer": "/status/traffic/0"}]


def test_a_revision_keeps_the_carriage_return() -> None:
    found = {row["revision_name"]: row for row in rows(collected("incident_d"), "revisions")}
    assert list(found) == [f"session-api-{n}" for n in ("00036-dih", "00035-pov", "00034-wam", "00033-kef")]
    assert found["session-api-00033-kef"] == {
        "service_name": "session-api",
        "revision_name": "session-api-00033-kef",
        "created_at": datetime(2025, 6, 3, 9, 4, 12, 553198, UTC),
        "image": "us-central1-docker.pkg.dev/orders-prod/app/session-api:v1.8.0",
        "image_digest": f"us-central1-docker.pkg.dev/orders-prod/app/session-api@sha256:{'a' * 64}",
        "creator": "deployer@orders-prod.iam.gserviceaccount.com",
        "is_ready": False,
        "ready_reason": "HealthCheckContainerError",
        "ready_message": "Revision 'session-api-00033-kef' is not ready and cannot serve traffic. The user-provided "
        "container failed to start and listen on the port defined provided by the PORT=8080 environment variable "
        "within the allocated timeout.",
        "ready_changed_at": datetime(2025, 6, 3, 9, 8, 31, 204455, UTC),
        "service_account": ACCOUNT,
        "cloudsql_instances": [f"{INSTANCE}\r"],
        "file": "revisions.json",
        "pointer": "/3",
    }


def test_bindings_are_one_row_per_member_under_the_name_of_the_file(tmp_path: Path) -> None:
    condition = {"title": "until friday", "expression": 'request.time < timestamp("2025-06-06T00:00:00Z")'}
    policy = {"bindings": [{"role": "roles/editor", "members": ["user:a", "user:b"], "condition": condition}]}
    source = collect_cloud(folder_of(tmp_path, policy=policy), AT)
    row = {"resource": "policy.json", "role": "roles/editor", "condition_title": "until friday"}
    row |= {"file": "policy.json"}
    places = [{"member": f"user:{name}", "pointer": f"/bindings/0/members/{at}"} for at, name in enumerate("ab")]
    assert rows(source, "iam_bindings") == [row | place for place in places]


def test_the_v2_shape_gives_the_same_columns() -> None:
    source = collected("shapes")
    [service], [revision] = rows(source, "services"), rows(source, "revisions")
    assert service == {
        "service_name": "billing",
        "latest_created_revision": "billing-00007-def",
        "latest_ready_revision": "billing-00006-abc",
        "service_account": "billing@orders-prod.iam.gserviceaccount.com",
        "url": "https://billing-x-uc.a.run.app",
        "is_ready": False,
        "ready_message": "Revision 'billing-00007-def' is not ready",
        "cloudsql_instances": [INSTANCE, "orders-prod:us-central1:audit-db"],
        "file": "service-v2.json",
        "pointer": "",
    }
    assert revision == {
        "service_name": "billing",
        "revision_name": "billing-00007-def",
        "created_at": datetime(2025, 6, 5, 8, 0, tzinfo=UTC),
        "image": "gcr.io/p/billing:7",
        "image_digest": None,
        "creator": "deployer@orders-prod.iam.gserviceaccount.com",
        "is_ready": False,
        "ready_reason": "HEALTH_CHECK_CONTAINER_ERROR",
        "ready_message": "not ready",
        "ready_changed_at": datetime(2025, 6, 5, 8, 0, 40, tzinfo=UTC),
        "service_account": "billing@orders-prod.iam.gserviceaccount.com",
        "cloudsql_instances": [INSTANCE],
        "file": "revisions-v2.json",
        "pointer": "/revisions/0",
    }
    traffic = [(row["revision_name"], row["percent"]) for row in rows(source, "traffic")]
    assert traffic == [("billing-00006-abc", 90), ("billing-00005-xyz", 10), ("billing-00005-xyz", 0)]


def test_provenance_names_the_files_and_their_hash_and_the_time_of_collection() -> None:
    content = (DATA / "healthy" / "revisions.json").read_bytes()
    found = collected("healthy").evidence["revisions"].provenance
    assert found.model_copy(update={"seconds": 0.0}) == Provenance(
        title="Revisions",
        grain="one row per revision",
        text="revisions.json",
        text_sha256=hashlib.sha256(content).hexdigest(),
        at=AT,
        seconds=0.0,
        rows=2,
    )


def test_files_of_one_kind_are_put_together_and_what_two_tell_stands_once(tmp_path: Path) -> None:
    revisions = json.loads((DATA / "healthy" / "revisions.json").read_bytes())
    folder = folder_of(tmp_path, one=revisions, two=revisions[:1], three=revisions[1])
    source = collect_cloud(folder, AT)
    assert facts(source, "revisions") == facts(collected("healthy"), "revisions")
    assert source.evidence["revisions"].provenance.text == "one.json, three.json, two.json"


def test_a_service_without_an_account_runs_as_the_default_one(tmp_path: Path) -> None:
    service = json.loads((DATA / "healthy" / "service.json").read_bytes())
    del service["spec"]["template"]["spec"]["serviceAccountName"]
    [row] = rows(collect_cloud(folder_of(tmp_path, x=service), AT), "services")
    assert row["service_account"] == "848123456789-compute@developer.gserviceaccount.com"


def test_an_instance_mounted_as_a_volume_counts_and_one_on_the_service_does_not(tmp_path: Path) -> None:
    service = json.loads((DATA / "healthy" / "service.json").read_bytes())
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    service["metadata"]["annotations"] |= {"run.googleapis.com/cloudsql-instances": "p:r:without-effect"}
    annotations["run.googleapis.com/cloudsql-instances"] = "p:r:one,p:r:two"
    csi = {"driver": "cloudsql.run.googleapis.com", "volumeAttributes": {"instances": "p:r:three"}}
    service["spec"]["template"]["spec"]["volumes"] = [{"name": "sql", "csi": csi}]
    [row] = rows(collect_cloud(folder_of(tmp_path, x=service), AT), "services")
    assert row["cloudsql_instances"] == ["p:r:one", "p:r:two", "p:r:three"]


def test_a_status_of_an_older_generation_tells_nothing(tmp_path: Path) -> None:
    service = json.loads((DATA / "healthy" / "service.json").read_bytes())
    service["metadata"]["generation"] += 1
    [row] = rows(collect_cloud(folder_of(tmp_path, x=service), AT), "services")
    assert row["is_ready"] is None


def test_values_of_environment_variables_reach_no_frame() -> None:
    for folder in ("healthy", "incident_d", "shapes"):
        source = collected(folder)
        told = "".join(repr(rows(source, name)) for name in source.evidence) + repr(source.gaps)
        assert "env-value-canary" not in told
        raw = b"".join(path.read_bytes() for path in (DATA / folder).iterdir())
        assert b"env-value-canary" in raw


def test_a_password_in_a_message_is_masked(tmp_path: Path) -> None:
    revisions = json.loads((DATA / "incident_d" / "revisions.json").read_bytes())
    revisions[1]["status"]["conditions"][0]["message"] = "cannot open postgres://app:hunter2@db/x"
    found = rows(collect_cloud(folder_of(tmp_path, x=revisions), AT), "revisions")
    assert found[1]["ready_message"] == "cannot open postgres://app:***@db/x"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\r\n\x1b[31m'; drop table x; --\ud800"
    policy = {"bindings": [{"role": hostile, "members": [hostile]}]}
    [row] = rows(collect_cloud(folder_of(tmp_path, x=policy), AT), "iam_bindings")
    expected = hostile.replace("\ud800", "?")
    place = {"file": "x.json", "pointer": "/bindings/0/members/0"}
    assert row == {"resource": "x.json", "role": expected, "member": expected, "condition_title": None, **place}


NOT_GIVEN = {
    "services": "no file of services in the folder",
    "traffic": "no file of services in the folder",
    "revisions": "no file of revisions in the folder",
    "iam_bindings": "no file of IAM policies in the folder",
    "audit_changes": "no file of audit log entries in the folder",
    "iam_policies": "no file of IAM policies in the folder",
    **dict.fromkeys(("instance_references", "environment"), "no file of services in the folder"),
    **dict.fromkeys(("secret_references", "runtime_settings"), "no file of services in the folder"),
    "secret_versions": "no file of secrets' versions in the folder",
    **dict.fromkeys(("sql_instances", "sql_flags"), "no file of Cloud SQL instances in the folder"),
    "sql_users": "no file of database users in the folder",
    "log_signatures": "no file of log entries in the folder",
    "cloud_commands": "no file of commands in the folder",
}


def test_an_empty_folder_says_what_was_not_given(tmp_path: Path) -> None:
    source = collect_cloud(tmp_path, AT)
    assert source.gaps == {name: Gap(kind="not given", reason=reason) for name, reason in NOT_GIVEN.items()}


REFUSED = b"ERROR: (gcloud.secrets.versions.list) PERMISSION_DENIED: Permission denied on resource [p].\nmore\n"
UNREAD = "x.json holds 1 of 1 items that are not read: "
BROKEN = [
    (b"", "failed", "x.json is empty: the command that should have filled it printed nothing"),
    (b"DATABASE_URL=postgres://u:hunter2@h/d\n", "failed", "x.json is not JSON, or was cut short"),
    (b"\xff\xfe\x00", "failed", "x.json is not JSON, or was cut short"),
    (b"[" * 200_000, "failed", "x.json is not JSON, or was cut short"),
    (b'{"etag": NaN}', "failed", "x.json is not JSON, or was cut short"),
    (REFUSED, "failed", "x.json holds gcloud's refusal: " + REFUSED.split(b"\n")[0].decode()),
    (b"[]", "unsupported", "x.json holds an empty list, and its name does not say of what"),
    (b"[1, {}]", "unsupported", "x.json holds 2 of 2 items that are not read: not an object, unknown shape"),
    (b'{"kind": "sql#database"}', "unsupported", UNREAD + "unknown shape"),
    (b'{"apiVersion": "v1", "kind": "Service"}', "unsupported", UNREAD + "unknown shape"),
    (b'{"logName": "a", "protoPayload": {}}', "unsupported", UNREAD + "log entry without a time"),
]


@pytest.mark.parametrize(("content", "kind", "reason"), BROKEN)
def test_a_file_that_cannot_be_used_is_a_gap_and_the_others_are_read(
    tmp_path: Path, content: bytes, kind: Any, reason: str
) -> None:
    shutil.copytree(DATA / "healthy", tmp_path, dirs_exist_ok=True)
    source = collect_cloud(folder_of(tmp_path, x=content), AT)
    assert source.gaps == {"x.json": Gap(kind=kind, reason=reason)}
    assert set(source.evidence) == NAMES


def test_a_missing_kind_names_the_files_that_were_not_read(tmp_path: Path) -> None:
    source = collect_cloud(folder_of(tmp_path, x=b"{"), AT)
    assert source.gaps["revisions"] == Gap(kind="not given", reason=f"{NOT_GIVEN['revisions']}; not read: x.json")


def test_that_a_thing_is_not_there_is_evidence_and_no_gap(tmp_path: Path) -> None:
    refused = b"ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/database-url] not found.\n"
    source = collect_cloud(folder_of(tmp_path, x=refused), AT)
    assert "x.json" not in source.gaps
    [row] = rows(source, "cloud_commands")
    assert (row["command"], row["resource_name"], row["code"]) == ("secrets versions list", "database-url", "NOT_FOUND")
    assert source.gaps["secret_versions"].reason == "no file of secrets' versions: gcloud secrets versions list: NOT_FOUND"


@pytest.mark.parametrize(("name", "evidence"), [("errors", "log_signatures"), ("users", "sql_users"), ("log", "log_signatures")])
def test_an_empty_answer_of_the_newer_kinds_is_one_too(tmp_path: Path, name: str, evidence: str) -> None:
    assert rows(collect_cloud(folder_of(tmp_path, **{name: []}), AT), evidence) == []


def test_what_no_service_names_is_not_missed(tmp_path: Path) -> None:
    service = json.loads((DATA / "healthy" / "service.json").read_bytes())
    template = service["spec"]["template"]
    del template["metadata"]["annotations"]["run.googleapis.com/cloudsql-instances"]
    template["spec"]["containers"][0]["env"] = []
    source = collect_cloud(folder_of(tmp_path, x=service), AT)
    assert [rows(source, name) for name in ("sql_instances", "sql_flags", "sql_users", "secret_versions")] == [[]] * 4


@pytest.mark.parametrize(("name", "evidence"), [("revisions", "revisions"), ("services", "services"), ("audit", "audit_changes")])
def test_an_empty_list_is_what_its_file_is_named_for(tmp_path: Path, name: str, evidence: str) -> None:
    source = collect_cloud(folder_of(tmp_path, **{name: []}), AT)
    assert (rows(source, evidence), name in source.gaps) == ([], False)


def test_a_policy_without_bindings_is_a_policy(tmp_path: Path) -> None:
    source = collect_cloud(folder_of(tmp_path, x={"etag": "ACAB"}), AT)
    assert (rows(source, "iam_bindings"), "x.json" in source.gaps) == ([], False)


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    text = (DATA / "healthy" / "revisions.json").read_text(encoding="utf-8")
    source = collect_cloud(folder_of(tmp_path, x=text.encode("utf-16")), AT)
    assert facts(source, "revisions") == facts(collected("healthy"), "revisions")


def test_a_file_may_have_any_name_and_is_only_so_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.collect.cloud.files.MAXIMUM_FILE_BYTES", 1024**2)
    (tmp_path / ".hidden").write_bytes(b"?")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b" " * (1024**2 + 1))
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))).write_bytes(b"[{}]")
    gaps = collect_cloud(tmp_path, AT).gaps
    assert {name: gap for name, gap in gaps.items() if name not in NAMES} == {
        "?.json": Gap(kind="unsupported", reason="?.json holds 1 of 1 items that are not read: unknown shape"),
        "large": Gap(kind="failed", reason="large is larger than 1 MiB"),
    }


def test_a_folder_that_is_not_there_is_a_target_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        collect_cloud(tmp_path / "none", AT)
    assert caught.value.message == f"The folder of cloud exports {tmp_path / 'none'} cannot be read: No such file or directory."
    assert caught.value.hint == "Name a folder of files that gcloud wrote with --format=json."


def test_without_duckdb_only_the_audit_log_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    source = collected("healthy")
    reason = "Reading log exports needs DuckDB and sqlglot. pip install 'incident-kit[report]'"
    assert source.gaps == {"audit_changes": Gap(kind="unsupported", reason=reason)}
    assert set(source.evidence) == NAMES - {"audit_changes"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("file", sorted(DATA.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_cut_of_a_file_is_an_exception(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes()
    whole = len(content.rstrip())
    for cut in range(0, whole, max(1, whole // 50)):
        source = collect_cloud(folder_of(tmp_path, x=content[:cut]), AT)
        assert (source.evidence, source.gaps["x.json"].kind) == ({}, "failed")


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("True"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _altered(value: Any, path: list[int], new: Any) -> Any:
    """Return `value` with whatever stands at `path` (each step taken modulo the length) replaced by `new`."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[path[0] % len(keys)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = _altered(value[key], path[1:], new)
    return copy


@pytest.mark.timeout(300)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_wrong_type_anywhere_is_an_exception(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(DATA.glob("*/*.json"))))
    value = json.loads(file.read_bytes())
    path, new = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=9)), data.draw(_ANY)
    folder = folder_of(tmp_path_factory.mktemp("cloud"), x=_altered(value, path, new))
    source = collect_cloud(folder, AT)
    assert not [gap for name, gap in source.gaps.items() if name in NAMES and gap.kind == "failed"]


def test_a_bundle_keeps_the_source(tmp_path: Path) -> None:
    source = collected("incident_d")
    capture = Capture("t", AT, AT, "0", (source,), Cost())
    save(capture, tmp_path / "bundle")
    kept = load(tmp_path / "bundle").source("cloud")
    assert {name: rows(kept, name) for name in kept.evidence} == {name: rows(source, name) for name in NAMES}


def test_incident_d_on_one_time_line() -> None:
    told = [(c.at.strftime("%H:%M"), c.kind, (c.outcome or "")[:6]) for c in changes({"cloud": Frames(collected("incident_d"))})]
    assert told == [
        ("08:58", "iam grant", "failed"),
        ("09:04", "deploy", "accept"),
        ("09:04", "revision", "failed"),
        ("09:47", "deploy", "accept"),
        ("09:47", "revision", "failed"),
        ("10:40", "deploy", "accept"),
        ("10:40", "revision", "failed"),
        ("10:42", "iam grant", "accept"),
        ("10:42", "iam grant", "accept"),
        ("10:50", "secret version", "accept"),
        ("10:55", "restart", "failed"),
        ("11:04", "deploy", "accept"),
        ("11:04", "revision", "ready"),
    ]


def database_frames(name: str, **frames: tuple[dict[str, str], list[tuple[Any, ...]]]) -> Frames:
    evidence = {}
    for title, (declared, values) in frames.items():
        columns = tuple(Column(column, dtype) for column, dtype in declared.items())  # type: ignore[arg-type]
        provenance = Provenance(title=title, grain="", text="", text_sha256="", at=AT, seconds=0, rows=len(values))
        evidence[title] = Evidence(build_frame(columns, values), columns, provenance)
    return Frames(Source(name, "postgres", "laptop", None, evidence))


TIME = "datetime64[us, UTC]"
SESSION = {"server_started_at": TIME, "configuration_loaded_at": TIME}
MIGRATIONS = {
    **dict.fromkeys(("tool", "schema_name", "relation_name", "migration_name"), "string"),
    **dict.fromkeys(("started_at", "finished_at", "rolled_back_at"), TIME),
    "is_failed": "boolean",
    "applied_steps": "Int64",
}


def at(hour: int) -> datetime:
    return datetime(2025, 6, 3, hour, tzinfo=UTC)


def test_a_database_tells_of_migrations_restarts_and_resets_once() -> None:
    session = (SESSION, [(at(1), at(2))])
    ledger = ("prisma", "public", "_prisma_migrations")
    migrations = [
        (*ledger, "001_init", at(3), at(4), None, False, 1),
        (*ledger, "002_bad", at(5), None, at(6), False, 0),
        (*ledger, "003_worse", at(7), None, None, True, 0),
        ("rails", "public", "schema_migrations", "2024", None, None, None, None, None),
    ]
    app = database_frames("app", session=session, migrations=(MIGRATIONS, migrations))
    reset = ({"entries_evicted": "Int64", "statistics_reset_at": TIME}, [(0, at(8))])
    migrator = database_frames("migrator", session=session, statements_info=reset)
    where = "(prisma, public._prisma_migrations)"
    assert changes({"migrator": migrator, "app": app}) == [
        Change(at(1), None, "restart", "the database server started", "app", None),
        Change(at(2), None, "setting", "the database server loaded its configuration", "app", None),
        Change(at(3), at(4), "migration", f"migration 001_init {where}", "app", "applied"),
        Change(at(5), None, "migration", f"migration 002_bad {where}", "app", "rolled back"),
        Change(at(6), None, "migration", f"migration 002_bad {where} marked as rolled back", "app", None),
        Change(at(7), None, "migration", f"migration 003_worse {where}", "app", "failed or unfinished"),
        Change(at(8), None, "statistics reset", "the statistics of statements were reset", "migrator", None),
    ]


def test_unknown_times_are_no_changes() -> None:
    assert changes({"app": database_frames("app", session=(SESSION, [(None, None)])), "none": database_frames("none")}) == []


def test_a_secret_s_shape_in_an_export_is_masked(tmp_path: Path) -> None:
    service = json.loads((DATA / "healthy" / next(p.name for p in (DATA / "healthy").glob("*service*.json"))).read_text())
    item = service[0] if isinstance(service, list) else service
    item["metadata"]["name"] = "postgresql://a:abcd@h"
    item["status"]["url"] = "https://x/?password=abcd"
    source = collect_cloud(folder_of(tmp_path, services=[item]), AT)
    assert rows(source, "services")[0]["service_name"] == "postgresql://a:***@h"
    assert rows(source, "services")[0]["url"] == "https://x/?password=<masked>"
    assert "abcd" not in repr([rows(source, name) for name in source.evidence])


def test_exports_of_the_configuration_that_are_missing_are_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit.toml").write_text(
        '[targets.shop]\ndsn = "host=127.0.0.1 port=1 user=app"\ncloud = "exports"\n', encoding="utf-8"
    )
    monkeypatch.delenv("KIT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    database, cloud = capture(resolve("shop")).sources
    assert "connection" in database.evidence
    assert (cloud.name, dict(cloud.evidence), set(cloud.gaps)) == ("cloud", {}, NAMES)
    assert {gap.kind for gap in cloud.gaps.values()} == {"not given"}
    assert f"{tmp_path / 'exports'} cannot be read: No such file or directory" in cloud.gaps["services"].reason


def test_the_evidence_is_as_old_as_its_oldest_file(tmp_path: Path) -> None:
    shutil.copytree(DATA / "healthy", tmp_path / "exports")
    written = datetime(2025, 6, 1, 3, 0, tzinfo=UTC)
    for path in (tmp_path / "exports").iterdir():
        os.utime(path, (written.timestamp(), written.timestamp()))

    found = collect_cloud(tmp_path / "exports")

    assert {evidence.provenance.at for evidence in found.evidence.values()} == {written}
