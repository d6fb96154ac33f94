"""Service accounts that may not connect to Cloud SQL.

What it shows: services that have a Cloud SQL instance attached, and run as a service account that the IAM policy
gives none of roles/cloudsql.client, .editor, .admin, roles/editor or roles/owner.

Why it matters: attaching an instance does not grant anything. Without cloudsql.instances.connect the socket under
/cloudsql never opens; the service logs "NOT_AUTHORIZED" or only a timeout, while its health endpoint may answer 200.

What to do: grant roles/cloudsql.client on the instance's project to the service account. It takes effect within
minutes; then start a new revision, because one that failed at its start is not tried again.

Known limits: a project's policy holds neither what a folder or the organisation grants, nor who is in a group, nor
what a custom role permits; such cases, conditional bindings, and an instance of another project than the service
account's are reported as not examined. A policy whose roles all belong to one other API (a secret's, a service
account's own) is not taken for a project's. Deny policies are not seen.

References: https://cloud.google.com/sql/docs/postgres/connect-run and
https://cloud.google.com/sql/docs/postgres/roles-and-permissions
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud_iam import CONNECTING_ROLES, bindings_of_project, holds, may_hold, member_of, policy_places
from kit.analyze.cloud_scope import place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.deploy_history._cloudsql import home_of
from kit.evidence.instances import project_of
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "authentication"
NEEDS = ("services", "iam_bindings")
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006")
SOURCE = "cloud"

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each service that the policy does not let connect."""
    bindings = bindings_of_project(frames)
    for position, service in enumerate(records(frames["services"])):
        if service["cloudsql_instances"]:
            yield from _judge_service(position, service, bindings, _proof(frames, service), policy_places(frames))


def _proof(frames: Frames, service: Record) -> str | None:
    """Return where the service's newest revision logged that it was refused, after the last grant; None where it did not."""
    granted = [row["at"] for _, row in rows_of(frames, "audit_changes") if row["kind"] == "iam grant" and row["at"]]
    for _, row in rows_of(frames, "log_signatures"):
        own = row["revision_name"] in (service["latest_created_revision"], service["latest_ready_revision"])
        refused = row["signature"] == "not authorized for Cloud SQL"
        if refused and own and row["revision_name"] and row["at"] and all(row["at"] > at for at in granted):
            return place(row)
    return None


def _judge_service(position: int, service: Record, bindings: list[Record], proof: str | None, places: str) -> Iterator[Judgement]:
    account = service["service_account"]
    reason = _why_unseen(service, bindings)
    if reason and account and proof:
        yield Examined(1)
        yield _finding(position, service, f" The policies do not tell ({reason}), but its log does. {proof}")
        return
    if reason is None:
        yield Examined(1)
    if account and holds(account, CONNECTING_ROLES, bindings):
        return
    yield (
        NotExamined(service["service_name"] or "unnamed service", reason)
        if reason
        else _finding(position, service, f" {places}" if places else "")
    )


def _why_unseen(service: Record, bindings: list[Record]) -> str | None:
    """Return why the policy does not decide on this service, or None where it does."""
    account = service["service_account"]
    if not account:
        return "the export names no service account"
    if holds(account, CONNECTING_ROLES, bindings):
        return None
    if not bindings:
        return "no file in the folder is a project's IAM policy with bindings"
    others = {project_of(name) for name in service["cloudsql_instances"]} - {home_of(account), None}
    if others and home_of(account):
        return "the instance is in another project than the service account, and a policy does not say whose it is"
    return may_hold(account, CONNECTING_ROLES, bindings)


def _finding(position: int, service: Record, told: str = "") -> Finding:
    account, instance = service["service_account"], service["cloudsql_instances"][0]
    command = [
        *("gcloud", "projects", "add-iam-policy-binding", project_of(instance) or home_of(account) or "PROJECT"),
        *(f"--member={member_of(account)}", "--role=roles/cloudsql.client"),
    ]
    return Finding(
        severity="critical",
        subject=Subject("service", service["service_name"] or ""),
        message=(
            f"Service {service['service_name']} has Cloud SQL instance {instance!r} attached and runs as {account}, "
            f"which has none of the roles that let it connect.{told}"
        ),
        remedy=shlex.join(command),
        evidence=rows([position], "services"),
    )
