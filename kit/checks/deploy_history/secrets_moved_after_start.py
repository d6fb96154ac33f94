"""Secrets whose latest version is newer than what the service runs with.

What it shows: revisions that take traffic and want the version `latest` of a secret in a variable, where a version was
added after the revision was created.

Why it matters: a variable is read when an instance of the service starts. Some instances then run with the old value and
some with the new one, and a rotated password fails only on some requests, or only after the next start.

What to do: deploy a new revision, so that every instance starts with the same value; or name the version by its number.

Known limits: when each instance started is not in an export: a revision without minimum instances may have started all of
them since. A secret mounted as a volume is read when it is used, and is left out.

References: https://cloud.google.com/run/docs/configuring/services/secrets
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.scope import gcloud, name_of, place, rows_of, serving, versions_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "change"
NEEDS = ("secret_references", "revisions")
SEVERITIES = ("warning",)
SOURCE = "cloud"

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a warning for each `latest` that moved after its revision was created."""
    created = {row["revision_name"]: row["created_at"] for _, row in rows_of(frames, "revisions")}
    current = serving(frames)
    for position, row in rows_of(frames, "secret_references"):
        if row["revision_name"] in current and row["secret_version"] == "latest" and row["used_as"].startswith("variable"):
            yield from _judge(frames, position, row, created.get(row["revision_name"]))


def _judge(frames: Frames, position: int, row: Record, created_at: Any) -> Iterator[Judgement]:
    versions = [version for version in versions_of(frames, row) if version["created_at"]]
    if not versions or created_at is None:
        yield NotExamined(f"{row['revision_name']} {row['secret_name']}", "no times of its versions are in the folder")
        return
    yield Examined(1)
    newest = max(versions, key=lambda version: version["created_at"])
    if newest["created_at"] > created_at:
        yield _finding(position, row, newest, created_at)


def _finding(position: int, row: Record, newest: Record, created_at: Any) -> Finding:
    minutes = (newest["created_at"] - created_at).total_seconds() / 60
    return Finding(
        severity="warning",
        subject=Subject("secret", f"{row['revision_name']} {row['secret_name']}"),
        message=f"Version {newest['secret_version']} of secret {row['secret_name']} was added {minutes:.1f} minutes after "
        f"revision {row['revision_name']} was created, which wants `latest`: not all of its instances run with the same value. "
        f"{place(newest, 'createTime')}",
        remedy=gcloud("run", "services", "update", name_of(row), "--update-labels=restarted=1") + "\nIt makes a new revision.",
        evidence=rows([position], "secret_references"),
        value=round(minutes, 3),
        threshold=0.0,
        unit="minutes",
    )
