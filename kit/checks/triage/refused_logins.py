"""Logins that the server refuses.

What it shows: the server answered and did not let this role in: a wrong password, no such role, a role that may not
log in or may not connect to this database, or a client address that pg_hba.conf has no line for.

Why it matters: an application with the same connection string fails in the same way, at start or at its next
connection; sessions that are already open go on, so a changed password shows late.

What to do: compare user and host with what the server knows; the remedy says what to look at. Do not change a
password before it is known who else uses it.

Known limits: the server says "password authentication failed" for a wrong password, for a role that does not exist,
and for an expired one; only its log tells them apart. The password itself is never part of the evidence.

References: https://www.postgresql.org/docs/current/client-authentication-problems.html and
https://cloud.google.com/sql/docs/postgres/iam-authentication
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("28P01", "28000")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt whose login was refused."""
    yield from judge_attempts(frames, "login", "role", "user_name")
