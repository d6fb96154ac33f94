"""The examiner of connection strings: pure and offline; what it returns may be shown to anyone who may know the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kit.analyze.dsn.correction import corrected
from kit.analyze.dsn.findings import DsnFinding, Subject, reader_of
from kit.analyze.dsn.forms import read
from kit.analyze.dsn.instances import instance_of
from kit.analyze.dsn.masking import blemishes, fingerprint, masked
from kit.analyze.dsn.problems_dialect import dialect_problems, whole_problems
from kit.analyze.dsn.problems_place import place_problems
from kit.analyze.dsn.problems_socket import socket_problems
from kit.analyze.dsn.problems_text import text_problems, writing_problems
from kit.analyze.dsn.reading import Reading
from kit.analyze.dsn.vocabulary import ALIASES, CONSUMERS
from kit.analyze.dsn.wrappings import unwrapped
from kit.analyze.findings import LADDER, SEVERITIES
from kit.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a connection string; no field holds a password.

    `reader` is who is taken to read the string; `corrected` is written for it. `reading` gives the parts to whoever
    goes on to connect; a caller that connects needs the string itself for the password.
    """

    masked: str
    corrected: str
    fingerprint: str | None
    findings: tuple[DsnFinding, ...]
    reader: str
    reading: Reading

    @property
    def is_critical(self) -> bool:
        """Return whether anything critical was found."""
        return any(finding.severity == "critical" for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """Return the answer for programs."""
        keys = ("check", "layer", "severity", "message", "remedy")
        found = [{key: getattr(finding, key) for key in keys} for finding in self.findings]
        return {"masked": self.masked, "corrected": self.corrected, "fingerprint": self.fingerprint, "findings": found}


def examine(
    text: str,
    *,
    consumer: str | None = None,
    instance: str | None = None,
    in_container: bool = False,
    from_stdin: bool = False,
    from_file: bool = False,
) -> Examination:
    """Return what is wrong with a connection string, the string masked, corrected, and its fingerprint.

    `consumer` is who reads it (psql, libpq, psycopg, psycopg2, sqlalchemy, asyncpg, prisma, node, jdbc); `instance` the
    Cloud SQL instance it should lead to, PROJECT:REGION:INSTANCE. ParameterError for an unknown consumer or a
    malformed instance; never an error for the text.
    """
    reader, expected = _known_consumer(consumer), _known_instance(instance)
    wrapped = unwrapped(text, from_stdin=from_stdin, from_file=from_file)
    reading = read(wrapped.inner)
    found = blemishes(wrapped, reading)
    name, is_known = reader_of(reading, reader)
    subject = Subject(wrapped, reading, tuple(found), name, is_known, expected, in_container, from_stdin, from_file)
    findings = sorted(_problems(subject), key=lambda f: (SEVERITIES.index(f.severity), LADDER.index(f.layer)))
    fixed = corrected(subject)
    return Examination(masked(wrapped, reading), fixed, fingerprint(reading, found), tuple(findings), name, reading)


def _problems(subject: Subject) -> Iterator[DsnFinding]:
    yield from text_problems(subject)
    yield from whole_problems(subject)
    yield from writing_problems(subject)
    if subject.reading.is_postgres:
        yield from dialect_problems(subject)
        yield from socket_problems(subject)
        yield from place_problems(subject)


def _known_consumer(consumer: str | None) -> str | None:
    name = ALIASES.get(consumer.lower(), consumer.lower()) if consumer else None
    if name is not None and name not in CONSUMERS:
        raise ParameterError("--consumer names no reader of connection strings that is known.", f"One of {', '.join(CONSUMERS)}.")
    return name


def _known_instance(instance: str | None) -> str | None:
    if instance is not None and not instance_of(instance):
        hint = "PROJECT:REGION:INSTANCE, as `gcloud sql instances describe` shows it under connectionName."
        raise ParameterError("--instance is no instance's connection name.", hint)
    return instance
