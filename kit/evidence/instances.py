"""Cloud SQL's instance connection names, PROJECT:REGION:INSTANCE: the one reading of them in the kit."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The project may be one of a domain: example.com:project.
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


def bare_name(name: str) -> str:
    """Return the name as it was meant: without what cannot be seen, and without quotes and spaces around it."""
    return "".join(character for character in name if character.isprintable() and character.isascii()).strip(" '\"`")


def project_of(name: str) -> str | None:
    """Return the project that stands before region and instance, however these are written; None where nothing does.

    >>> project_of("shop:europe-west1:main"), project_of("example.com:shop:europe-west1:main")
    ('shop', 'example.com:shop')
    >>> project_of("main")
    """
    parts = name.rsplit(":", 2)
    return parts[0] if len(parts) == 3 else None
