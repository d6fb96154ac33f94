"""Services that do not answer.

What it shows: services whose probe came back without a status, and where it died: no such name, refused, no route, a
certificate that is expired or for another name, no answer in time after the handshake, closed, or not HTTP at all.

Why it matters: a request that dies after the TLS handshake was taken by whoever ends TLS, mostly the platform's front, so the
name, the network and the certificate are cleared, and what stands behind is the place to look; "timeout" alone says none of this.

What to do: look at what the last step that worked hands over to: after TLS, the service's own container, its start, and
what it waits for; before, the name, the address, the port and the network of where it was asked.

Known limits: seen from one vantage. An internal name or private address is not reached from outside, and where the environment
names a proxy the probe went without it: then this is not examined. An authority of one's own is given by `ca`.

References: https://cloud.google.com/run/docs/troubleshooting and https://www.rfc-editor.org/rfc/rfc9110#section-15.6
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kit.analyze.cloud.scope import Row
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.triage import _services as services
from kit.checks.triage._sessions import shown_seconds
from kit.evidence.model import Frames

LAYER = "service"
NEEDS = ("service_probes",)
SEVERITIES = ("critical", "warning")
EXPLAINS = services.EXPLAINS
WITNESS = True
SOURCE = "services"

_NAME = "Compare the host in the URL with the service's own; an internal name is known only inside its network."
_NETWORK = "Look whether the service runs and listens on this port, and at the firewall between here and there."
_CERTIFICATE = "Renew the certificate, for this very name, and have the front load it."
_BEHIND = (
    "Read the service's own log of this minute, and look at what its start and its requests wait for: a dependency that cannot "
    "be reached from its network, a pool without a free connection, a missing VPC connector."
)
_URL = "Compare scheme and port of the URL with what the service speaks."
_HANDSHAKE = (
    "Look at what ends TLS for it (the front, or the service itself): the versions and ciphers it takes, a certificate that it "
    "wants of who asks, and whether it still works."
)
_INSIDE = (
    "Ask from inside that network: make the records there, and name their file as `services`. If this was inside, compare the "
    "address with the service's own, and look whether it runs."
)
_AUTHORITY = (
    "Name the authority's certificate as `ca` of the services in kit.toml, or by SSL_CERT_FILE; or have the front send its whole "
    "chain, if the authority is a public one."
)
_REMEDIES = {
    "NOT_TLS": _URL,
    "NOT_HTTP": _URL,
    "TLS_HANDSHAKE": _HANDSHAKE,
    "TLS_REFUSED": _HANDSHAKE,
    "TLS_UNKNOWN_CA": _AUTHORITY,
    "TLS_SELF_SIGNED": _AUTHORITY,
}


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each service whose request died, and what is cleared by how far it came."""
    found = services.probed(frames)
    for row in found:
        unseen = services.is_unexamined(row[1]) if services.is_unanswered(row[1]) else None
        if unseen:
            yield NotExamined(row[1]["service_name"], unseen)
            yield from _doubtful(row, unseen)
        elif services.is_unanswered(row[1]):
            yield Examined(1)
            yield _finding(row, f"{_death(row[1])}{_clears(row[1])}{_compared(row[1], found)}", "critical")
        elif row[1]["http_status"] is None:
            yield NotExamined(row[1]["service_name"], "the record holds neither a status nor where it died")
        else:
            yield Examined(1, f"{row[1]['service_name']} answered {row[1]['http_status']} from {row[1]['vantage']}")


def _doubtful(row: Row, unseen: str) -> Iterable[Finding]:
    """Yield a warning where it may be the service all the same: nobody but the reader knows where the vantage lies."""
    name, code, died_at = row[1]["service_name"], row[1]["error_code"], row[1]["died_at"]
    if row[1]["ignores_proxy"]:
        return
    if code in ("TLS_UNKNOWN_CA", "TLS_SELF_SIGNED"):
        yield _finding(row, f"{name} shows a certificate that is not trusted here: {unseen}", "warning")
    if (died_at == "name" and code in (None, "EAI_NONAME", "EAI_NODATA")) or (died_at == "tcp" and code == "TIMEOUT"):
        yield replace(_finding(row, f"{name} was not reached: {unseen}", "warning"), remedy=_INSIDE)


def _finding(row: Row, message: str, severity: str) -> Finding:
    position, record = row
    waited = record["answer_seconds"] if record["died_at"] == "answer" else None
    return Finding(
        severity="critical" if severity == "critical" else "warning",
        subject=Subject("service", record["service_name"]),
        message=f"{message} [{services.asked(record)}]",
        remedy=_remedy(record),
        evidence=rows([position], services.EVIDENCE),
        value=waited,
        threshold=record["allowed_seconds"] if waited is not None else None,
        unit="s" if waited is not None else None,
    )


def _remedy(row: services.Record) -> str:
    steps = {"name": _NAME, "tcp": _NETWORK, "tls": _CERTIFICATE, "answer": _BEHIND}
    if row["died_at"] == "tls" and row["error_code"] == "TIMEOUT":
        return _HANDSHAKE
    return _REMEDIES.get(row["error_code"] or "", steps[row["died_at"]])


def _death(row: services.Record) -> str:
    name, message = row["service_name"], row["message"] or "the record does not say why"
    if row["died_at"] == "name":
        return f"{name} cannot be asked: its name is not known where it was asked ({message})."
    if row["died_at"] == "tcp":
        tried = f" ({', '.join(row['addresses'])})" if row["addresses"] else ""
        return f"{name} took no connection: {message}{tried}."
    if row["died_at"] == "tls":
        return f"{name} came no further than TLS: {message}."
    waited = f" in {shown_seconds(row['answer_seconds'])}" if row["answer_seconds"] is not None else " in time"
    if row["error_code"] == "TIMEOUT":
        return f"{name} took the request and did not answer{waited}."
    return f"{name} took the request and gave no status{waited}: {message}."


def _clears(row: services.Record) -> str:
    worked = services.cleared(row)
    if not worked:
        return " Nothing behind the name was reached." if row["died_at"] == "name" else ""
    if row["died_at"] != "answer":
        return f" Before that, there answered: {worked}."
    return f" Before that, there answered: {worked}; so {_taken(row)}. Of a database this says nothing."


def _taken(row: services.Record) -> str:
    if row["error_code"] in ("NOT_HTTP", "TLS_REFUSED"):
        return "something listens there, and it does not take such a request"
    if row["tls_seconds"] is None and str(row["url"] or "").startswith("http:"):
        return "something listens there, or the system of its machine for it, and the service did not answer"
    return "the front (or the service itself, where it ends TLS) accepted it, and what stands behind did not answer"


def _compared(row: services.Record, found: Iterable[Row]) -> str:
    """Return what another service, asked alike, says of its database: the same one may serve both."""
    for _, other in found:
        well = services.calls_database_well(other)
        if well and other["service_name"] != row["service_name"]:
            when = "in the same moment" if services.at_the_same_time(row, other) else "at another time"
            return f" {other['service_name']}, asked {when}, answers {other['http_status']} and says “{well}”."
    return ""
