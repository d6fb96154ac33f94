"""Service accounts that may not connect to Cloud SQL.

What it shows: services that have a Cloud SQL instance attached, or name one for a connector of their own, and run as a
service account that the IAM policy gives none of roles/cloudsql.client, .editor, .admin, roles/editor or roles/owner.

Why it matters: attaching an instance does not grant anything. Without cloudsql.instances.connect the socket under
/cloudsql never opens; the service logs "NOT_AUTHORIZED" or only a timeout, while its health endpoint may answer 200.

What to do: grant roles/cloudsql.client on the instance's project to the service account. It takes effect within
minutes; then start a new revision, because one that failed at its start is not tried again.

Known limits: a project's policy holds neither what a folder or the organisation grants, nor who is in a group, nor
what a custom role or a service agent's permits; such cases and conditional bindings are reported as not examined. So is
an instance of another project than the service account's, unless that project's policy is in a file named
iam-policy-<PROJECT>.json. A policy whose roles all belong to one other API (a secret's, a service account's own) is not
taken for a project's. Deny policies are not seen.

References: https://cloud.google.com/sql/docs/postgres/connect-run and
https://cloud.google.com/sql/docs/postgres/roles-and-permissions
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.connections import connections
from kit.analyze.cloud.iam import CONNECTING_ROLES, bindings_for_instance, holds, may_hold, member_of, policy_places
from kit.analyze.cloud.scope import place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.deploy_history._cloudsql import home_of
from kit.evidence.instances import bare_name, project_of
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
    for position, service in enumerate(records(frames["services"])):
        instances = _instances(frames, service)
        if instances:
            yield from _judge_service(frames, position, {**service, "instances": instances})


def _instances(frames: Frames, service: Record) -> list[str]:
    """Return what it attaches, or reaches through a connector of its own, which asks for the same permission."""
    name = service["service_name"]
    named = [found.instance for found in connections(frames) if found.row["service_name"] == name and found.instance]
    return list(dict.fromkeys([*(service["cloudsql_instances"] or ()), *named]))


def _proof(frames: Frames, service: Record) -> str | None:
    """Return where the service's newest revision logged that it was refused, after the last grant; None where it did not."""
    granted = [row["at"] for _, row in rows_of(frames, "audit_changes") if row["kind"] == "iam grant" and row["at"]]
    if "log_signatures" not in frames:
        return None
    log = frames["log_signatures"]
    for row in records(log[(log["signature"] == "not authorized for Cloud SQL").fillna(False)]):
        own = row["revision_name"] in (service["latest_created_revision"], service["latest_ready_revision"])
        if own and row["revision_name"] and row["at"] and all(row["at"] > at for at in granted):
            return place(row)
    return None


def _judge_service(frames: Frames, position: int, service: Record) -> Iterator[Judgement]:
    account, name, proof = service["service_account"], service["service_name"] or "unnamed service", _proof(frames, service)
    reason = _why_unseen(frames, service) if account else "the export names no service account"
    if reason and not (account and proof):
        yield NotExamined(name, reason)
        return
    yield Examined(1)
    if reason:
        yield _finding(position, service, f" The policies do not tell ({reason}), but its log does. {proof}")
    elif not all(holds(account, CONNECTING_ROLES, _bindings(frames, account, name) or []) for name in service["instances"]):
        places = policy_places(frames)
        yield _finding(position, service, f" {places}" if places else "")


def _bindings(frames: Frames, account: str, instance: str) -> list[Record] | None:
    return bindings_for_instance(frames, project_of(bare_name(instance)), home_of(account))


def _why_unseen(frames: Frames, service: Record) -> str | None:
    """Return why the policy does not decide on this service, or None where it does."""
    account = service["service_account"]
    for instance in service["instances"]:
        bindings = _bindings(frames, account, instance)
        if bindings is None:
            return "the instance is in another project than the service account, and a policy does not say whose it is"
        if not bindings:
            return "no file in the folder is a project's IAM policy with bindings"
        if not holds(account, CONNECTING_ROLES, bindings) and (maybe := may_hold(account, CONNECTING_ROLES, bindings)):
            return maybe
    return None


def _finding(position: int, service: Record, told: str = "") -> Finding:
    account, instance = service["service_account"], service["instances"][0]
    is_attached = instance in (service["cloudsql_instances"] or ())
    command = [
        *("gcloud", "projects", "add-iam-policy-binding", project_of(instance) or home_of(account) or "PROJECT"),
        *(f"--member={member_of(account)}", "--role=roles/cloudsql.client"),
    ]
    return Finding(
        severity="critical",
        subject=Subject("service", service["service_name"] or ""),
        message=(
            f"Service {service['service_name']} {'has' if is_attached else 'names'} Cloud SQL instance {instance!r}"
            f"{' attached' if is_attached else ''} and runs as {account}, "
            f"which has none of the roles that let it connect.{told}"
        ),
        remedy=shlex.join(command),
        evidence=rows([position], "services"),
    )
