"""Connection strings whose user no server knows by that name.

What it shows: strings named in kit.toml with the full e-mail of a service account (Cloud SQL leaves .gserviceaccount.com
out), with a user that a shared pooler cannot tell the project from, or without a user.

Why it matters: the server answers that authentication failed, as it does for a wrong password, and the password is changed
in vain.

What to do: write the user as the server has it; `select rolname from pg_catalog.pg_roles` tells.

Known limits: whether the role exists, and its password, only the server can say.

References: https://cloud.google.com/sql/docs/postgres/iam-authentication and
https://supabase.com/docs/guides/database/connecting-to-postgres
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage import _strings
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = _strings.NEEDS
SEVERITIES = ("critical", "warning")
EXPLAINS = ("28P01", "28000")
SOURCE = "strings"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each problem of the user's name."""
    yield from _strings.judge_strings(frames, ("authentication",))
