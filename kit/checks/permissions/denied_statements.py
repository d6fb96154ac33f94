"""Statements that the symptom's role is denied.

What it shows: where the symptom is a log line that names the role, and what that role met, the gate at which the server
stops it: USAGE on a schema, the privilege on the object or on its columns, the owner of a view, a sequence behind a default,
or a function that a policy, view or trigger calls.

Why it matters: other checks ask what services in general lack. This one asks the very question of the error, also where
one column, one function or the owner of a view is all that is missing.

What to do: run the remedy, after deciding that the role is meant to have it. `kit access --error` shows the whole chain.

Known limits: without a role in the symptom, or with a statement that is cut short, there is nothing to ask; the action is
then taken for SELECT. What the session changed for itself (SET search_path, SET ROLE) is not seen.

References: PostgreSQL manual, 5.8 "Privileges", and
https://www.postgresql.org/docs/current/errcodes-appendix.html (42501, 42P01)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.analyze.access.catalog import WANTED
from kit.analyze.access.explanation import GateName
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.findings import Judgement, Layer, Severity
from kit.analyze.symptom_answers import refusals
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = ("symptom", *ACCESS_NEEDS, *(name for name in WANTED if name != "sessions"))
SEVERITIES: tuple[Severity, ...] = ("critical",)
EXPLAINS = ("42501", "42P01")

_GATES: tuple[GateName, ...] = ("schema usage", "object privilege", "column privilege", "view owner", "sequence", "function")


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding for each object at which the privileges of the symptom's role end."""
    yield from refusals(frames, _GATES)
