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

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud_iam import policy_places
from kit.analyze.cloud_scope import place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.deploy_history._cloudsql import CONNECTING_ROLES, EVERYBODY, home_of, member_of, project_of
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "authentication"
NEEDS = ("services", "iam_bindings")
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006")
SOURCE = "cloud"

Record = Mapping[str, Any]
_RESOURCE_ROLE = re.compile(r"roles/(secretmanager|run|iam|storage|artifactregistry|pubsub)\.")
_CONTAINERS = ("group:", "domain:", "principalSet:")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each service that the policy does not let connect."""
    bindings = _of_projects(records(frames["iam_bindings"]))
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


def _of_projects(bindings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the bindings without the policies that can only be those of a secret, a service or an account."""
    apis: dict[str, set[str]] = {}
    for binding in bindings:
        found = _RESOURCE_ROLE.match(binding["role"] or "")
        apis.setdefault(binding["resource"], set()).add(found[1] if found else "")
    return [binding for binding in bindings if apis[binding["resource"]] == {""} or len(apis[binding["resource"]]) > 1]


def _judge_service(
    position: int, service: Record, bindings: list[dict[str, Any]], proof: str | None, places: str
) -> Iterator[Judgement]:
    account = service["service_account"]
    reason = _why_unseen(service, bindings)
    if reason and account and proof:
        yield Examined(1)
        yield _finding(position, service, f" The policies do not tell ({reason}), but its log does. {proof}")
        return
    if reason is None:
        yield Examined(1)
    if account and _has_role(account, bindings):
        return
    yield (
        NotExamined(service["service_name"] or "unnamed service", reason)
        if reason
        else _finding(position, service, f" {places}" if places else "")
    )


def _has_role(account: str, bindings: list[dict[str, Any]]) -> bool:
    wanted = EVERYBODY | {member_of(account)}
    return any(
        binding["role"] in CONNECTING_ROLES and binding["member"] in wanted and binding["condition_title"] is None
        for binding in bindings
    )


def _why_unseen(service: Record, bindings: list[dict[str, Any]]) -> str | None:
    """Return why the policy does not decide on this service, or None where it does."""
    account = service["service_account"]
    if not account:
        return "the export names no service account"
    if _has_role(account, bindings):
        return None
    if not bindings:
        return "no file in the folder is a project's IAM policy with bindings"
    others = {project_of(name) for name in service["cloudsql_instances"]} - {home_of(account), None}
    if others and home_of(account):
        return "the instance is in another project than the service account, and a policy does not say whose it is"
    return next((reason for binding in bindings if (reason := _maybe(account, binding))), None)


def _maybe(account: str, binding: Record) -> str | None:
    """Return how this binding might let the account connect after all, which the file cannot tell."""
    role, member = binding["role"] or "", binding["member"]
    if role in CONNECTING_ROLES and member.startswith(_CONTAINERS):
        return f"{role} is given to {member}: cannot tell from this file whether the account is in it"
    if member != member_of(account):
        return None
    if role in CONNECTING_ROLES:
        return f"{role} is bound under the condition {binding['condition_title']!r}: cannot tell from this file"
    if not role.startswith("roles/"):
        return f"the custom role {role} is bound: cannot tell from this file what it permits"
    return None


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
