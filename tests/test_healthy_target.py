"""A target that nothing is wrong with, through the real command line on a real server, with and without cloud exports."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.sandbox import server as sandbox
from tests.run_support import kit

EXPORTS = Path(__file__).parent / "data" / "cloud" / "healthy"
# The layers that only a service's exports can show, and those where they say more than the database does.
ONLY_CLOUD = {"service"}
ALSO_CLOUD = {"configuration", "reachability", "authentication", "change"}
PASSWORD = "Kit-7Qz-healthy"
# A database as it should be: an owner who does not log in, an application with what it needs and no more, a role for the
# kit as the README says, no right to create in public, every foreign key indexed, row security with policies that use it.
HEALTHY = f"""
create extension pg_stat_statements;
create role orders_owner nologin;
create role app login password 'App-7Qz-healthy';
create role incident_kit login password '{PASSWORD}';
grant pg_monitor to incident_kit;
revoke create on schema public from public;
create schema orders authorization orders_owner;
grant usage on schema orders to app, incident_kit;
alter role app set search_path = orders;
set role orders_owner;
create table orders.platforms (platform_id integer primary key, name text not null unique);
create table orders.sessions (
    session_id bigint generated always as identity primary key,
    platform_id integer not null references orders.platforms,
    tenant text not null,
    created_at timestamptz not null default now()
);
create index sessions_platform_id on orders.sessions (platform_id);
create index sessions_tenant on orders.sessions (tenant);
alter table orders.sessions enable row level security;
create policy own_rows on orders.sessions to app using (tenant = (select current_setting('orders.tenant', true)))
    with check (tenant = (select current_setting('orders.tenant', true)));
grant select, insert, update, delete on all tables in schema orders to app;
alter default privileges in schema orders grant select, insert, update, delete on tables to app;
insert into orders.platforms values (1, 'web'), (2, 'phone');
reset role;
insert into orders.sessions (platform_id, tenant) select 1 + i % 2, 'tenant ' || i % 10 from generate_series(1, 2000) i;
"""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """The connection string of the kit's role in the healthy database."""
    with sandbox.running() as server:
        server.create_database("orders")
        server.execute(HEALTHY, "orders")
        server.execute("vacuum analyze", "orders")
        yield server.dsn("orders", "incident_kit", PASSWORD)


class Ran:
    """A case that was run by the command line: its exit status and its document."""

    def __init__(self, target: str | Path, folder: Path, *words: str | Path, name: str = "case") -> None:
        ended = kit("run", name, "--target", target, "--reports", folder, "--only", "triage", *words, cwd=folder)
        self.status, self.errors = ended.returncode, ended.stderr
        self.folder = folder / name
        self.document = FindingsDocument.model_validate_json((self.folder / folders.FINDINGS).read_text())

    @property
    def layers(self) -> dict[str, str]:
        """Return the status of each layer."""
        return {entry.layer: entry.status for entry in self.document.layers}

    @property
    def serious(self) -> list[str]:
        """Return what was found at warning or above."""
        return [finding.message for _, finding in self.document.findings() if finding.severity != "info"]

    def of(self, source: str) -> list[Any]:
        """Return the results on one source."""
        return [result for result in self.document.results if result.source == source]


def test_a_healthy_target_with_healthy_exports_is_healthy(target: str, tmp_path: Path) -> None:
    ran = Ran(target, tmp_path, "--cloud", EXPORTS)
    assert (ran.status, ran.document.verdict.status, ran.serious) == (0, "healthy", []), ran.errors
    assert set(ran.layers.values()) == {"cleared"}
    assert [r.check for r in ran.of("cloud") if r.status not in ("clean", "findings") or r.not_examined] == []
    # The statistics of a new server are too young for this one, which finds nothing above information.
    assert [r.check for r in ran.document.results if r.source and r.status in ("skipped", "failed")] == ["unused_indexes"]


