"""Sockets that a service wants and Cloud Run does not mount.

What it shows: variables that lead to /cloudsql/NAME while the service's template attaches no instance, or none of exactly
that name; and an annotation that stands on the service, where it has no effect.

Why it matters: the folder /cloudsql/NAME is made only for what the template attaches. Without it every connection fails with
"No such file or directory", whatever the instance, the role and the password are.

What to do: attach the instance with `gcloud run services update --add-cloudsql-instances`, under exactly the name that the
connection string holds.

Known limits: a connection string in a secret is not seen; a service that has one, attaches nothing and has no way into a
VPC is reported as not examined, and so is one whose second container may be a proxy that makes the socket.

References: https://cloud.google.com/sql/docs/postgres/connect-run
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kit.analyze.cloud.connections import DATABASE_NAME, Connection, connections
from kit.analyze.cloud.scope import Row, gcloud, in_force, name_of, owners_in_force, place
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.checks.triage._network import is_in_a_vpc
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("instance_references", "environment")
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006")
SOURCE = "cloud"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each socket that is not mounted, and for each annotation without effect."""
    references = in_force(frames, "instance_references")
    wanted = list(connections(frames))
    for service in owners_in_force(frames):
        attached = [row for row in references if row[1]["service_name"] == service]
        yield from _judge(frames, str(service), attached, [c for c in wanted if c.row["service_name"] == service])


def _judge(frames: Frames, service: str, references: list[Row], wanted: list[Connection]) -> Iterator[Judgement]:
    mounted = {row["instance_name"] for _, row in references if row["place"] != "annotation of the service"}
    sockets = [found for found in wanted if found.is_socket]
    if not mounted and not sockets and (hidden := _hidden(frames, service)):
        yield NotExamined(service, f"{hidden} is in a secret, and nothing is attached: cannot tell from this file what it wants")
        return
    unmounted = [found for found in sockets if found.instance not in mounted]
    if unmounted and _has_sidecar(frames, service):
        yield NotExamined(service, "it has several containers: one of them may be a proxy that makes the socket")
        return
    yield Examined(1)
    yield from (_unmounted(found, mounted) for found in unmounted)
    if not mounted:
        yield from (_without_effect(at, row) for at, row in references)


def _has_sidecar(frames: Frames, service: str) -> bool:
    own = (row for _, row in in_force(frames, "runtime_settings") if row["service_name"] == service)
    return any(row["setting"] == "containers" and row["value"] not in (None, "0", "1") for row in own)


def _hidden(frames: Frames, service: str) -> str | None:
    """Return the variable that may hold a connection string which is not seen; None where the network leads elsewhere too."""
    if is_in_a_vpc(frames, service):
        return None
    secret = [r for _, r in in_force(frames, "environment") if r["service_name"] == service and r["value_kind"] == "secret"]
    return next((str(row["variable_name"]) for row in secret if DATABASE_NAME.search(row["variable_name"])), None)


def _unmounted(found: Connection, mounted: set[str]) -> Finding:
    service = name_of(found.row)
    attached = f"attached is {', '.join(map(repr, sorted(mounted)))}" if mounted else "nothing is attached"
    return Finding(
        severity="critical",
        subject=Subject("setting", f"{service} {found.variable}"),
        message=f"{found.variable} of service {service} leads to the socket of {found.instance!r}; {attached}. "
        f"{place(found.row)}",
        remedy="The names must agree byte by byte:\n" + _attach(service, (found.instance or "").strip()),
        evidence=rows([found.position], "environment"),
    )


def _without_effect(position: int, row: Mapping[str, str]) -> Finding:
    return Finding(
        severity="critical",
        subject=Subject("setting", f"{name_of(row)} annotation"),
        message=f"The annotation that attaches {row['instance_name']!r} stands on the service {name_of(row)}, and not on its "
        f"template: it has no effect. {place(row)}",
        remedy=_attach(name_of(row), row["instance_name"].strip()),
        evidence=rows([position], "instance_references"),
    )


def _attach(service: str, instance: str) -> str:
    return gcloud("run", "services", "update", service, f"--add-cloudsql-instances={instance}")
