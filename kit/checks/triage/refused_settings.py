"""Settings of the connection string that are refused.

What it shows: a connection that failed because of an option in the string, the service file or the environment: one
that libpq does not know the value of, a server setting that the server refuses, or a start parameter that a pooler does
not pass on.

Why it matters: nothing is wrong with the server. Every program with this string fails in the same way, often from the
minute at which a pooler was put in between or the server was upgraded.

What to do: follow the remedy; a setting that a role always needs belongs to the role (`alter role … set`), not into each
connection string.

Known limits: which settings the server would refuse is seen only where it was reached, and only the first of several.

References: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS and
https://www.pgbouncer.org/config.html#ignore_startup_parameters
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("42704", "22023", "08P01")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that failed because of a setting."""
    yield from judge_attempts(frames, "settings", "connection", "host")
