"""Views that bypass row security.

What it shows: views that read tables with row security as an owner whom it does not bind (the tables' owner, a superuser,
a role with BYPASSRLS), and that an exposed role, or one bound by those policies, may query.

Why it matters: a view reads as its owner. The policies of the table are asked about the owner, find nothing to hide, and
whoever may query the view sees all rows that it selects.

What to do: from PostgreSQL 15 on let the view read as whoever asks (`security_invoker`). They then need their own grants on
what is behind it: the remedy gives these first to whoever uses the view today. Where the policies would leave a reader
nothing, no grant helps, and the remedy is in words. Before 15, give the view to an owner whom the policies bind.

Known limits: a warning, because a view may be meant as a window: with a WHERE of its own it can be as strict as a policy.
Counted are exposed roles (kit.toml, else PUBLIC, `anon` and `authenticated`), and roles that may read the table itself,
but only some of its rows. Views under views are followed. Materialized views are copies of the rows: see
exposed_tables_without_row_security. Who uses a view through PUBLIC is taken from the exposed roles and the login roles.
Schemas of a provider of hosted databases are left out.

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
from kit.analyze.service_roles import in_own_schema
from kit.analyze.users import EXPLAINER_NEEDS, Invoking, Users
from kit.checks.permissions._many import by_schema, listed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "column_grants", "relation_uses")
SEVERITIES: tuple[Severity, ...] = ("warning",)

_INVOKER_SINCE = 150_000
_REMEDY_NEEDS = (*EXPLAINER_NEEDS, "default_privileges")
# More than so many want a look at how they came about, not a statement each.
_VIEWS_ASKED = 60
_DATA = mask(DATA_PRIVILEGES)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per view, or per schema with many, that shows rows which policies hide."""
    exposure = Exposure(frames)
    yield from exposure.not_examined()
    relations = frames["relations"]
    is_own = in_own_schema(frames, relations["schema_name"])
    yield Examined(int(((relations["kind"] == "view") & is_own).sum()))
    views = DefinerViews(frames, exposure)
    candidates = [found for found in views if is_own.iloc[found[0]]]
    held = {role: exposure.relation_privileges(role) for role in _roles(frames, exposure)} if candidates else {}
    found = []
    for place, view, tables in candidates:
        readers = [role for role, bits in held.items() if bits[place] & _DATA and _is_bound(role, bits, tables, views, exposure)]
        if readers:
            found.append((place, view, tables, readers))
    invoking = _invoking(frames, exposure) if 0 < len(found) <= _VIEWS_ASKED else None
    yield from by_schema((_finding(*one, invoking) for one in found), "views")


def _invoking(frames: Frames, exposure: Exposure) -> Invoking | None:
    """Return what tells the grants that readers would need; None where it cannot be told, or there is no such option."""
    version = frames.identity.server_version if frames.identity else 0
    if version < _INVOKER_SINCE or any(name not in frames for name in _REMEDY_NEEDS):
        return None
    return Invoking(frames, Users(frames, exposure), exposure.access)


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


def _finding(place: int, view: Record, tables: list[Record], readers: list[str], invoking: Invoking | None) -> Finding:
    subject = Subject(kind="view", name=view["relation_name"], schema=view["schema_name"])
    shown = listed([Subject("table", table["relation_name"], table["schema_name"]).qualified for table in tables])
    who = listed(["every role" if role == PUBLIC else f'"{role}"' for role in readers])
    grants = invoking.grants(view["relation_oid"], place) if invoking else None
    return Finding(
        severity="warning",
        subject=subject,
        message=f"view {subject.qualified} reads {shown} as {quoted(view['owner_name'])}, whom row security does not bind, "
        f"and {who} may query it",
        remedy=_words(subject, shown) if grants is None else _statements(subject, grants),
        evidence=("relations", (place,)),
        value=float(len(tables)),
        unit="tables",
        relations=frozenset({view["relation_name"], *(table["relation_name"] for table in tables)}),
    )


def _statements(view: Subject, grants: list[str]) -> str:
    return ";\n".join((*grants, f"alter view {view.qualified} set (security_invoker = true)"))


def _words(view: Subject, shown: str) -> str:
    return (
        f"Decide which rows of {shown} each reader is to see. Write policies that give them these rows, grant the readers what "
        f"{view.qualified} reads, and only then let it read as whoever asks (security_invoker, from PostgreSQL 15 on) or give "
        f"it to an owner whom the policies bind. Or write the condition of the policies into the view. Done in another "
        "order, the readers lose what they see today."
    )
