"""What is wrong with a connection string: one record for all its checks, and what they are given to judge."""

from __future__ import annotations

from dataclasses import dataclass

from kit.analyze.dsn.masking import Blemish
from kit.analyze.dsn.reading import Reading
from kit.analyze.dsn.vocabulary import CONSUMERS, PRISMA_ONLY, Consumer
from kit.analyze.dsn.wrappings import Unwrapped
from kit.analyze.findings import Layer, Severity


@dataclass(frozen=True, slots=True)
class DsnFinding:
    """One defect of a connection string; message and remedy hold no secret."""

    check: str
    layer: Layer
    severity: Severity
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A string as read, and what is known about where it is used."""

    unwrapped: Unwrapped
    reading: Reading
    blemishes: tuple[Blemish, ...]
    reader: str
    is_reader_known: bool
    instance: str | None = None
    in_container: bool = False
    from_stdin: bool = False
    from_file: bool = False

    @property
    def consumer(self) -> Consumer:
        """Return who reads the string: the one that was named, else the one its form speaks of, else libpq."""
        return CONSUMERS[self.reader]

    @property
    def strictly(self) -> Severity:
        """Return how bad it is that the reader refuses something: only a warning where the reader is a guess."""
        return "critical" if self.is_reader_known else "warning"


def reader_of(reading: Reading, consumer: str | None) -> tuple[str, bool]:
    """Return who reads the string, and whether that is known rather than guessed."""
    if consumer:
        return consumer, True
    if reading.form == "jdbc":
        return "jdbc", True
    if reading.driver is not None:
        return "sqlalchemy", True
    if reading.form == "url" and any(reading.has(key) for key in PRISMA_ONLY):
        return "prisma", True
    # Keywords are read by libpq, and also by Go's drivers, which let through what libpq refuses.
    return "libpq", False
