"""Confirming, once per file, the commands that a target's kit.toml would have the kit run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from kit.collect.reaching import trust, untrusted
from kit.errors import TargetError
from kit.target import resolve
from kit.target.reach import Reach


def confirmed(target: str, confirm: Callable[[Sequence[str]], bool]) -> str:
    """Return what became of it in a sentence; `confirm` is shown the lines and says whether they may run.

    The confirmation is this user's, and lasts until the file changes. TargetError where it was refused.
    """
    reaches = untrusted(resolve(target))
    if not reaches:
        return f"{target} runs no command that is not confirmed."
    if not confirm([line for reach in reaches for line in _lines(reach)]):
        raise TargetError(
            f"Nothing was confirmed: {reaches[0].config} may run no command.", "Read it, and mend it or confirm it."
        )
    for reach in reaches:
        trust(reach)
    return f"Confirmed for you, until {reaches[0].config} changes."


def _lines(reach: Reach) -> list[str]:
    return [_visible(f"  {shlex.join(command)}    (in {reach.config.parent})") for command in reach.commands]


def _visible(line: str) -> str:
    """One line, whatever an argument holds: what moves the cursor, or begins a line, could show another command."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in line)