def test_without_a_cloud_its_layers_are_out_of_scope_and_healthy_is_possible(target: str, tmp_path: Path) -> None:
    ran = Ran(target, tmp_path)
    assert (ran.status, ran.document.verdict.status, ran.serious) == (0, "healthy", []), ran.errors
    assert {layer for layer, status in ran.layers.items() if status == "out of scope"} == ONLY_CLOUD
    assert {status for layer, status in ran.layers.items() if layer not in ONLY_CLOUD} == {"cleared"}


def test_an_empty_folder_of_exports_is_not_examined(target: str, tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    ran = Ran(target, tmp_path, "--cloud", tmp_path / "exports")
    assert (ran.status, ran.document.verdict.status, ran.serious) == (3, "open", []), ran.errors
    unseen = {layer for layer, status in ran.layers.items() if status == "not examined"}
    assert unseen == ONLY_CLOUD | ALSO_CLOUD
    assert all(layer in ran.document.verdict.summary for layer in unseen)
    assert {result.status for result in ran.of("cloud")} == {"skipped"}
    assert all("no file of" in result.reason or "in the folder" in result.reason for result in ran.of("cloud"))


def test_a_folder_that_is_not_there_is_a_mistake(target: str, tmp_path: Path) -> None:
    ended = kit("run", "case", "--target", target, "--reports", tmp_path, "--cloud", tmp_path / "nowhere", cwd=tmp_path)
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    assert not (tmp_path / "case").exists()


UNREADABLE = {
    "revisions-billing.json": ("", "is empty: the command that should have filled it printed nothing"),
    "secrets.env": ("DATABASE_URL=postgresql://app:env-file-canary@h/d", "is not JSON, or was cut short"),
    "service-billing.json": ('{"apiVersion": "serving.knative.dev/v1", "kind": "Serv', "is not JSON, or was cut short"),
}


def test_files_that_cannot_be_read_are_named_and_keep_the_target_from_being_healthy(target: str, tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    shutil.copytree(EXPORTS, exports)
    for name, (content, _) in UNREADABLE.items():
        (exports / name).write_text(content)
    (exports / "package.json").write_text('{"name": "web", "scripts": {}}')
    ran = Ran(target, tmp_path, "--cloud", exports)
    assert (ran.status, ran.document.verdict.status, ran.layers["configuration"]) == (3, "open", "not examined"), ran.errors
    [unread] = [result for result in ran.of("cloud") if result.check == "unread_exports"]
    named = {entry.subject: entry.reason for entry in unread.not_examined}
    assert named == {name: f"{name} {words}" for name, (_, words) in UNREADABLE.items()}
    assert [f.message for f in unread.findings] == ["package.json holds 1 of 1 items that are not read: unknown shape."]
    assert "env-file-canary" not in ran.document.model_dump_json() + ran.errors


def test_the_bundle_gives_the_same_findings_as_the_live_run(target: str, tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    shutil.copytree(EXPORTS, exports)
    service = json.loads((exports / "service.json").read_text())
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    annotations["run.googleapis.com/cloudsql-instances"] += "\r"
    (exports / "service.json").write_text(json.dumps(service))
    (exports / "half.json").write_text("[")
    live = Ran(target, tmp_path, "--cloud", exports)
    assert live.status == 1
    [bundle] = [path for path in (live.folder / folders.CAPTURES).iterdir() if path.is_dir()]
    # What was captured is all that is needed: neither the server nor the folder of exports is asked again.
    shutil.rmtree(exports)
    replayed = Ran(bundle, tmp_path, name="replayed")
    assert replayed.status == live.status
    assert _judged(replayed.document) == _judged(live.document)


def _judged(document: FindingsDocument) -> Any:
    """Return the judgement, without what may differ: how long a check took."""
    told = document.model_dump(mode="json", include={"verdict", "layers", "results", "changes"})
    return json.loads(re.sub(r'"seconds": [\d.e-]+', '"seconds": 0', json.dumps(told)))
