"""What libpq makes of a connection string: service file, environment, password file and defaults put in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import make_conninfo

from kit.collect.attempt.records import StepFailed

Options = Mapping[str, str]
# libpq checks this option last, when everything else is known, and before it speaks to anybody.
_STOP = "incident-kit"
_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")
_DEFAULT_PORT = 5432
# Where the service runs, a missing socket says something about it; elsewhere it says nothing.
RUNTIMES = {
    "K_SERVICE": "Cloud Run",
    "CLOUD_RUN_JOB": "Cloud Run job",
    "GAE_ENV": "App Engine",
    "FUNCTION_TARGET": "Cloud Functions",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "ECS_CONTAINER_METADATA_URI_V4": "ECS",
}
ORDINARY_VANTAGE = "an ordinary machine: none of the known services' runtimes"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that libpq would try: a socket's folder, or a name (or address) and port."""

    host: str
    address: str | None
    port: int

    @property
    def is_socket(self) -> bool:
        """Return whether it is a Unix socket: a path, or an abstract name after @."""
        return self.address is None and self.host[:1] in ("/", "@")

    @property
    def shown(self) -> str:
        """Return the endpoint for people."""
        return f"{self.host or self.address}:{self.port}"

    @property
    def socket_path(self) -> str:
        """Return the path of the socket file."""
        return f"{self.host}/.s.PGSQL.{self.port}"


def effective(conninfo: str) -> Options:
    """Return every option in force, the password among them: never to be shown. StepFailed where libpq refuses one."""
    connection = pq.PGconn.connect_start(make_conninfo(conninfo, load_balance_hosts=_STOP).encode())
    try:
        words = connection.error_message.decode("utf-8", "replace").strip()
        found = {option.keyword.decode(): option.val.decode("utf-8", "replace") for option in connection.info if option.val}
        default_host = connection.host.decode("utf-8", "replace")
    finally:
        connection.finish()
    if "load_balance_hosts" not in words:
        raise StepFailed("OPTION", words or "libpq refuses an option")
    return {"host": default_host, **found}


def endpoints(options: Options) -> list[Endpoint]:
    """Return the places that libpq would try, in its order; StepFailed where a port is none."""
    hosts, addresses = _parts(options.get("host", "")), _parts(options.get("hostaddr", ""))
    count = max(len(hosts), len(addresses))
    ports = _parts(options.get("port", ""))
    ports = ports * count if len(ports) == 1 else ports
    found = zip(_filled(hosts, count), _filled(addresses, count), _filled(ports, count), strict=True)
    return [_endpoint(host, address, port) for host, address, port in found]


def vantage() -> str:
    """Return where the kit runs, as far as the environment tells."""
    found = [name for variable, name in RUNTIMES.items() if os.environ.get(variable)]
    if not found and Path("/.dockerenv").exists():
        return "a container of an unknown service"
    return found[0] if found else ORDINARY_VANTAGE


def _parts(text: str) -> list[str]:
    return [part.strip() if part.strip().isdigit() else part for part in text.split(",")]


def _filled(parts: list[str], count: int) -> list[str]:
    return (parts + [""] * count)[:count]


def _endpoint(host: str, address: str, port: str) -> Endpoint:
    if not host and not address:
        host = next((folder for folder in _SOCKET_FOLDERS if Path(folder).is_dir()), _SOCKET_FOLDERS[-1])
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise StepFailed("OPTION", "the port is not a number from 1 to 65535")
    return Endpoint(host, address or None, int(port or _DEFAULT_PORT))
