"""Expired login roles.

What it shows: login roles whose password is no longer valid (VALID UNTIL has passed when the roles were read).

Why it matters: the server then says "password authentication failed" (28P01), the same words as for a wrong password,
so that people look for the secret and rotate it in vain.

What to do: if the role is still to be used, give its password a longer life; if not, drop it or take LOGIN from it.

Known limits: a warning, since a role may have been retired in this way on purpose; critical where the symptom names the
role. The date matters for authentication by password only: a role that logs in by certificate, peer, LDAP or a cloud's
IAM is not touched by it.

References: PostgreSQL manual, CREATE ROLE (VALID UNTIL).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import symptom_names
from kit.evidence.model import Frames

LAYER: Layer = "authentication"
NEEDS = ("roles",)
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
EXPLAINS = ("28P01",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per login role whose password has expired."""
    roles, now = frames["roles"], frames.at("roles")
    logins = roles[roles["can_login"].astype(bool)]
    yield Examined(len(logins))
    # A time before Christ, or -infinity, is not a time in a frame: neither a date nor valid for ever.
    ancient = logins["valid_until"].isna() & ~logins["is_valid_forever"].astype(bool)
    for position, row in logins[ancient | (logins["valid_until"] < now)].iterrows():
        since = "long ago" if pd.isna(row["valid_until"]) else f"at {row['valid_until']:%Y-%m-%d %H:%M} UTC"
        yield Finding(
            severity="critical" if symptom_names(frames, [row["role_name"]]) else "warning",
            subject=Subject(kind="role", name=row["role_name"]),
            message=f'the password of role "{row["role_name"]}" expired {since}',
            remedy=f"alter role {quoted(row['role_name'])} valid until 'infinity'",
            evidence=("roles", (int(str(position)),)),
        )
