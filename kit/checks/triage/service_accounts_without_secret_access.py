"""Service accounts that may not read a secret which their service names.

What it shows: services that name a secret in a variable or a volume, and run as a service account that neither the
project's policies nor the secret's own give roles/secretmanager.secretAccessor, .admin or roles/owner; and those of which
Cloud Run itself, or the log, says that the access was denied.

Why it matters: the revision is refused with SecretsAccessCheckFailed, or starts without its connection string and falls
back to a default. roles/editor does not include it: secrets can be listed and not read.

What to do: grant roles/secretmanager.secretAccessor on the one secret, not on the project; then deploy a new revision.

Known limits: what a folder or the organisation grants is seen only where get-ancestors-iam-policy was exported; groups,
custom roles and conditions are reported as not examined, and so is a secret whose own policy was not exported. Deny policies
are not seen.

References: https://cloud.google.com/secret-manager/docs/access-control and
https://cloud.google.com/run/docs/configuring/services/secrets
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.iam import bindings_for_secret, bindings_of_project, bindings_of_secret, holds, may_hold, policy_places
from kit.analyze.cloud.scope import Row, gcloud, in_force, name_of, place, refused, rows_of, serving
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = ("secret_references",)
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006", "28P01", "28000")
SOURCE = "cloud"

Record = Mapping[str, Any]
READING_ROLES = frozenset({"roles/secretmanager.secretAccessor", "roles/secretmanager.admin", "roles/owner"})
_DENIED = frozenset({"SecretsAccessCheckFailed", "SECRETS_ACCESS_CHECK_FAILED"})


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each secret that a service names and its account may not read."""
    asked: dict[tuple[Any, ...], Row] = {}
    for position, row in in_force(frames, "secret_references"):
        asked.setdefault((row["service_name"], row["secret_name"]), (position, row))
    accounts = _accounts(frames)
    for wanted in asked.values():
        yield from _judge(frames, wanted, accounts.get(wanted[1]["service_name"]))


def _accounts(frames: Frames) -> dict[str | None, str | None]:
    settings = in_force(frames, "runtime_settings")
    return {row["service_name"]: row["value"] for _, row in settings if row["setting"] == "service account"}


def _judge(frames: Frames, wanted: Row, account: str | None) -> Iterator[Judgement]:
    row, secret = wanted[1], wanted[1]["secret_name"]
    proof = _proof(frames, row)
    if proof is not None:
        yield Examined(1)
        yield _finding(wanted, account or "an unknown account", proof)
        return
    reason = _why_unseen(frames, account, secret)
    if reason:
        yield NotExamined(f"{name_of(row)} {secret}", reason)
        return
    yield Examined(1)
    if not holds(account or "", READING_ROLES, bindings_for_secret(frames, secret)):
        yield _finding(wanted, account or "", f"no policy gives it a role that reads it {policy_places(frames)}")


def _why_unseen(frames: Frames, account: str | None, secret: str) -> str | None:
    if not account:
        return "the export names no service account"
    bindings = bindings_for_secret(frames, secret)
    if holds(account, READING_ROLES, bindings):
        return None
    if maybe := may_hold(account, READING_ROLES, bindings):
        return maybe
    if not bindings_of_project(frames):
        return "no file in the folder is a project's IAM policy with bindings"
    failed = refused(frames, "secrets", secret)
    # What does not exist has no policy that could grant anything.
    is_absent = failed is not None and failed[1]["code"] == "NOT_FOUND"
    if bindings_of_secret(frames, secret) is None and not is_absent:
        return "the secret's own policy is not in the folder" + (f": {failed[1]['code']}" if failed else "")
    return None


def _proof(frames: Frames, wanted: Record) -> str | None:
    """Return where Cloud Run or the log says that the access was denied, or None."""
    own = [row for _, row in rows_of(frames, "revisions") if row["service_name"] == wanted["service_name"]]
    current = serving(frames) or {row["revision_name"] for row in own[:1]}
    for row in own:
        named = wanted["secret_name"] in (row["ready_message"] or "") or "secret" not in (row["ready_message"] or "").lower()
        if row["revision_name"] in current and row["ready_reason"] in _DENIED and named:
            return f"revision {row['revision_name']} was refused with {row['ready_reason']} {place(row)}"
    return None


def _finding(wanted: Row, account: str, why: str) -> Finding:
    position, row = wanted
    command = gcloud(
        *("secrets", "add-iam-policy-binding", row["secret_name"]),
        *(f"--member=serviceAccount:{account}", "--role=roles/secretmanager.secretAccessor"),
    )
    return Finding(
        severity="critical",
        subject=Subject("secret", f"{name_of(row)} {row['secret_name']}"),
        message=f"Service {name_of(row)} wants secret {row['secret_name']} as {row['used_as']} and runs as {account}, "
        f"which may not read it: {why}.",
        remedy=command,
        evidence=rows([position], "secret_references"),
    )
