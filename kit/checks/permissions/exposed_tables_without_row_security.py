"""Exposed tables without row security.

What it shows: tables that an exposed role may read or change, as a whole or a column of them, while row security is off.

Why it matters: whoever sends requests as that role reaches every row of the table. Where an interface such as PostgREST
gives such a role to strangers, the table is on the internet: with SELECT it leaks, with more it can be emptied.

What to do: decide. If the role is meant to see some of the rows, write policies and then enable row security (without a
policy everything is hidden). If it is meant to see none, revoke what it holds.

Known limits: exposed roles are those that kit.toml names (`exposed = ["public", "web"]`), else `anon` and
`authenticated` where they exist. Critical where the role may write, for nobody means that; a warning where it may only
read, which is right for a list of countries. What PUBLIC holds is told by public_grants, and counts here for the other
exposed roles, who hold it too. Roles that bypass row security, and what a role reaches by SET ROLE, are left out.

References: PostgreSQL manual, 5.9 "Row Security Policies"; Supabase splinter, 0013 "RLS disabled in public".
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
    subject = Subject(kind="table", name=row["relation_name"], schema=row["schema_name"])
    is_writable = any(privileges != ("SELECT",) for privileges in may.values())
    told = "; ".join(f'"{role}" may {", ".join(privileges)}' for role, privileges in may.items())
    return Finding(
        severity="critical" if is_writable else "warning",
        subject=subject,
        message=f"table {subject.qualified} is exposed and its row security is off: {told}",
        remedy="If they are meant to use some of the rows, write a policy for each, and then: "
        f"alter table {subject.qualified} enable row level security. If not: "
        f"revoke all on {subject.qualified} from {', '.join(['public', *map(quoted, may)])}",
        evidence=("relations", (int(row["position"]),)),
        value=float(len(may)),
        unit="roles",
        relations=frozenset({row["relation_name"]}),
    )
