"""What is wrong with the name of a Cloud SQL instance, `PROJECT:REGION:INSTANCE`, compared byte by byte."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kit.analyze.dsn.instances import SOCKET_PATH_BYTES, instance_of, socket_path_bytes
from kit.evidence.instances import bare_name, project_of


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
    bare = bare_name(name)
    nearest, named = _nearest(bare, known), instance_of(bare)
    if flags:
        return NameFault(f"holds what cannot be seen ({', '.join(flags)})", nearest or bare)
    if named is None:
        return NameFault("is not PROJECT:REGION:INSTANCE", nearest)
    if name in known:
        return _too_long(name)
    if region := named.region_of_zone:
        words = f"names the zone {named.region} where the region {region} belongs"
        return NameFault(words, str(replace(named, region=region)))
    if nearest is not None:
        return NameFault(f"differs from the instance's own name {nearest!r}", nearest)
    if not named.has_region:
        return NameFault(f"names {named.region!r} where a region, such as us-central1, belongs", nearest)
    return _too_long(name)


def is_known(name: str, known: Collection[str]) -> bool:
    """Return whether an instance of that name is among those that were exported, whatever its region."""
    return _nearest(bare_name(name), known) is not None


def _too_long(name: str) -> NameFault | None:
    size = socket_path_bytes(f"/cloudsql/{name}")
    if size <= SOCKET_PATH_BYTES:
        return None
    return NameFault(f"makes a socket path of {size} bytes, and {SOCKET_PATH_BYTES} is the limit", None)


def _nearest(bare: str, known: Collection[str]) -> str | None:
    if bare in known:
        return bare
    instance, project = bare.rpartition(":")[2], project_of(bare)
    # The same name in another project is another instance.
    fits = (name for name in sorted(known) if name.rpartition(":")[2] == instance)
    return next((name for name in fits if project is None or project_of(name) == project), None)
