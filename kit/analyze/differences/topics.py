"""What is compared: for each kind of thing its frame, the columns that identify it by name, and those that can matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.findings import Layer

Row = Mapping[str, Any]
Skip = Callable[[Row], str | None]
SkipPair = Callable[[Row | None, Row | None], str | None]
MASKED = "<masked>"
HERE = "(this database)"


@dataclass(frozen=True, slots=True)
class Aspect:
    """A column that can matter; `yes` and `no` are its words where it is a boolean, else `yes` stands before the value."""

    column: str
    yes: str = ""
    no: str = ""
    is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of comparable thing.

    `layer` may depend on the row. `shown` words a row that only one side has. `skip` returns why a row cannot matter, and
    `skip_pair` why this difference cannot. `alike` are the columns by which things of different names are the same.
    `is_whole` says that a row which only one side has is told here, and not by another topic of the same frame.
    """

    kind: str
    plural: str
    layer: Layer | Callable[[Row], Layer]
    frame: str
    key: tuple[str, ...]
    aspects: tuple[Aspect, ...]
    why: str
    shown: tuple[str, ...] = ()
    absent: str = "missing"
    is_whole: bool = True
    alike: tuple[str, ...] = ()
    skip: Skip | None = None
    skip_pair: SkipPair | None = None
    hidden_by: str = ""

    def layer_of(self, row: Row) -> Layer:
        """Return the rung on which this row stands."""
        return self.layer(row) if callable(self.layer) else self.layer
