"""CREATE for everybody on schemas.

What it shows: schemas in which PUBLIC, that is every role, may create objects.

Why it matters: whoever may create in a schema that is on another role's search_path can put a function or a table
before the one that was meant, and have it run with the other's rights (CVE-2018-1058). Tables that a migration
creates there by chance belong to the migrator and are closed to the service.

What to do: revoke CREATE from PUBLIC, and grant it to the role that runs migrations.

Known limits: an observation only. On PostgreSQL 13 and 14, and in clusters upgraded from them, this is the default of
schema public in every database.

References: PostgreSQL manual, 5.10.6 "Usage Patterns", and the release notes of 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.analyze.findings import Examined, Finding, Judgement, Layer, Severity, Subject, quoted
from kit.analyze.service_roles import in_user_schema, positions
from kit.evidence.model import Frames

LAYER: Layer = "privileges"
NEEDS = ("schema_grants",)
SEVERITIES: tuple[Severity, ...] = ("info",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterator[Judgement]:
    """Yield a finding per schema in which every role may create."""
    grants = frames["schema_grants"]
    grants = grants[in_user_schema(grants["schema_name"])]
    yield Examined(grants["schema_name"].nunique())
    may_create = grants["privileges"].map(lambda privileges: "CREATE" in privileges).astype(bool)
    for schema, rows in grants[grants["grantee_name"].isna() & may_create].groupby("schema_name"):
        name = str(schema)
        yield Finding(
            severity="info",
            subject=Subject(kind="schema", name=name),
            message=f"every role may create objects in schema {quoted(name)}",
            remedy=f"revoke create on schema {quoted(name)} from public",
            evidence=("schema_grants", positions(rows)),
        )
