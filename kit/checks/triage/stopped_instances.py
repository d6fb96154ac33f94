"""Instances that cannot answer.

What it shows: Cloud SQL instances that are stopped (activation policy NEVER), suspended, under maintenance, failed, or shut
down because their disk is full; as information those that no service in the folder uses, where one is used.

Why it matters: `state` says RUNNABLE of a stopped instance too. What decides is `settings.activationPolicy`; and a full disk
stops an instance that everything else calls healthy.

What to do: start the instance, pay what is owed, or give it a larger disk.

Known limits: the export is as old as its file. That an instance runs does not say that it is reached.

References: https://cloud.google.com/sql/docs/postgres/start-stop-restart-instance and
https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kit.analyze.cloud.connections import connections
from kit.analyze.cloud.scope import gcloud, in_force, place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.instances import bare_name
from kit.evidence.model import Frames

LAYER = "reachability"
NEEDS = ("sql_instances", "instance_references")
SEVERITIES = ("critical", "warning", "info")
EXPLAINS = ("08001", "08006", "57P03", "53100")
SOURCE = "cloud"

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each instance that cannot answer; a warning where its disk is about to be full."""
    instances = rows_of(frames, "sql_instances")
    used = _used(frames)
    if not instances and rows_of(frames, "instance_references"):
        yield NotExamined("instances", "no instance was exported")
    for position, row in instances:
        if row["state"] is None or row["activation_policy"] is None:
            yield NotExamined(row["connection_name"] or "unnamed instance", "the export does not say whether it is started")
            continue
        yield Examined(1, f"{row['connection_name']} is {row['state']}, activation policy {row['activation_policy']}")
        found = _judge(position, row)
        # A list of a project's instances holds others' too: stopped or not, these keep nobody here from the database.
        is_used = not used or row["connection_name"] in used
        yield from found if is_used else (replace(finding, severity="info") for finding in found)


def _used(frames: Frames) -> set[str]:
    """Return the exported instances that a service names or whose address it goes to; none where no name or address fits."""
    names = {bare_name(row["instance_name"]) for _, row in in_force(frames, "instance_references")}
    hosts: set[str | None] = set()
    for found in connections(frames):
        names.add(bare_name(found.instance or ""))
        hosts.add(found.host)
    instances = [row for _, row in rows_of(frames, "sql_instances")]
    addresses = ({row["public_address"], row["private_address"]} - {None} for row in instances)
    fitting = (row["connection_name"] in names or bool(own & hosts) for row, own in zip(instances, addresses, strict=True))
    return {row["connection_name"] for row, fits in zip(instances, fitting, strict=True) if fits}


def _judge(position: int, row: Record) -> Iterator[Finding]:
    name = row["instance_name"] or "INSTANCE"
    start = gcloud("sql", "instances", "patch", name, "--activation-policy=ALWAYS")
    if row["activation_policy"] == "NEVER":
        yield _finding(position, row, f"is stopped, although its state reads {row['state']}", "settings/activationPolicy", start)
    elif row["suspension_reasons"]:
        reasons = ", ".join(row["suspension_reasons"])
        yield _finding(
            position, row, f"is suspended: {reasons}", "suspensionReason", "Settle what it names, with Google's support."
        )
    elif row["state"] != "RUNNABLE":
        yield _finding(position, row, f"is {row['state']}", "state", gcloud("sql", "operations", "list", f"--instance={name}"))
    if row["disk_state"] not in (None, "NORMAL", "SQL_OUT_OF_DISK_STATE_UNSPECIFIED"):
        grow = gcloud("sql", "instances", "patch", name, "--storage-auto-increase")
        yield _finding(position, row, f"is out of disk ({row['disk_state']})", "outOfDiskReport/sqlOutOfDiskState", grow)
    elif _cannot_grow(row):
        words = f"has reached the {row['disk_limit_gigabytes']} GB up to which its disk grows by itself"
        more = gcloud("sql", "instances", "patch", name, "--storage-auto-increase-limit=0")
        yield _finding(position, row, words, "settings/storageAutoResizeLimit", more, "warning")


def _cannot_grow(row: Record) -> bool:
    limit, size = row["disk_limit_gigabytes"] or 0, row["disk_gigabytes"] or 0
    return bool(row["grows_by_itself"]) and 0 < limit <= size


def _finding(position: int, row: Record, words: str, path: str, remedy: str, severity: Any = "critical") -> Finding:
    return Finding(
        severity=severity,
        subject=Subject("instance", row["connection_name"] or ""),
        message=f"Instance {row['connection_name']} {words}. {place(row, path)}",
        remedy=remedy,
        evidence=rows([position], "sql_instances"),
    )
