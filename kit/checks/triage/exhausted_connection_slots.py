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
from kit.checks.triage._attempts import Diagnosis, judge_attempts
from kit.evidence.model import Frames

LAYER = "capacity and performance"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("53300",)

_WHO = "select usename, application_name, state, count(*) from pg_stat_activity group by 1, 2, 3 order by 4 desc"
DIAGNOSES = (
    Diagnosis(
        r"too many connections for role",
        "The role has as many sessions as its connection limit allows.",
        f"See who holds them (`{_WHO}`), make the pools of that role smaller, or raise the limit by "
        "`alter role … connection limit`.",
    ),
    Diagnosis(
        r"too many connections for database",
        "The database has as many sessions as its connection limit allows.",
        f"See who holds them (`{_WHO}`), or raise the limit by `alter database … connection limit`.",
    ),
    Diagnosis(
        r"no more connections allowed|max_client_conn",
        "The pooler has as many clients as it allows.",
        "See `show clients` and `show pools` in its console; raise max_client_conn, or make the applications' own pools smaller.",
    ),
    Diagnosis(
        r"",
        "The server has no free connection slot for ordinary roles.",
        f"As a role with reserved slots, see who holds them (`{_WHO}`), end idle sessions, and make the pools smaller.",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that found no free slot."""
    yield from judge_attempts(frames, "slots", "server", "host", DIAGNOSES)
