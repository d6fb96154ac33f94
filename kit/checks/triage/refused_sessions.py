"""Sessions that the symptom's role is refused.

What it shows: where the symptom is a refused login that names the role, why the server refuses it: the role may not log in
(NOLOGIN), its password has expired, its connections or those of the database are used up, or it has no CONNECT.

Why it matters: the kit itself logs in as another role, and sees nothing of it. A service that is already connected goes
on; the next start of it fails.

What to do: run the remedy, after deciding that the role is meant to connect.

Known limits: a wrong password, pg_hba.conf and a pooler before the server cannot be seen from inside it. Limits are
compared with the sessions of the moment of the capture.

References: PostgreSQL manual, 21.2 "Role Attributes", and
https://www.postgresql.org/docs/current/client-authentication-problems.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.findings import Judgement, Layer, Severity
from kit.analyze.symptom_answers import refusals
from kit.evidence.model import Frames

LAYER: Layer = "authentication"
NEEDS = ("symptom", "sessions", *ACCESS_NEEDS)
SEVERITIES: tuple[Severity, ...] = ("critical",)
EXPLAINS = ("28000", "28P01", "42501", "53300")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding if the symptom's role cannot begin a session in this database."""
    yield from refusals(frames, ("login", "connect"))
