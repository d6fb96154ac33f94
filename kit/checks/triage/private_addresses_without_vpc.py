"""Databases on a private address, and a service that is not in their network.

What it shows: services whose instance has no public address, or whose connection string names a private one, and whose
template has neither a VPC connector nor a network interface.

Why it matters: Cloud Run is outside of every VPC unless told otherwise. The packets go nowhere, and the client waits for
its timeout: it reads like a slow database.

What to do: give the service a network interface (direct VPC egress) or a connector in the instance's network.

Known limits: that the connector's network is the instance's, and its firewall, is not seen. A connection string in a secret
is not seen either; then the attached instance decides.

References: https://cloud.google.com/sql/docs/postgres/connect-run#private-ip and
https://cloud.google.com/run/docs/configuring/vpc-direct-vpc
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kit.analyze.cloud.connections import connections, is_private
from kit.analyze.cloud.scope import Row, gcloud, in_force, name_of, owners_in_force, place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import rows
from kit.checks.triage._network import is_database, is_in_a_vpc
from kit.evidence.model import Frames

LAYER = "reachability"
NEEDS = ("runtime_settings", "environment", "instance_references")
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006")
SOURCE = "cloud"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each service that a private address keeps from its database."""
    private = {row["connection_name"]: row for _, row in rows_of(frames, "sql_instances") if row["has_public_address"] is False}
    for service in owners_in_force(frames):
        yield Examined(1)
        if not is_in_a_vpc(frames, service):
            yield from _judge(frames, service, private)


def _judge(frames: Frames, service: str | None, private: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    attached = [(at, row) for at, row in in_force(frames, "instance_references") if row["service_name"] == service]
    for at, row in attached:
        if instance := private.get(row["instance_name"].strip()):
            words = f"the instance {row['instance_name']!r} has no public address"
            yield _finding("instance_references", (at, row), words, f"{place(instance, 'settings/ipConfiguration/ipv4Enabled')}")
            return
    for found in connections(frames):
        if found.row["service_name"] == service and is_database(found) and is_private(found.host):
            words = f"{found.variable} leads to the private address {found.host}"
            yield _finding("environment", (found.position, found.row), words, place(found.row))


def _finding(evidence: str, found: Row, words: str, where: str) -> Finding:
    position, row = found
    command = gcloud("run", "services", "update", name_of(row), "--network=NETWORK", "--subnet=SUBNET")
    return Finding(
        severity="critical",
        subject=Subject("service", name_of(row)),
        message=f"Service {name_of(row)} is in no VPC (neither connector nor network interface), and {words}. {where}",
        remedy=f"{command}\nName the network of the instance.",
        evidence=rows([position], evidence),
    )
