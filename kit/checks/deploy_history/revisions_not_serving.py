"""Revisions that were deployed and do not serve.

What it shows: services whose latest created revision is not the latest ready one, or whose traffic does not all go
to the latest ready revision.

Why it matters: what was deployed last is not what answers. Every look at the code, the image or the environment of
the latest revision then looks at the wrong thing, and a fix that is deployed changes nothing.

What to do: where the latest revision failed, see `failed_revisions`. Where the traffic is pinned, move it with
`gcloud run services update-traffic SERVICE --to-latest`, unless the pin is a rollback that is wanted.

Known limits: the export does not say whether a pin or a split is meant, such as a canary. A service whose status is
of an older generation, or that is still being deployed, is reported as not examined.

References: https://cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kit.analyze.cloud.scope import place
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "change"
NEEDS = ("services", "traffic")
SEVERITIES = ("warning",)
SOURCE = "cloud"

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a warning for each service whose latest revision is not the one that serves."""
    targets = list(enumerate(records(frames["traffic"])))
    for position, service in enumerate(records(frames["services"])):
        if service["is_ready"] is None:
            yield NotExamined(service["service_name"] or "unnamed service", "a deploy was under way in the export")
            continue
        yield Examined(1)
        own = [(row, target) for row, target in targets if target["service_name"] == service["service_name"]]
        yield from _judge_service(position, service, own)


def _judge_service(position: int, service: Record, targets: Sequence[tuple[int, Record]]) -> Iterator[Finding]:
    name, created, ready = (service[k] or "" for k in ("service_name", "latest_created_revision", "latest_ready_revision"))
    others = [(row, target) for row, target in targets if target["percent"] and target["revision_name"] != ready]
    if created != ready:
        yield Finding(
            severity="warning",
            subject=Subject("revision", created),
            message=f"Service {name} was last deployed as {created}; its latest ready revision is {ready or 'none'}. "
            f"{place(service)}".rstrip(),
            remedy=shlex.join(["gcloud", "run", "revisions", "describe", created]) + "\nMend what it names, then deploy again.",
            evidence=rows([position], "services"),
        )
    elif others:
        yield _pinned(name, ready, others)


def _pinned(service: str, ready: str, others: list[tuple[int, Record]]) -> Finding:
    percent = sum(target["percent"] for _, target in others)
    names = ", ".join(str(target["revision_name"]) for _, target in others)
    return Finding(
        severity="warning",
        subject=Subject("revision", ready),
        message=f"{percent} % of the traffic of service {service} goes to {names}, not to its latest revision {ready}. "
        f"{place(others[0][1])}".rstrip(),
        remedy=shlex.join(["gcloud", "run", "services", "update-traffic", service, "--to-latest"]),
        evidence=rows([row for row, _ in others], "traffic"),
        value=float(percent),
        threshold=0.0,
        unit="percent of the requests",
    )
