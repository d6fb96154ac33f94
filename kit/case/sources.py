"""Which of a capture's sources a question is asked of."""

from __future__ import annotations

from kit.errors import TargetError
from kit.evidence.model import Capture, Source


def database_source(taken: Capture, name: str | None) -> Source:
    """Return the database source of this name, or the first; TargetError, naming those there are, where there is none."""
    databases = [source for source in taken.sources if source.kind == "postgres"]
    for source in databases:
        if name in (None, source.name):
            return source
    known = ", ".join(source.name for source in databases) or "none"
    raise TargetError(f"{taken.target} has no database source{f' {name!r}' if name else ''}.", f"It has: {known}.")
