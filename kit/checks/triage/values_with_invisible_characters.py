"""Environment variables whose value holds what cannot be seen.

What it shows: literal values that begin or end with a line end, a space, a byte order mark or the like, hold a carriage
return, or are wrapped in quotes. Critical where the value says where the database is; else a warning. Names of instances
are in `misnamed_instances`.

Why it matters: a host, a database or a user with one more character is another one, and no console shows it.

What to do: set the variable anew, typed and not pasted; write files of variables with Unix line ends.

Known limits: values in secrets are not seen; give them to `kit dsn --stdin`.

References: https://cloud.google.com/run/docs/configuring/services/environment-variables
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.connections import DATABASE_NAME, connections
from kit.analyze.cloud.scope import in_force, name_of, place
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("environment",)
SEVERITIES = ("critical", "warning")
EXPLAINS = ("08001", "08006", "28P01", "28000", "3D000")
SOURCE = "cloud"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each literal value with invisible characters or quotes around it."""
    of_instances = {found.position for found in connections(frames) if found.instance is not None}
    for position, row in in_force(frames, "environment"):
        if row["value_kind"] != "literal" or position in of_instances:
            continue
        yield Examined(1)
        if row["value_flags"]:
            leads_there = row["value_shape"] == "connection string" or DATABASE_NAME.search(row["variable_name"])
            yield Finding(
                severity="critical" if leads_there else "warning",
                subject=Subject("setting", f"{name_of(row)} {row['variable_name']}"),
                message=f"The value of {row['variable_name']} of service {name_of(row)} holds what cannot be seen: "
                f"{', '.join(row['value_flags'])}. {place(row, 'value')}",
                remedy=f"Set {row['variable_name']} anew, typed and not pasted; then deploy.",
                evidence=rows([position], "environment"),
            )
