"""Views that bypass row security.

What it shows: views that read tables with row security as an owner whom it does not bind (the tables' owner, a superuser,
a role with BYPASSRLS), and that an exposed role, or one bound by those policies, may query.

Why it matters: a view reads as its owner. The policies of the table are asked about the owner, find nothing to hide, and
whoever may query the view sees all rows that it selects.

What to do: from PostgreSQL 15 on let the view read as whoever asks (`security_invoker`). They then need SELECT on the
tables behind it: grant it first where it is missing. Before 15, give the view to an owner whom the policies bind.

Known limits: a warning, because a view may be meant as a window: with a WHERE of its own it can be as strict as a policy.
Counted are exposed roles (kit.toml, else PUBLIC, `anon` and `authenticated`), and roles that may read the table itself,
but only some of its rows. Views under views are followed. Materialized views are copies of the rows, and not judged.

References: PostgreSQL manual, CREATE VIEW (security_invoker); Supabase splinter, 0010 "Security definer view".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Masks, mask
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.definers import DefinerViews, Record
from kit.analyze.exposure import PUBLIC, Exposure
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema
from kit.checks.permissions._many import by_schema, listed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "column_grants", "relation_uses")
SEVERITIES: tuple[Severity, ...] = ("warning",)

_INVOKER_SINCE = 150_000
_DATA = mask(DATA_PRIVILEGES)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per view, or per schema with many, that shows rows which policies hide."""
    exposure = Exposure(frames)
    yield from exposure.not_examined()
    relations = frames["relations"]
    yield Examined(int(((relations["kind"] == "view") & in_user_schema(relations["schema_name"])).sum()))
    views = DefinerViews(frames, exposure)
    candidates = list(views)
    held = {role: exposure.relation_privileges(role) for role in _roles(frames, exposure)} if candidates else {}
    version = frames.identity.server_version if frames.identity else 0
    found = []
    for place, view, tables in candidates:
        readers = [role for role, bits in held.items() if bits[place] & _DATA and _is_bound(role, bits, tables, views, exposure)]
        if readers:
            found.append(_finding(place, view, tables, readers, version))
    yield from by_schema(found, "views")


def _roles(frames: Frames, exposure: Exposure) -> list[str]:
    """Return the exposed roles and all others that somebody made, PUBLIC first."""
    names: pd.Series = frames["roles"]["role_name"]
    own = names[~names.str.startswith("pg_").astype(bool)]
    return list(dict.fromkeys((*exposure.roles, *own)))


def _is_bound(role: str, bits: Masks, tables: list[Record], views: DefinerViews, exposure: Exposure) -> bool:
    """Return whether the view shows the role more of a table than its policies do."""
    for table in tables:
        is_exempt = exposure.is_exempt(role, table["owner_name"], is_forced=bool(table["forces_row_security"]))
        if not is_exempt and (role in exposure.roles or bits[views.place(table)] & mask(("SELECT",))):
            return True
    return False


def _finding(place: int, view: Record, tables: list[Record], readers: list[str], version: int) -> Finding:
    subject = Subject(kind="view", name=view["relation_name"], schema=view["schema_name"])
    shown = listed([Subject("table", table["relation_name"], table["schema_name"]).qualified for table in tables])
    who = listed(["every role" if role == PUBLIC else f'"{role}"' for role in readers])
    owner = quoted(view["owner_name"])
    words = (
        f"Give the view to an owner whom the policies bind: alter view {subject.qualified} owner to such a role, with SELECT on "
        f"{shown}. Or write the condition of the policies into the view. (security_invoker needs PostgreSQL 15.)"
    )
    return Finding(
        severity="warning",
        subject=subject,
        message=f"view {subject.qualified} reads {shown} as {owner}, whom row security does not bind, and {who} may query it",
        remedy=f"alter view {subject.qualified} set (security_invoker = true)" if version >= _INVOKER_SINCE else words,
        evidence=("relations", (place,)),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset({view["relation_name"], *(table["relation_name"] for table in tables)}),
    )
