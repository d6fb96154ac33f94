"""Where an environment variable leads: read from the masked value that evidence holds, byte by byte.

Only the shape is read here, for the checks that compare it with a service and an instance. `kit.analyze.dsn` examines a
connection string for itself; `Connection.text` is what it takes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kit.analyze.cloud_scope import in_force
from kit.evidence.model import Frames

_HOST_KEYS = ("host", "hostaddr", "unix_sock", "unix_socket", "unixSocketPath", "socket", "cloudSqlInstance")
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|[^ ]*)", re.ASCII)
_SOCKET_FILE = re.compile(r"/\.s\.PGSQL\.\d+(?=\s*$)")
SOCKET_FOLDER = "/cloudsql/"
# sun_path holds 108 bytes, and its last is a zero.
SOCKET_BYTES = 107


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a value leads: scheme, user, host, and the Cloud SQL instance where it names one, byte by byte."""

    row: dict[str, Any]
    position: int
    text: str
    scheme: str | None = None
    user: str | None = None
    host: str | None = None
    instance: str | None = None

    @property
    def variable(self) -> str:
        """Return the variable's name."""
        return str(self.row["variable_name"])

    @property
    def is_socket(self) -> bool:
        """Return whether it leads to a socket under /cloudsql, which Cloud Run must mount."""
        return self.instance is not None and SOCKET_FOLDER in self.text


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
    keys = dict(_keywords(text)) if "://" not in text else _query(text)
    parts = _split(text)
    hosts = [keys.get(key) for key in _HOST_KEYS if keys.get(key)] or [parts.get("host")]
    host = hosts[0] or None
    user = keys.get("user") or parts.get("user")
    instance = keys.get("cloudSqlInstance") or next((_instance(h) for h in hosts if h and SOCKET_FOLDER in h), None)
    return Connection(row, position, text, scheme=parts.get("scheme"), user=user, host=host, instance=instance)


def _instance(path: str) -> str | None:
    _, folder, name = path.partition(SOCKET_FOLDER)
    return _SOCKET_FILE.sub("", name) if folder and name else None


def _keywords(text: str) -> Iterator[tuple[str, str]]:
    for key, value in _PAIR.findall(text):
        yield key, value[1:-1] if value.startswith("'") and value.endswith("'") and len(value) > 1 else value


def _query(text: str) -> dict[str, str]:
    return dict(parse_qsl(text.partition("?")[2].replace("+", "%2B"), keep_blank_values=True))


def _split(text: str) -> dict[str, str | None]:
    # urlsplit removes tabs and line ends: what is invisible is looked for elsewhere, in the value's flags.
    scheme, colon, rest = text.strip().removeprefix("jdbc:").partition("://")
    if not colon:
        return {}
    try:
        found = urlsplit(f"x://{rest}")
        host = found.hostname
    except ValueError:
        return {"scheme": scheme}
    return {
        "scheme": scheme,
        "host": unquote(host) if host else None,
        "user": unquote(found.username) if found.username else None,
    }


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
