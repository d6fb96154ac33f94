"""Names of Cloud SQL instances that are not the instance's name.

What it shows: the annotation or volume of a service's template, and the environment variables that can be read, whose
instance name is not, byte by byte, the connection name of the instance: a carriage return or a space at its end, the zone
in the place of the region, a missing part, another region, or a name too long for a socket's path. As information, a
service with two instances attached.

Why it matters: Cloud Run makes the socket /cloudsql/NAME from the name as it stands. With one byte too many the client
fails with "No such file or directory" or "is not reachable", and the byte is not seen in any console: in a log it looks like
an artefact of the display.

What to do: set the name anew, typed and not pasted, and deploy. Look where it came from: a file with Windows line ends, a
secret with a line end, a variable of the build.

Known limits: a connection string that stands in a secret cannot be seen here; give it to `kit dsn`. A name of which no
instance was exported is reported as not examined. Judged is what is deployed now, not former revisions.

References: https://cloud.google.com/sql/docs/postgres/connect-run and
https://cloud.google.com/sql/docs/postgres/instance-settings
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.connections import connections
from kit.analyze.cloud.names import NameFault, is_known, name_fault
from kit.analyze.cloud.scope import gcloud, in_force, name_of, place, refused, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("instance_references", "environment")
SEVERITIES = ("critical", "info")
EXPLAINS = ("08001", "08006")
SOURCE = "cloud"

Record = Mapping[str, Any]
Named = tuple[str, int, Record, str, list[str], str]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each name that no instance has."""
    known = {row["connection_name"] for _, row in rows_of(frames, "sql_instances") if row["connection_name"]}
    for named in (*_attached(frames), *_in_variables(frames)):
        yield from _judge(frames, named, known)
    yield from _several(frames)


def _attached(frames: Frames) -> Iterator[Named]:
    for position, row in in_force(frames, "instance_references"):
        yield "instance_references", position, row, row["instance_name"], row["value_flags"], row["place"]


def _in_variables(frames: Frames) -> Iterator[Named]:
    for found in connections(frames):
        if found.instance is not None:
            flags = found.row["value_flags"]
            yield "environment", found.position, found.row, found.instance, flags, f"variable {found.variable}"


def _judge(frames: Frames, named: Named, known: Collection[str]) -> Iterator[Judgement]:
    _, _, row, name, flags, where = named
    fault = name_fault(name, flags, known)
    missing = refused(frames, "sql instances describe", name.rpartition(":")[2].strip())
    if fault is None and missing is not None and missing[1]["code"] == "NOT_FOUND":
        fault = NameFault(f"names an instance that is not there {place(missing[1])}", None)
    if fault is not None:
        yield Examined(1)
        yield _finding(named, fault)
    elif is_known(name, known):
        yield Examined(1)
    else:
        why = f": {missing[1]['code']}" if missing else ""
        yield NotExamined(f"{name_of(row)} {where}", f"no export of the instance {name!r} is in the folder{why}")


def _finding(named: Named, fault: NameFault) -> Finding:
    evidence, position, row, name, _, where = named
    return Finding(
        severity="critical",
        subject=Subject("setting", f"{name_of(row)} {where}"),
        message=f"The {where} of service {name_of(row)} names the instance {name!r}, which {fault.words}. {place(row)}",
        remedy=_remedy(row, where, fault),
        evidence=rows([position], evidence),
    )


def _remedy(row: Record, where: str, fault: NameFault) -> str:
    correct = fault.correct or "PROJECT:REGION:INSTANCE"
    if where.startswith("variable"):
        return f"Set {row['variable_name']} anew so that it names {correct}, typed and not pasted; then deploy."
    return gcloud("run", "services", "update", name_of(row), f"--set-cloudsql-instances={correct}")


def _several(frames: Frames) -> Iterator[Finding]:
    found: dict[str, list[tuple[int, str]]] = {}
    for position, row in in_force(frames, "instance_references"):
        if row["place"] != "annotation of the service":
            found.setdefault(name_of(row), []).append((position, row["instance_name"]))
    for service, named in found.items():
        names = list(dict.fromkeys(name for _, name in named))
        if len(names) > 1:
            yield Finding(
                severity="info",
                subject=Subject("service", service),
                message=f"Service {service} has {len(names)} instances attached: {', '.join(map(repr, names))}.",
                remedy="Compare the connection string with them: it decides which one the service uses.",
                evidence=rows([position for position, _ in named], "instance_references"),
                value=float(len(names)),
                unit="instances",
            )
