"""Policies without row security.

What it shows: tables that have policies while row security is not enabled on them.

Why it matters: policies are not looked at until row security is enabled. Whoever wrote them believes that rows are
protected, and every role with SELECT sees all of them.

What to do: enable row security, after making sure that the policies let through what each role needs: from that
moment on all other rows are hidden from everybody but the owner, superusers and roles with BYPASSRLS.

Known limits: policies written in advance, to be enabled later, look the same.

References: PostgreSQL manual, 5.9 "Row Security Policies", and ALTER TABLE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject
from kit.analyze.service_roles import positions
from kit.evidence.model import Frames

LAYER: Layer = "row security"
NEEDS = ("relations", "policies")
SEVERITIES: tuple[Severity, ...] = ("warning",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per table whose policies are not in force."""
    relations, policies = frames["relations"], frames["policies"]
    by_table = {str(oid): rows for oid, rows in policies.groupby("relation_oid")}
    tables = relations[relations["relation_oid"].isin(list(by_table))]
    yield Examined(len(tables))
    for row in tables[~tables["has_row_security"].astype(bool)].itertuples():
        subject = Subject(kind="table", name=row.relation_name, schema=row.schema_name)
        count = len(by_table[row.relation_oid])
        noun = "policy is" if count == 1 else "policies are"
        yield Finding(
            severity="warning",
            subject=subject,
            message=f"row security of table {subject.qualified} is not enabled, so its {count} {noun} not in force",
            remedy=f"alter table {subject.qualified} enable row level security",
            evidence=("policies", positions(by_table[row.relation_oid])),
            value=float(count),
            unit="policies",
            relations=frozenset({row.relation_name}),
        )
