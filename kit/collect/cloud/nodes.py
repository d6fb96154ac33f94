"""A value inside a JSON file, and where it stands: what is missing, or of another type than wanted, is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value with its file and its JSON pointer (RFC 6901)."""

    value: Any
    file: str = ""
    pointer: str = ""

    def at(self, *path: str | int) -> Node:
        """Return the node at `path`; its value is None where the file holds nothing there."""
        value, pointer = self.value, self.pointer
        for key in path:
            value, pointer = _child(value, key), f"{pointer}/{_escaped(key)}"
        return Node(value, self.file, pointer)

    def text(self, *path: str | int) -> str | None:
        """Return the text at `path`, or None."""
        value = self._value(path)
        return value if isinstance(value, str) else None

    def flag(self, *path: str | int) -> bool | None:
        """Return the JSON boolean at `path`, or None."""
        value = self._value(path)
        return value if isinstance(value, bool) else None

    def number(self, *path: str | int) -> int | None:
        """Return the whole number at `path`, which Google's JSON writes as text where it has 64 bits, or None."""
        value = self._value(path)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None

    def items(self, *path: str | int) -> list[Node]:
        """Return the nodes of the list at `path`; none where there is no list."""
        found = self.at(*path)
        if not isinstance(found.value, list):
            return []
        return [Node(value, self.file, f"{found.pointer}/{position}") for position, value in enumerate(found.value)]

    def _value(self, path: tuple[str | int, ...]) -> Any:
        # Without its place: a log has entries by the hundred thousand.
        value = self.value
        for key in path:
            value = _child(value, key)
        return value


def _child(value: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return value[key] if isinstance(value, list) and key < len(value) else None
    return value.get(key) if isinstance(value, dict) else None


def _escaped(key: str | int) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
