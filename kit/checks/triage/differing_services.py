"""Services on one instance that are not set alike.

What it shows: each two services that have the same Cloud SQL instance attached, in what they differ (account, network,
secrets, environment, image, limits) in the order of the ladder, and in what they agree.

Why it matters: where one of them reaches the database and the other does not, what they have in common is cleared: the
instance, its address, the secret. What is left is a short list. It settles "the database is down" without asking it.

What to do: look at the first difference that could matter, beginning with the lowest rung.

Known limits: differences are not defects. Which of the two works is not in an export: a probe or the log tells. Values in
secrets, and those whose name says that they are secret, are not compared; equal fingerprints of 20 bits mean equal values
but for one in a million.

References: https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.comparison import Comparison, compare_services, sharing
from kit.analyze.cloud.scope import place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "service"
NEEDS = ("services", "instance_references", "environment", "runtime_settings")
SEVERITIES = ("info",)
SOURCE = "cloud"

_MOST = 12


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield information for each two services that share an instance and differ."""
    for left, right, instance in sharing(frames):
        yield Examined(1)
        comparison = compare_services(frames, left, right)
        if comparison.differences:
            yield _finding(frames, left, right, instance, comparison)


def _finding(frames: Frames, left: str, right: str, instance: str, found: Comparison) -> Finding:
    words = [f"{difference.layer}: {difference.words}" for difference in found.differences[:_MOST]]
    more = f"; and {len(found.differences) - _MOST} more" if len(found.differences) > _MOST else ""
    own = [(at, row) for at, row in rows_of(frames, "services") if row["service_name"] in (left, right)]
    return Finding(
        severity="info",
        subject=Subject("service", f"{left} {right}"),
        message=f"Services {left} and {right} share instance {instance!r}. They agree in {_agreed(found)}. They differ in "
        f"{'; '.join(words)}{more}. {' '.join(place(row) for _, row in own)}".rstrip(),
        remedy="If one of them works, what they agree in is cleared: begin with the first difference.",
        evidence=rows([at for at, _ in own], "services"),
        value=float(len(found.differences)),
        unit="differences",
    )


def _agreed(found: Comparison) -> str:
    names = [item.what for item in found.equal if item.layer in ("configuration", "reachability", "authentication")]
    return ", ".join(names) or "nothing of the way to the database"
