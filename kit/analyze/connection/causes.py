"""The causes of a failed connection: by which codes and words each is known, what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kit.analyze.findings import Layer

Kind = Literal["unreachable", "slots", "login", "database", "standby", "settings"]
LAYERS: dict[Kind, Layer] = {
    "unreachable": "reachability",
    "slots": "capacity and performance",
    "login": "authentication",
    "database": "database identity",
    "standby": "database identity",
    "settings": "configuration",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause. `codes` are SQLSTATEs, errno names or codes of the kit's attempt; `pattern` finds it in words.

    Of several causes of one code the words decide, and in another language the last one. `steps` narrow a code to where
    it was met. `untold` says what cannot be told apart from the client's side.
    """

    name: str
    kind: Kind
    pattern: str
    meaning: str
    remedy: str
    codes: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    untold: str = ""


def cause(kind: Kind, name: str, codes: str, pattern: str, meaning: str, remedy: str, untold: str = "", at: str = "") -> Cause:
    """Return a cause: codes are separated by blanks, the steps in `at` by commas."""
    steps = frozenset(at.split(", ")) if at else frozenset()
    return Cause(name, kind, pattern, meaning, remedy, frozenset(codes.split()), steps, untold)


# The words are those of kit.collect: a tunnel, a command or a token of whoever asks failed before any server was asked.
WAY_CLOSED = cause(
    "unreachable",
    "way not open",
    "",
    r"^the way to the server did not open",
    "The way to the server did not open, so the server was never asked.",
    "Follow the message, then run again.",
)
