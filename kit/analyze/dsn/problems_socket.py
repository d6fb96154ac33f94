"""What is wrong with a Unix socket's path: Cloud SQL's names above all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.analyze.dsn.characters import visible
from kit.analyze.dsn.findings import DsnFinding, Subject
from kit.analyze.dsn.instances import (
    SOCKET_FILE,
    SOCKET_PATH_BYTES,
    connection_name,
    instance_of,
    socket_path_bytes,
    without_socket_file,
)
from kit.analyze.findings import Severity

_SHAPE = "/cloudsql/PROJECT:REGION:INSTANCE"


def socket_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield what keeps the socket from being found."""
    yield from _misplaced(subject)
    if socket := subject.reading.socket:
        yield from _file_name(subject, socket)
        yield from _length(socket)
        yield from _name(subject, socket)
        yield from _reader(subject)


def _found(check: str, message: str, remedy: str, severity: Severity = "critical") -> DsnFinding:
    return DsnFinding(check, "configuration", severity, message, remedy)


def _misplaced(subject: Subject) -> Iterator[DsnFinding]:
    """A path in a URL's authority becomes the database's name, and the host stays empty."""
    reading = subject.reading
    if reading.database and re.match(r"/*cloudsql/", reading.database):
        message = "The socket's path stands where the database's name belongs: the host is empty, and libpq tries a local server."
        yield _found("misplaced_sockets", message, f"postgresql://USER@/DATABASE?host={_SHAPE}")
    for host in reading.hosts:
        if re.match(r"\.?cloudsql/", host) or (instance_of(host) and ":" in host):
            message = f"The host {visible(host)} is an instance's name and not a path: it is looked up as a host's name."
            yield _found("misplaced_sockets", message, f"host={_SHAPE}, with the slash before cloudsql.")


def _file_name(subject: Subject, socket: str) -> Iterator[DsnFinding]:
    is_file = without_socket_file(socket) != socket
    if subject.reading.has("unix_sock"):
        if not is_file:
            message = "pg8000's unix_sock is the socket file itself, and here it is the folder."
            yield _found("socket_file_names", message, f"Add {SOCKET_FILE} to it.")
    elif is_file:
        message = "The host names the socket file; a driver adds /.s.PGSQL.PORT itself and looks for a file in a file."
        yield _found("socket_file_names", message, "Give the folder only.")


def _length(socket: str) -> Iterator[DsnFinding]:
    size = socket_path_bytes(socket)
    if size > SOCKET_PATH_BYTES:
        message = f"The socket's path has {size} bytes with {SOCKET_FILE}; a Unix socket's path holds {SOCKET_PATH_BYTES}."
        yield _found("long_socket_paths", message, "Mount the socket under a shorter folder, or connect by TCP or a connector.")


def _name(subject: Subject, socket: str) -> Iterator[DsnFinding]:
    name = connection_name(socket)
    if name is None:
        return
    instance = instance_of(name)
    if instance is None:
        yield _found("cloudsql_paths", f"{visible(socket)} is not of the form {_SHAPE}.", _shown_by_gcloud(None))
        return
    if region := instance.region_of_zone:
        message = f"{instance.region} is a zone; an instance's connection name holds the region, {region}."
        yield _found("zones_for_regions", message, f"/cloudsql/{instance.project}:{region}:{instance.name}")
    elif not instance.has_region:
        message = f"{visible(instance.region)} has not the form of a region, such as us-central1."
        yield _found("cloudsql_paths", message, _shown_by_gcloud(instance.name))
    yield from _expected(subject, name)


def _shown_by_gcloud(name: str | None) -> str:
    return f"See `gcloud sql instances describe {name or 'INSTANCE'} --format='value(connectionName)'`."


def _expected(subject: Subject, name: str) -> Iterator[DsnFinding]:
    wanted, given = instance_of(subject.instance or ""), instance_of(name)
    if not wanted or not given or wanted == given:
        return
    if given.region_of_zone == wanted.region and (given.project, given.name) == (wanted.project, wanted.name):
        return  # the same instance by another name, which `zones_for_regions` says
    pairs = {"project": (given.project, wanted.project), "region": (given.region, wanted.region)}
    pairs["instance"] = (given.name, wanted.name)
    told = "; ".join(f"{part} {have} instead of {want}" for part, (have, want) in pairs.items() if have != want)
    yield _found("other_instances", f"The string leads to another instance than expected: {told}.", f"host=/cloudsql/{wanted}")


def _reader(subject: Subject) -> Iterator[DsnFinding]:
    reading, consumer = subject.reading, subject.consumer
    if not consumer.takes_sockets and not reading.has("cloudSqlInstance") and not reading.has("socketFactory"):
        message = f"{consumer.title[0].upper()}{consumer.title[1:]} opens no Unix socket by itself."
        yield _found("unsupported_sockets", message, "Use Cloud SQL's socket factory: socketFactory= and cloudSqlInstance=.")
    if subject.reader == "prisma" and not reading.authority_hosts:
        message = "Prisma refuses a URL with an empty host, though host= names the socket (“empty host in database URL”)."
        yield _found("empty_hosts", message, "Write localhost before the path; it is not used.")
    if subject.reader == "asyncpg" and reading.authority_hosts and not reading.authority_hosts[0].startswith("/"):
        message = "asyncpg takes the host before the path and ignores host= in the query: it does not use the socket."
        yield _found("contradictory_parts", message, "Leave the host before the path empty.")
    if reading.is_host_encoded and not consumer.decodes_host:
        message = f"{consumer.title} does not decode a percent-encoded host: it looks for a host by that very name."
        yield _found("encoded_hosts", message, "Give the path as ?host=… instead.")
