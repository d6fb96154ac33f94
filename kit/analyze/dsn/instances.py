"""Cloud SQL's instance connection names, and the paths of Unix sockets made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

# sockaddr_un holds 108 bytes, and the last is a NUL.
SOCKET_PATH_BYTES = 107
SOCKET_FILE = "/.s.PGSQL.5432"
_NAME = re.compile(
    r"(?P<project>(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*):(?P<region>[a-z0-9-]+):(?P<instance>[a-z][a-z0-9-]*)", re.ASCII
)
_REGION = re.compile(r"[a-z]+-[a-z]+\d+", re.ASCII)
_ZONE = re.compile(r"([a-z]+-[a-z]+\d+)-[a-z]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Instance:
    """PROJECT:REGION:INSTANCE; a project may have a domain and a colon before it."""

    project: str
    region: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}:{self.region}:{self.name}"

    @property
    def region_of_zone(self) -> str | None:
        """Return the region, where a zone stands in its place."""
        match = _ZONE.fullmatch(self.region)
        return match[1] if match else None

    @property
    def has_region(self) -> bool:
        """Return whether the middle part has a region's shape."""
        return bool(_REGION.fullmatch(self.region))


def instance_of(text: str) -> Instance | None:
    """Return the instance that a connection name names, or None where it is none."""
    match = _NAME.fullmatch(text)
    return Instance(match["project"], match["region"], match["instance"]) if match else None


def without_socket_file(path: str) -> str:
    """Return the folder of a socket path that names the file."""
    return re.sub(r"/+\.s\.PGSQL\.\d+/*$", "", path)


def connection_name(path: str) -> str | None:
    """Return what follows /cloudsql/ in a socket path, or None for another path."""
    match = re.fullmatch(r"/+cloudsql(?:/+(.*?))?/*", without_socket_file(path), re.IGNORECASE | re.DOTALL)
    return match[1] or "" if match else None
