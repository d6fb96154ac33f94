"""Other things that a service needs on a private address, while it is in no network.

What it shows: variables that lead to something other than the database, such as a cache or a queue, on a private address,
in a service with neither a VPC connector nor a network interface.

Why it matters: the service hangs or times out, and the database is suspected because it is the dependency that everybody
knows. Nothing in the database shows it.

What to do: give the service a network interface (direct VPC egress) or a connector in that network.

Known limits: a name that resolves to a private address is not resolved; addresses in secrets are not seen.

References: https://cloud.google.com/run/docs/configuring/connecting-vpc
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.cloud.connections import Connection, connections, is_private
from kit.analyze.cloud.scope import gcloud, name_of, owners_in_force, place
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import rows
from kit.checks.triage._network import is_database, is_in_a_vpc
from kit.evidence.model import Frames

LAYER = "service"
NEEDS = ("runtime_settings", "environment")
SEVERITIES = ("critical",)
# What a service that waits for its cache looks like to those who wait for the service.
EXPLAINS = ("08001", "08006", "57014")
SOURCE = "cloud"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each private address that the service cannot reach."""
    outside = {service for service in owners_in_force(frames) if not is_in_a_vpc(frames, service)}
    for found in connections(frames):
        if is_database(found):
            continue
        yield Examined(1)
        if found.row["service_name"] in outside and is_private(found.host):
            yield _finding(found)


def _finding(found: Connection) -> Finding:
    service = name_of(found.row)
    command = gcloud("run", "services", "update", service, "--network=NETWORK", "--subnet=SUBNET")
    return Finding(
        severity="critical",
        subject=Subject("setting", found.variable, service),
        message=f"{found.variable} of service {service} leads to the private address {found.host}, and the service is in no VPC "
        f"(neither connector nor network interface): it cannot get there. {place(found.row)}",
        remedy=f"{command}\nName the network in which {found.host} is.",
        evidence=rows([found.position], "environment"),
    )
