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

from kit.analyze.connection.failures import has_stray
from kit.analyze.findings import Finding, Judgement
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "reachability"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("08006", "08001", "57P03")

_STRAY_MEANING = (
    "The host holds a blank or control character (a carriage return or newline from a secret's file "
    "is typical), so it names nothing."
)
_STRAY_REMEDY = (
    "Write the value again without it, for example with `printf %s` instead of `echo`, as a new "
    "version of the secret, and deploy again."
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that reached no server, with what its message means."""
    attempts = records(frames["connection"])
    for judgement in judge_attempts(frames, "unreachable", "server", "host"):
        if isinstance(judgement, Finding) and has_stray(attempts[judgement.evidence[1][0]]["host"]):
            judgement = replace(judgement, message=f"{_STRAY_MEANING} {judgement.message}", remedy=_STRAY_REMEDY)
        yield judgement
