"""Settings of an instance that refuse what a service does.

What it shows: instances that take connections only through a connector, or only with TLS or a client certificate, while a
service's connection string goes to their address without it; and, as a warning, the flag default_transaction_read_only.

Why it matters: the server is up, the address answers, and the session is refused with words about pg_hba, or every write
with "cannot execute … in a read-only transaction". It reads like a wrong password or a broken deploy.

What to do: connect through the socket or a connector, or with sslmode=require; change the instance only if its setting is
the mistake.

Known limits: a connection string in a secret is not seen, nor is a host that has to be looked up. Flags of performance are
judged from the database itself.

References: https://cloud.google.com/sql/docs/postgres/configure-ssl-instance and
https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances and https://cloud.google.com/sql/docs/postgres/flags
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.connections import Connection, connections
from kit.analyze.cloud.scope import gcloud, name_of, place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = ("sql_instances", "sql_flags", "environment")
SEVERITIES = ("critical", "warning")
EXPLAINS = ("28000", "08001", "08006", "08004", "25006")
SOURCE = "cloud"

Record = Mapping[str, Any]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each string that an instance's settings refuse, and a warning for a read-only instance."""
    direct = [found for found in connections(frames) if found.reading and found.reading.is_postgres and not found.instance]
    for _, instance in rows_of(frames, "sql_instances"):
        yield Examined(1)
        addresses = {instance["public_address"], instance["private_address"]} - {None}
        yield from (finding for found in direct if found.host in addresses for finding in _refused(found, instance))
    for position, flag in rows_of(frames, "sql_flags"):
        if flag["flag_name"] == "default_transaction_read_only" and flag["value"] == "on":
            yield _read_only(position, flag)


def _refused(found: Connection, instance: Record) -> Iterator[Finding]:
    reading = found.reading
    if reading is None:
        return
    ssl = "settings/ipConfiguration/sslMode"
    if instance["connector_enforcement"] == "REQUIRED":
        words = "takes connections only through a connector or the socket"
        yield _finding(found, "connector", words, place(instance, "settings/connectorEnforcement"), _through_the_socket(instance))
    elif instance["ssl_mode"] == "TRUSTED_CLIENT_CERTIFICATE_REQUIRED" and not reading.has("sslcert"):
        words = "wants a client's certificate, which the string does not name"
        yield _finding(found, "certificate", words, place(instance, ssl), _through_the_socket(instance))
    elif instance["ssl_mode"] == "ENCRYPTED_ONLY" and reading.value("sslmode", "ssl") in ("disable", "false"):
        words = "takes only encrypted connections, and the string turns TLS off"
        yield _finding(found, "encryption", words, place(instance, ssl), "Write sslmode=require; then deploy.")


def _through_the_socket(instance: Record) -> str:
    return f"Connect through /cloudsql/{instance['connection_name']}, attached to the service, or through a connector."


def _finding(found: Connection, what: str, words: str, where: str, remedy: str) -> Finding:
    service = name_of(found.row)
    return Finding(
        severity="critical",
        subject=Subject("setting", f"{service} {found.variable} {what}"),
        message=f"{found.variable} of service {service} goes straight to {found.host}, whose instance {words}. "
        f"{place(found.row, 'value')} {where}",
        remedy=remedy,
        evidence=rows([found.position], "environment"),
    )


def _read_only(position: int, flag: Record) -> Finding:
    instance = str(flag["connection_name"]).rpartition(":")[2]
    describe = gcloud("sql", "instances", "describe", instance, "--format=json(settings.databaseFlags)")
    return Finding(
        severity="warning",
        subject=Subject("setting", f"{flag['connection_name']} {flag['flag_name']}"),
        message=f"Every session on {flag['connection_name']} is read-only by default. {place(flag, 'value')}",
        remedy=f"Find out why it was set, for a migration or a freeze; what is set now:\n{describe}",
        evidence=rows([position], "sql_flags"),
    )
