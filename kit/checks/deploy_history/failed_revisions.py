"""Revisions that failed.

What it shows: revisions whose condition Ready is False, with the reason that Cloud Run gives. Critical where it is
the latest one of its service, a warning for those before it.

Why it matters: a revision that never got ready serves no request, and the one before it goes on serving: the deploy
"did nothing", and the fix it carried is not live. The error rate stays flat, so no graph shows it.

What to do: read the revision's own log for the time of its start, mend the cause, and deploy again. Delete the
revisions that failed once they are of no more use as evidence.

Known limits: a revision whose condition is Unknown is still starting, or its status is of an older generation; it is
reported as not examined. Revisions that were deleted are not in an export.

References: https://cloud.google.com/run/docs/troubleshooting and
https://github.com/knative/specs/blob/main/specs/serving/overview.md
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from kit.analyze.cloud.scope import place
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "change"
NEEDS = ("revisions",)
SEVERITIES = ("critical", "warning")
SOURCE = "cloud"

Record = Mapping[str, Any]
_NEVER = datetime.min.replace(tzinfo=UTC)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each revision that is not ready, critical for the latest of its service."""
    revisions = records(frames["revisions"])
    newest = {row["service_name"]: position for position, row in sorted(enumerate(revisions), key=_creation)}
    for position, row in enumerate(revisions):
        if row["is_ready"] is None:
            yield NotExamined(row["revision_name"] or "unnamed revision", "the export does not say whether it got ready")
            continue
        yield Examined(1)
        if not row["is_ready"] and (row["ready_reason"] or "").lower() != "retired":
            yield _finding(position, row, is_latest=newest[row["service_name"]] == position)


def _creation(item: tuple[int, Record]) -> tuple[datetime, str]:
    return item[1]["created_at"] or _NEVER, item[1]["revision_name"] or ""


def _finding(position: int, row: Record, *, is_latest: bool) -> Finding:
    name, why = row["revision_name"] or "", row["ready_message"] or row["ready_reason"] or "no reason given"
    condition = f" ({row['ready_reason']})" if row["ready_reason"] and row["ready_message"] else ""
    which = "the latest" if is_latest else "an earlier one"
    return Finding(
        severity="critical" if is_latest else "warning",
        subject=Subject("revision", name),
        message=f"Revision {name}, {which} of service {row['service_name']}, is not ready{condition}: {why} "
        f"{place(row)}".rstrip(),
        remedy=_log_command(row) if is_latest else _describe_command(name),
        evidence=rows([position], "revisions"),
    )


def _describe_command(name: str) -> str:
    # An export of revisions does not tell their region, and what is deleted is gone as evidence.
    command = shlex.join(["gcloud", "run", "revisions", "describe", name])
    return (
        f"{command}\nIts conditions say why; add --region where gcloud has no default. Delete it once nobody needs it any more."
    )


def _log_command(row: Record) -> str:
    query = f'resource.type="cloud_run_revision" AND resource.labels.revision_name="{row["revision_name"]}"'
    command = shlex.join(["gcloud", "logging", "read", query, "--limit=50"])
    return f"{command}\nMend what it names, then deploy the service again."
