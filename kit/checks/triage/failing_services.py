"""Services that answer and fail.

What it shows: services that answer with a 5xx, and those that answer 200 and call themselves or their database unwell. One
that names another probed service which itself fails is told as following from that one.

Why it matters: three services are down, and one of them is the cause. Whoever begins with the 503 of a service that only waits
for another loses the time that matters.

What to do: begin with the service at the end of the chain; one that follows from it mends itself.

Known limits: a 200 on a health endpoint clears nothing behind it. Where the case has a symptom, a service that answers 200
is therefore left as not examined: the request that fails was not made. Redirects are not followed; a 4xx says that this
URL or vantage is not let in, and not how the service is. That one follows from another is read from its answer,
which names the other.

References: https://www.rfc-editor.org/rfc/rfc9110#section-15.6 and
https://cloud.google.com/run/docs/configuring/healthchecks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.scope import Row
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Severity, Subject
from kit.checks import rows
from kit.checks.triage import _services as services
from kit.evidence.model import Frames

LAYER = "service"
NEEDS = ("service_probes",)
SEVERITIES = ("critical", "warning")
EXPLAINS = services.EXPLAINS
WITNESS = True
SOURCE = "services"

_MEANINGS = {
    500: "the service itself failed, or its platform found no instance to take the request",
    501: "the service does not know the method",
    502: "a front answered in its place, and got no usable answer from it",
    503: "it calls itself unavailable, or a front found no instance to take the request",
    504: "a front answered in its place, and waited in vain for it",
}


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each 5xx of its own, a warning for one that follows and for a 200 that says it is unwell."""
    found = services.probed(frames)
    has_symptom = "symptom" in frames and len(frames["symptom"]) > 0
    for row in found:
        if services.is_unanswered(row[1]):
            continue
        yield from _judge(row, found, has_symptom)


def _judge(row: Row, found: list[Row], has_symptom: bool) -> Iterable[Judgement]:
    _, record = row
    status, name = record["http_status"], record["service_name"]
    unseen = _unseen(record)
    if unseen:
        yield NotExamined(name, unseen)
        return
    yield Examined(1)
    if status >= 500:
        yield _failing(row, found)
        return
    if services.unwell(record):
        yield _unwell(row, found)
    if has_symptom:
        words = f"{services.asked(record)}, answers {status}, which clears nothing behind it: the request that fails was not made"
        yield NotExamined(name, words)


def _unseen(row: services.Record) -> str | None:
    """Return why an answer does not say how the service is, or None where it does."""
    status = row["http_status"]
    if status is None or not 200 <= status < 600:
        return "the record holds no status" if status is None else f"it answers {status}, which is no last word of a service"
    if row["method"] == "HEAD" and status in (405, 501):
        return f"it answers {status} to HEAD: ask it by GET"
    if 300 <= status < 400:
        place = row["location"] or "nowhere"
        return f"it answers {status} and points to {place}, which was not followed: name that URL if it is the service's own"
    if status == 429:
        return "it answers 429: it, or a front before it, takes no more requests now (too many, or no instance is free)"
    if 400 <= status < 500:
        return (
            f"it answers {status}: there is no such URL, or it lets nobody in who asks from {row['vantage']} without credentials"
        )
    return None


def _failing(row: Row, found: list[Row]) -> Finding:
    record = row[1]
    status, cause = record["http_status"], services.root(record, found)
    said = f"{record['service_name']} answers {status}{services.says(record)}"
    if cause is not None:
        return _follows(row, cause, said)
    meaning = _MEANINGS.get(status, "the service failed")
    message = f"{said}: {meaning}."
    remedy = "Read the service's own log of this minute; what it calls unwell is the next thing to ask."
    return _finding(row, "critical", message, remedy)


def _unwell(row: Row, found: list[Row]) -> Finding:
    record, cause = row[1], services.root(row[1], found)
    said = (
        f"{record['service_name']} answers {record['http_status']} and says of itself: {'; '.join(services.unwell(record)[:4])}"
    )
    if cause is not None:
        return _follows(row, cause, said)
    return _finding(row, "warning", f"{said}.", "Believe the words and not the status, and have the endpoint answer 503 then.")


def _follows(row: Row, cause: services.Record, said: str) -> Finding:
    name = cause["service_name"]
    state = "does not answer" if services.is_unanswered(cause) else f"itself answers {cause['http_status']}"
    why = f"it names {name}, so most likely it follows from {name}, which {state}"
    return _finding(row, "warning", f"{said}: {why}.", f"Mend {name} first, and look again.")


def _finding(row: Row, severity: Severity, message: str, remedy: str) -> Finding:
    position, record = row
    return Finding(
        severity=severity,
        subject=Subject("service", record["service_name"]),
        message=f"{message} [{services.asked(record)}]",
        remedy=remedy,
        evidence=rows([position], services.EVIDENCE),
        value=float(record["http_status"]),
        unit="HTTP status",
    )
