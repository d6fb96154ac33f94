"""Connection strings that lead where no database can be.

What it shows: strings named in kit.toml without a host, with localhost for a service in a container, with several hosts for
a reader that takes one, or with a host that has an IPv6 address only.

Why it matters: the service knocks at its own container or at a default that nobody chose, and says that the database does
not answer.

What to do: name the host that the database really has from where the service runs.

Known limits: nothing is looked up and nobody is asked; `kit dsn --connect` does that. A proxy beside the service in the
same container or pod makes localhost right: leave `in_container` out for it.

References: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage import _strings
from kit.evidence.model import Frames

LAYER = "reachability"
NEEDS = _strings.NEEDS
SEVERITIES = ("critical", "warning", "info")
EXPLAINS = ("08001", "08006")
SOURCE = "strings"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each problem of the place."""
    yield from _strings.judge_strings(frames, ("reachability",))
