"""The string as it may be shown, and the fingerprint by which two are compared."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from kit.analyze.dsn.characters import SEPARATORS, is_invisible, shown
from kit.analyze.dsn.reading import Reading
from kit.analyze.dsn.wrappings import Unwrapped

MASK = "***"


@dataclass(frozen=True, slots=True)
class Blemish:
    """An invisible character: which, in which part, and whether at its end."""

    character: str
    part: str
    place: str


def masked(unwrapped: Unwrapped, reading: Reading) -> str:
    """Return the raw text with everything hidden but what the reading shows, and every invisible character by name."""
    open_places = _open_places(unwrapped, reading)
    pieces: list[str] = []
    hidden = invisible = ""
    for place, character in enumerate(unwrapped.raw):
        if is_invisible(character):
            invisible += shown(character)
        elif place in open_places:
            pieces += [hidden, invisible, character]
            hidden = invisible = ""
        else:
            # The mask comes first, so that a gate that looks for `:***@` finds it, whatever stands in the secret.
            pieces += [] if hidden else [invisible]
            invisible, hidden = (invisible if hidden else ""), MASK
    return "".join([*pieces, hidden, invisible])


def _open_places(unwrapped: Unwrapped, reading: Reading) -> set[int]:
    spans = [(0, unwrapped.start), (unwrapped.end, len(unwrapped.text)), *reading.moved(unwrapped.start).shown]
    return {unwrapped.positions[at] for start, end in spans for at in range(start, min(end, len(unwrapped.positions)))}


def blemishes(unwrapped: Unwrapped, reading: Reading) -> list[Blemish]:
    """Return the invisible characters of the text with the part each stands in; a keyword string's separators are none."""
    separators = SEPARATORS if reading.form == "keywords" else ""
    kept = set(unwrapped.positions)
    found = [(place, c) for place, c in enumerate(unwrapped.raw) if is_invisible(c) and c not in separators and place not in kept]
    return list(_located(found, unwrapped, reading))


def _located(found: list[tuple[int, str]], unwrapped: Unwrapped, reading: Reading) -> Iterator[Blemish]:
    told = (region for region in reading.moved(unwrapped.start).regions if region.end > region.start)
    regions = sorted(told, key=lambda region: region.start)
    starts = [region.start for region in regions]
    for place, character in found:
        at = bisect_left(unwrapped.positions, place)
        last = bisect_right(starts, at)
        near = regions[max(0, last - 2) : last]
        inside = next((r for r in near if r.start < at < r.end), None)
        ending = next((r for r in near if r.end == at), None)
        beginning = next((r for r in near if r.start == at), None)
        region = inside or ending or beginning
        where = "inside" if inside else "at the end of" if ending else "at the beginning of"
        yield Blemish(character, region.name if region else "string", where if region else _edge(at, unwrapped))


def _edge(at: int, unwrapped: Unwrapped) -> str:
    return "at the beginning of" if at <= unwrapped.start else "at the end of" if at >= unwrapped.end else "inside"


def fingerprint(reading: Reading, found: list[Blemish]) -> str | None:
    """Return 16 hexadecimal digits of a SHA-256 over where the string leads: never over a password, nor what is hidden.

    Driver, form, order and percent-encoding make no difference; None where the text cannot be read.
    """
    if reading.form in ("empty", "unreadable"):
        return None
    scheme = "postgresql" if reading.is_postgres else reading.scheme.lower()
    ports = reading.ports or ("",)
    hosts = [(_folded(host), ports[min(place, len(ports) - 1)] or "5432") for place, host in enumerate(reading.hosts or ("",))]
    options = sorted((option.key, option.value) for option in reading.options if option.value is not None)
    marks = sorted(f"{b.part} {ord(b.character):x}" for b in found if b.part != "password")
    said = [scheme, reading.user, hosts, reading.database, options, marks, reading.form == "sqlite"]
    content = json.dumps(said, ensure_ascii=True).encode("ascii")
    return hashlib.sha256(content).hexdigest()[:16]


def _folded(host: str) -> str:
    return host if host.startswith("/") else host.lower()
