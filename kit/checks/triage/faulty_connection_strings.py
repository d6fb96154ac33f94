"""Connection strings that do not say what was meant.

What it shows: what `kit dsn` finds in the connection strings that kit.toml names: invisible characters (a carriage return
at the end of a host), quotes, an unescaped password, a driver suffix or a parameter that its reader refuses, the zone of a
Cloud SQL instance in the place of its region, another instance than the exports show, a SQLite database.

Why it matters: a driver takes each byte at its word. A host that ends in a carriage return gives "No such file or
directory", which reads like a missing socket; the log that names it looks well, because the byte is not seen.

What to do: take the corrected string, put the password in, write it as a new version of the secret with `printf %s`, and
deploy. Compare its fingerprint (`kit dsn --env`) with that of a service that works.

Known limits: the string is the one that the kit's environment holds, not the one inside the running service. Whether the
password is right only the server can say.

References: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING and
https://cloud.google.com/sql/docs/postgres/connect-run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage import _strings
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = _strings.NEEDS
SEVERITIES = ("critical", "warning", "info")
EXPLAINS = ("08001", "08006", "28P01", "28000", "3D000")
SOURCE = "strings"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each problem of the writing, and for those that only ever warn."""
    yield from _strings.judge_strings(frames, ("configuration", "database identity", "capacity and performance"))
