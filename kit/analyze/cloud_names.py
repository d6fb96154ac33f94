"""What is wrong with the name of a Cloud SQL instance, `PROJECT:REGION:INSTANCE`, compared byte by byte."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kit.analyze.cloud_connections import SOCKET_BYTES, SOCKET_FOLDER

_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]")


@dataclass(frozen=True, slots=True)
class NameFault:
    """What is wrong with a name, and the name as it should be where that is known."""

    words: str
    correct: str | None


def name_fault(name: str, flags: Sequence[str], known: Collection[str]) -> NameFault | None:
    """Return what is wrong with the name; None where nothing is, or where `known` does not hold such an instance.

    >>> name_fault("shop:us-central1-a:main", [], [])
    NameFault(words='names the zone us-central1-a where the region us-central1 belongs', correct='shop:us-central1:main')
    """
    bare = _bare(name)
    parts = bare.rsplit(":", 2)
    if flags:
        return NameFault(f"holds what cannot be seen ({', '.join(flags)})", _nearest(bare, known) or bare)
    if len(parts) < 3 or not all(parts):
        return NameFault("is not PROJECT:REGION:INSTANCE", _nearest(bare, known))
    if _ZONE.fullmatch(parts[1]):
        region = parts[1].rpartition("-")[0]
        return NameFault(f"names the zone {parts[1]} where the region {region} belongs", f"{parts[0]}:{region}:{parts[2]}")
    nearest = _nearest(bare, known)
    if nearest is not None and nearest != name:
        return NameFault(f"differs from the instance's own name {nearest!r}", nearest)
    return _too_long(name)


def is_known(name: str, known: Collection[str]) -> bool:
    """Return whether an instance of that name is among those that were exported, whatever its region."""
    return _nearest(_bare(name), known) is not None


def _too_long(name: str) -> NameFault | None:
    path = f"{SOCKET_FOLDER}{name}/.s.PGSQL.5432"
    if len(path.encode("utf-8", "replace")) <= SOCKET_BYTES:
        return None
    return NameFault(f"makes a socket path of {len(path.encode())} bytes, and {SOCKET_BYTES} is the limit", None)


def _bare(name: str) -> str:
    return "".join(character for character in name if character.isprintable() and character.isascii()).strip(" '\"`")


def _nearest(bare: str, known: Collection[str]) -> str | None:
    if bare in known:
        return bare
    project = bare.rsplit(":", 2)[0] if bare.count(":") >= 2 else None
    instance = bare.rpartition(":")[2]
    # The same name in another project is another instance.
    fits = (name for name in sorted(known) if name.rpartition(":")[2] == instance)
    return next((name for name in fits if project is None or name.rsplit(":", 2)[0] == project), None)
