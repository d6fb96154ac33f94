"""Exposed tables without row security.

What it shows: tables that an exposed role may read or change, as a whole or a column of them, while row security is off;
and materialized views and foreign tables that it may, for which there is no row security at all.

Why it matters: whoever sends requests as that role reaches every row of the table. Where an interface such as PostgREST
gives such a role to strangers, the table is on the internet: with SELECT it leaks, with more it can be emptied.

What to do: decide. If the role is meant to see some of the rows, write policies and then enable row security (without a
policy everything is hidden). If it is meant to see none, revoke what it holds. A materialized view keeps the rows that its
owner saw, whatever the policies of the tables that they come from say: show it through a view with a condition of its own.

Known limits: exposed roles are those that kit.toml names (`exposed = ["public", "web"]`), else `anon` and
`authenticated` where they exist. Critical where the role may write, for nobody means that; a warning where it may only
read, which is right for a list of countries. What PUBLIC holds is told by public_grants, and counts here for the other
exposed roles, who hold it too. Roles that bypass row security, what a role reaches by SET ROLE, and schemas of a provider
of hosted databases are left out. Whether a materialized view was made of protected rows is not looked at.

References: PostgreSQL manual, 5.9 "Row Security Policies"; Supabase splinter, 0013 "RLS disabled in public",
0016 "Materialized view in API" and 0017 "Foreign table in API".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from kit.analyze.access.privileges import DATA_PRIVILEGES, Masks, mask, names
from kit.analyze.access.privileges import NEEDS as ACCESS_NEEDS
from kit.analyze.exposure import PUBLIC, Exposure, user_tables
from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.checks.permissions._many import Row, by_schema, placed
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = (*ACCESS_NEEDS, "column_grants", "extensions")
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")

# PostgreSQL has no row security for these; how a finding names their kind.
_NEVER = {"materialized view": "view", "foreign table": "table"}
_COUNTED = mask((*DATA_PRIVILEGES, "TRUNCATE"))


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table, or per schema with many, that an exposed role reaches without row security."""
    exposure = Exposure(frames)
    yield from exposure.not_examined()
    tables = user_tables(frames)
    yield Examined(len(tables))
    plain = tables[~tables["has_row_security"].astype(bool)]
    held = {role: exposure.relation_privileges(role)[plain.index] & _COUNTED for role in exposure.roles if role != PUBLIC}
    yield from by_schema(_findings(plain, held, exposure), "tables")


def _findings(plain: pd.DataFrame, held: Mapping[str, Masks], exposure: Exposure) -> Iterator[Finding]:
    for place, row in enumerate(placed(plain)):
        reaching = {role: int(bits[place]) for role, bits in held.items() if bits[place]}
        # Row security would change nothing for the owner and for those who bypass it.
        may = {
            role: names(bits)
            for role, bits in reaching.items()
            if not exposure.is_exempt(role, row["owner_name"], is_forced=False)
        }
        if may:
            yield _finding(row, may)


def _finding(row: Row, may: Mapping[str, tuple[str, ...]]) -> Finding:
    kind = row["kind"] if row["kind"] in _NEVER else "table"
    subject = Subject(_NEVER.get(kind, kind), row["relation_name"], row["schema_name"])
    is_writable = kind != "materialized view" and any(privileges != ("SELECT",) for privileges in may.values())
    told = "; ".join(f'"{role}" may {", ".join(privileges)}' for role, privileges in may.items())
    defect = "row security cannot hold for it" if kind in _NEVER else "its row security is off"
    return Finding(
        severity="critical" if is_writable else "warning",
        subject=subject,
        message=f"{kind} {subject.qualified} is exposed and {defect}: {told}",
        remedy=_remedy(subject, list(may), can_be_secured=kind not in _NEVER),
        evidence=("relations", (int(row["position"]),)),
        value=float(len(may)),
        unit="roles",
        relations=frozenset({row["relation_name"]}),
    )


def _remedy(subject: Subject, roles: list[str], *, can_be_secured: bool) -> str:
    revoke = f"revoke all on {subject.qualified} from {', '.join(map(quoted, roles))} (from public too, if they hold it so)"
    if can_be_secured:
        return (
            "If they are meant to use some of the rows, write a policy for each, and then: "
            f"alter table {subject.qualified} enable row level security. If not: {revoke}"
        )
    return (
        "If they are meant to see all of it, leave it. If some of the rows, show these through a view with a condition of its "
        f"own, and then, or if none: {revoke}"
    )
