"""The paths of Unix sockets, and those that Cloud SQL makes of its instances' connection names."""

from __future__ import annotations

import re

from kit.evidence.instances import Instance, instance_of

__all__ = [
    "SOCKET_FILE",
    "SOCKET_PATH_BYTES",
    "Instance",
    "connection_name",
    "instance_of",
    "socket_path_bytes",
    "without_socket_file",
]

# sockaddr_un holds 108 bytes, and the last is a NUL.
SOCKET_PATH_BYTES = 107
SOCKET_FILE = "/.s.PGSQL.5432"


def without_socket_file(path: str) -> str:
    """Return the folder of a socket path that names the file."""
    return re.sub(r"(?<!/)/+\.s\.PGSQL\.\d+/*$", "", path)


def connection_name(path: str) -> str | None:
    """Return what follows /cloudsql/ in a socket path, or None for another path."""
    match = re.fullmatch(r"/+cloudsql(?:/+(.*?))?/*", without_socket_file(path), re.IGNORECASE | re.DOTALL)
    return match[1] or "" if match else None


def socket_path_bytes(folder: str) -> int:
    """Return how long the path of the socket in a folder is, in bytes."""
    return len((without_socket_file(folder) + SOCKET_FILE).encode("utf-8", "surrogateescape"))
