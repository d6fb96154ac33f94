"""Where an environment variable leads: read from the masked value that evidence holds, byte by byte.

A connection string is read as `kit.analyze.dsn` reads it; `Connection.text` is what its examiner takes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from kit.analyze.cloud.scope import in_force
from kit.analyze.dsn.forms import read as read_string
from kit.analyze.dsn.instances import connection_name
from kit.analyze.dsn.reading import Reading
from kit.evidence.model import Frames

# Variables that by their name lead to the database, where their value does not say so.
DATABASE_NAME = re.compile(r"database|(?:^|_)(?:db|pg|postgres|sql|dsn)", re.IGNORECASE)
# MySQL's drivers name the socket so; a string of theirs is read to see that it is not for PostgreSQL.
_OTHER_SOCKET = re.compile(r"[?&](?:unix_socket|unixSocketPath|socket)=([^&]*)")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a value leads: scheme, user, host, and the Cloud SQL instance where it names one, byte by byte.

    `reading` is that of a connection string or a URL; None for a bare name, address or path.
    """

    row: dict[str, Any]
    position: int
    text: str
    scheme: str | None = None
    user: str | None = None
    host: str | None = None
    instance: str | None = None
    reading: Reading | None = None

    @property
    def variable(self) -> str:
        """Return the variable's name."""
        return str(self.row["variable_name"])

    @property
    def is_socket(self) -> bool:
        """Return whether it leads to a socket under /cloudsql, which Cloud Run must mount."""
        return self.instance is not None and "/cloudsql/" in self.text


def connections(frames: Frames) -> Iterator[Connection]:
    """Yield what the variables in force say about where the service connects."""
    for position, row in in_force(frames, "environment") if "environment" in frames else []:
        text, shape = row["shown_value"], row["value_shape"]
        if text is None:
            continue
        if shape in ("connection string", "url"):
            yield read(row, position, text)
        elif shape == "socket path":
            yield Connection(row, position, text, instance=_instance(text))
        elif shape == "instance name":
            yield Connection(row, position, text, instance=text)
        elif shape == "IAM user":
            yield Connection(row, position, text, user=text.strip())
        elif shape == "address":
            yield Connection(row, position, text, host=text.strip().partition(":")[0])


def read(row: dict[str, Any], position: int, text: str) -> Connection:
    """Return where a masked connection string leads; what cannot be read of it is None."""
    # What is invisible at the end belongs to the last part, as the service takes it; before the scheme nothing would be read.
    found = read_string(re.sub(r"\A[^\w/]+", "", text))
    sockets = [*found.hosts, found.socket, *map(unquote, _OTHER_SOCKET.findall(text))]
    instance = found.value("cloudSqlInstance") or next((name for path in sockets if (name := _instance(path))), None)
    return Connection(
        row, position, text, scheme=found.scheme or None, user=found.user, host=_host(found), instance=instance, reading=found
    )


def _host(found: Reading) -> str | None:
    return next((host for host in (*found.hosts, found.socket, found.value("hostaddr")) if host), None)


def _instance(path: str | None) -> str | None:
    return connection_name(path) or None if path else None


def is_private(host: str | None) -> bool:
    """Return whether a host is an address that only a private network reaches.

    >>> is_private("10.0.0.3"), is_private("34.1.2.3"), is_private("127.0.0.1"), is_private("db.example.com")
    (True, False, False, False)
    """
    try:
        address = ipaddress.ip_address((host or "").strip("[]"))
    except ValueError:
        return False
    return address.is_private and not address.is_loopback and not address.is_unspecified and not address.is_link_local
