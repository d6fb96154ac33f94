"""Databases that are not on the server.

What it shows: the server answered, and has no database of the name asked for, or one that takes no sessions.

Why it matters: the connection string points to another server or another name than people believe: what they see in
their own client is not what the application sees.

What to do: list the databases of that server (`psql -l`), and compare host and name with those of the service that
works. Create the database only if this is the right server.

Known limits: a database of that name on the wrong server is not noticed here; the identity in the report says which
server answered.

References: https://www.postgresql.org/docs/current/errcodes-appendix.html (3D000) and
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-DBNAME
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames

LAYER = "database identity"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("3D000",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that found no such database."""
    yield from judge_attempts(frames, "database", "database", "database_name")
