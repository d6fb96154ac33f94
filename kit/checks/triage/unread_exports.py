"""Files in the folder of exports that could not be used.

What it shows: files that are empty, cut short, no JSON, or could not be opened, each as not examined; and, as information,
files that hold other things than the kit reads.

Why it matters: a service whose file was half written is not seen by any check, and a folder with one such file must not
read like a healthy project. The command that should have filled it usually failed.

What to do: run the command again, look at what it says, and write its answer anew, or remove the file.

Known limits: a file that holds gcloud's own refusal is judged by the checks that needed its answer. What is not there at
all is missed by the check that needs it.

References: https://cloud.google.com/sdk/gcloud/reference
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.scope import rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("cloud_commands",)
# What an unread file holds may be critical: with one, the layer is not cleared.
SEVERITIES = ("critical", "info")
SOURCE = "cloud"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield what was not examined for each file that cannot be read, and information for each that is of another kind."""
    refused = {row["file"] for _, row in rows_of(frames, "cloud_commands")}
    yield Examined(1)
    for name, gap in frames.gaps.items():
        if not gap.reason.startswith(f"{name} ") or name in refused:
            continue
        if gap.kind == "failed":
            yield NotExamined(name, gap.reason)
        else:
            yield _stranger(name, gap.reason)


def _stranger(name: str, reason: str) -> Finding:
    return Finding(
        severity="info",
        subject=Subject("file", name),
        message=f"{reason}.",
        remedy="Remove the file, or write it anew with gcloud and --format=json.",
        evidence=rows([], "cloud_commands"),
    )
