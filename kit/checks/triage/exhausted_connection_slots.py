"""Connections refused because all slots are taken.

What it shows: the server, the role, the database or the pooler has as many sessions as it allows, and refused this one.

Why it matters: every new connection of the applications fails in the same way, while those that hold one go on: some
requests work and some do not.

What to do: see from a session that is still open (or as a superuser, for whom slots are reserved) who holds the slots,
end idle ones, and give the pools a smaller size; raising max_connections needs a restart and memory.

Known limits: who holds the slots cannot be seen without a slot. A pooler that queues instead of refusing shows as a
timeout.

References: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-MAX-CONNECTIONS and
https://www.postgresql.org/docs/current/errcodes-appendix.html (53300)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("53300",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that found no free slot."""
    yield from judge_attempts(frames, "slots", "server", "host")
