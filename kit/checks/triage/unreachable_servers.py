"""Servers that do not answer.

What it shows: a connection that came to no session because of what lies below authentication: name resolution, route,
port, socket file, TLS, or a server that is starting or stopping. The words of the error say which of them.

Why it matters: nothing above this layer can be examined, and each of these causes has another owner: DNS, network,
proxy, server.

What to do: follow the remedy of the finding, from the place named as vantage. The same target may be reachable from
elsewhere: compare the vantage of the service with that of the kit.

Known limits: asked once, from one vantage. A firewall that drops packets and a server that is overloaded look alike
(both time out). A pooler that answers may stand before a server that does not.

References: https://www.postgresql.org/docs/current/libpq-connect.html and
https://cloud.google.com/sql/docs/postgres/connect-run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kit.analyze.findings import Finding, Judgement
from kit.checks.triage._attempts import Diagnosis, judge_attempts
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "reachability"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("08006", "08001", "57P03")

DIAGNOSES = (
    Diagnosis(
        r"socket path .* too long",
        "The path of the Unix socket is longer than the system allows (107 bytes on Linux, 103 on macOS).",
        "Give the socket's folder a shorter path; the host is that folder, not the file in it.",
    ),
    Diagnosis(
        r"no such file or directory",
        "There is no socket file at that path: no server or proxy listens there.",
        "Check the path letter by letter (the host is the folder; libpq adds .s.PGSQL.5432 itself). On Cloud Run the folder "
        "/cloudsql/PROJECT:REGION:INSTANCE is there only if the instance is attached to the revision and its service account "
        "has roles/cloudsql.client; the middle part is the region (us-central1), not a zone (us-central1-a).",
    ),
    Diagnosis(
        r"permission denied",
        "The socket's folder is there, but this operating system user may not use it.",
        "Run as a user who may enter the folder, or set unix_socket_permissions and the folder's mode.",
    ),
    Diagnosis(
        r"connection refused",
        "The host answers, but nothing listens on that port.",
        "Check the port, that the server runs, and that listen_addresses covers this address; for a "
        "proxy or sidecar, that it has started.",
    ),
    Diagnosis(
        r"could not translate host name|name or service not known|nodename nor servname|name resolution|no address associated",
        "The host's name cannot be resolved from here.",
        "Check the spelling of the host, and whether this network's DNS knows it (a private name needs the VPC's DNS).",
    ),
    Diagnosis(
        r"network is unreachable|no route to host|address family not supported",
        "There is no route to that address from here.",
        "Check VPN, VPC connector and address family: an IPv6-only host (Supabase's direct one) "
        "cannot be reached over IPv4; use its pooler.",
    ),
    Diagnosis(
        r"starting up|not yet accepting|recovery mode|consistent recovery state",
        "The server is starting up or recovering, and takes no sessions yet.",
        "Wait, and read the server's log for how far recovery is; do not restart it meanwhile, since recovery would begin again.",
    ),
    Diagnosis(
        r"shutting down|terminating connection",
        "The server is shutting down.",
        "Find out who stops it (maintenance, failover, out of memory) before starting it again.",
    ),
    Diagnosis(
        r"timeout expired|timed out",
        "No answer came in time: packets are dropped on the way, or the server is too busy (or locked) to let anyone in.",
        "Check firewall and authorized networks first, then the load of the server's machine.",
    ),
    Diagnosis(
        r"certificate|ssl|tls|encryption",
        "The two sides could not agree on an encrypted connection.",
        "Check sslmode and the root certificate on this side, and whether the server offers (or demands) encryption.",
    ),
    Diagnosis(
        r"server closed the connection|connection reset|broken pipe|eof",
        "The connection was made and then closed before a session began.",
        "Check what listens there: a proxy whose server is gone, a server that runs out of memory, "
        "or another protocol on that port.",
    ),
    Diagnosis(
        r"", "No connection came about.", "Read the message; try the same connection string with psql from the same place."
    ),
)
_STRAY = Diagnosis(
    r"",
    "The host holds a blank or control character (a carriage return or newline from a secret's file "
    "is typical), so it names nothing.",
    "Write the value again without it, for example with `printf %s` instead of `echo`, as a new "
    "version of the secret, and deploy again.",
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that reached no server, with what its message means."""
    attempts = records(frames["connection"])
    for judgement in judge_attempts(frames, "unreachable", "server", "host", DIAGNOSES):
        if isinstance(judgement, Finding) and _is_stray(attempts[judgement.evidence[1][0]]["host"]):
            judgement = replace(judgement, message=f"{_STRAY.meaning} {judgement.message}", remedy=_STRAY.remedy)
        yield judgement


def _is_stray(host: str | None) -> bool:
    return any(letter.isspace() or not letter.isprintable() for letter in host or "")
