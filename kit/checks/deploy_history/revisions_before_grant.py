"""Revisions that were created before their service account could connect.

What it shows: revisions with a Cloud SQL instance attached whose service account, by the audit log, was given a role
that lets it connect only after the revision was created; and, as information, revisions that failed so soon after
the grant that it may not have taken effect.

Why it matters: such a revision could not have worked, whatever its code. Its failure says nothing about the fix that
it carried, and trying one revision after the other before the grant is time lost.

What to do: judge a fix only by a revision created after the grant. Delete the older ones once they are of no more use
as evidence.

Known limits: an IAM policy carries no times, so all rests on the audit log; a service account for which neither the
log nor the policy shows a role is not examined here. A grant through a group, a folder, a custom role or a condition
is not followed.

References: https://cloud.google.com/iam/docs/access-change-propagation and
https://cloud.google.com/logging/docs/audit/understanding-audit-logs
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kit.analyze.cloud.iam import CONNECTING_ROLES, is_account
from kit.analyze.cloud.scope import place
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import Threshold, rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "change"
NEEDS = ("revisions", "audit_changes")
SEVERITIES = ("warning", "info")
SOURCE = "cloud"
THRESHOLDS = (
    Threshold(
        name="propagation_minutes",
        default=10,
        unit="minutes",
        reason="a grant takes effect within about two minutes, at times seven and more; ten were seen",
        source="https://cloud.google.com/iam/docs/access-change-propagation",
    ),
)

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a warning for each revision created before the grant, and information for those just after it."""
    log = [row for row in records(frames["audit_changes"]) if _is_effective(row)]
    policy = records(frames["iam_bindings"]) if "iam_bindings" in frames else []
    for position, revision in enumerate(records(frames["revisions"])):
        if not revision["cloudsql_instances"]:
            continue
        reason = _why_unseen(revision, log, policy)
        if reason:
            yield NotExamined(revision["revision_name"] or "unnamed revision", reason)
            continue
        yield Examined(1)
        yield from _judge_revision(position, revision, log, policy, thresholds["propagation_minutes"])


def _is_effective(row: Record) -> bool:
    is_role = row["kind"] in ("iam grant", "iam revoke") and row["role"] in CONNECTING_ROLES
    return is_role and row["status_code"] is None and row["at"] is not None


def _why_unseen(revision: Record, log: Sequence[Record], policy: Sequence[Record]) -> str | None:
    account = revision["service_account"]
    if not account or revision["created_at"] is None:
        return "the export names no service account or no time for it"
    if _own(log, account) or _standing(log, policy, account):
        return None
    return f"neither the audit log nor the policy shows a role for {account} that lets it connect"


def _own(log: Sequence[Record], account: str) -> list[Record]:
    rows_of_account = [row for row in log if is_account(row["member"] or "", account)]
    # A condition is changed by removing the binding and adding it again, in one request.
    return sorted(rows_of_account, key=lambda row: (row["at"], row["kind"] == "iam grant"))


def _standing(log: Sequence[Record], policy: Sequence[Record], account: str) -> bool:
    """Return whether the account holds a role of which the log knows nothing: it is older than the log."""
    logged = {row["role"] for row in _own(log, account)}
    held = {b["role"] for b in policy if is_account(b["member"] or "", account) and b["condition_title"] is None}
    return bool((held & CONNECTING_ROLES) - logged)


def _judge_revision(
    position: int, revision: Record, log: Sequence[Record], policy: Sequence[Record], propagation_minutes: float
) -> Iterator[Finding]:
    account, created_at = revision["service_account"], revision["created_at"]
    own = _own(log, account)
    if _standing(log, policy, account):
        return
    if not _held(own, created_at):
        grant = next((row for row in own if row["kind"] == "iam grant" and row["at"] > created_at), None)
        if grant is not None:
            yield _finding("warning", position, revision, grant)
    elif revision["is_ready"] is False:
        recent = [row for row in own if row["kind"] == "iam grant" and row["at"] <= created_at]
        if recent and _minutes(recent[-1]["at"], created_at) < propagation_minutes:
            yield _finding("info", position, revision, recent[-1], propagation_minutes)


def _held(own: Sequence[Record], at: datetime) -> bool:
    """Return whether, by the log, the account held a role at that time; what is first revoked was held before."""
    roles = {row["role"]: row["kind"] == "iam revoke" for row in reversed(own)}
    for row in own:
        if row["at"] <= at:
            roles[row["role"]] = row["kind"] == "iam grant"
    return any(roles.values())


def _minutes(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() / 60


def _finding(severity: Any, position: int, revision: Record, grant: Record, propagation_minutes: float | None = None) -> Finding:
    name, minutes = revision["revision_name"] or "", abs(_minutes(revision["created_at"], grant["at"]))
    told = (
        f"before {grant['role']} was granted to {revision['service_account']} at {grant['at']:%Y-%m-%d %H:%M:%S} UTC: "
        f"it could not have reached {revision['cloudsql_instances'][0]!r}."
        if severity == "warning"
        else f"after {grant['role']} was granted, and failed: the grant may not have taken effect yet."
    )
    return Finding(
        severity=severity,
        subject=Subject("revision", name),
        message=f"Revision {name} was created {minutes:.1f} minutes {told} {place(revision)}".rstrip(),
        # Not its deletion: it is evidence, and it harms nobody.
        remedy="Judge a fix only by a revision created after the grant: deploy once more.",
        evidence=rows([position], "revisions"),
        value=round(minutes, 3),
        threshold=propagation_minutes,
        unit="minutes",
    )
