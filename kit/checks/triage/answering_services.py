"""Services that answer, and how fast.

What it shows: services that answered with a status below 400, in how many seconds, and what they say of themselves; a warning
where the answer is slow, or its body broke off.

Why it matters: a service that answers is what another one is compared with: same database, same moment, other outcome. And a
health endpoint that takes seconds is often the first sign of a pool that is used up.

What to do: compare what answers with what does not: revision, network, secrets, environment. For a slow one, look at what
its endpoint asks.

Known limits: an answer clears the way to the service from this vantage, and nothing behind it. The first request to an
instance that had to be started is slow once.

References: https://cloud.google.com/run/docs/configuring/healthchecks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.scope import Row
from kit.analyze.findings import Examined, Finding, Judgement, Severity, Subject
from kit.checks import Threshold, rows
from kit.checks.triage import _services as services
from kit.evidence.model import Frames

LAYER = "service"
NEEDS = ("service_probes",)
SEVERITIES = ("warning", "info")
EXPLAINS = services.EXPLAINS
SOURCE = "services"
THRESHOLDS = (
    Threshold(
        "slow_seconds",
        2.0,
        "s",
        "a health endpoint does next to nothing; platforms give up on one after 1 to 10 s",
        "https://cloud.google.com/run/docs/configuring/healthchecks",
    ),
)
_CLEARS = "That clears the way to it from there, and nothing behind it"
# A login's front sends strangers elsewhere before it asks the service.
_SENT_ON = "That clears the way to whoever answers at this URL, which may be a front before the service"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield what each answering service said, as information, or as a warning where it was slow or broke off."""
    for row in services.probed(frames):
        record = row[1]
        if services.is_unanswered(record) or not 200 <= (record["http_status"] or 0) < 400:
            continue
        yield Examined(1)
        yield _finding(row, thresholds["slow_seconds"])


def _finding(row: Row, slow_seconds: float) -> Finding:
    position, record = row
    severity, said, remedy = _told(record, slow_seconds)
    clears = _CLEARS if record["http_status"] < 300 else _SENT_ON
    return Finding(
        severity=severity,
        subject=Subject("service", record["service_name"]),
        message=f"{record['service_name']} {said}. {clears}. [{services.asked(record)}]",
        remedy=remedy,
        evidence=rows([position], services.EVIDENCE),
        value=record["answer_seconds"],
        threshold=slow_seconds,
        unit="s",
    )


def _told(record: services.Record, slow_seconds: float) -> tuple[Severity, str, str]:
    seconds = record["answer_seconds"]
    took = f" in {services.shown_time(seconds)}" if seconds is not None else ""
    said = f"answers {record['http_status']}{took}{services.says(record)}"
    if record["died_at"] == "body":
        return "warning", f"{said}, but {record['message']}", "Look at what the endpoint sends, and who cuts it off."
    if seconds is not None and seconds > slow_seconds:
        return "warning", f"{said}, which is slow", "Ask it again; if it stays slow, look at its pool and what its endpoint asks."
    return "info", said, "Nothing to mend; compare it with what does not answer."
