"""What the string's dialect and its reader have against each other: form, scheme, driver suffix, parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kit.analyze.dsn.characters import visible
from kit.analyze.dsn.findings import DsnFinding, Subject
from kit.analyze.dsn.unreadable import unreadable_words
from kit.analyze.dsn.vocabulary import (
    DRIVERS,
    FRAMEWORK_SCHEMES,
    KNOWN,
    LIBPQ,
    LIBPQ_READERS,
    OTHER_DIALECTS,
    PRISMA_ONLY,
    SECRET,
    SQLALCHEMY_ASYNCPG,
)
from kit.analyze.findings import Severity

_FALLBACK = "Where the code falls back to SQLite, the service starts, answers /health, and loses every row with its container."


def whole_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield why a text is no connection string for PostgreSQL at all."""
    reading = subject.reading
    if reading.form == "empty":
        yield _found("empty_strings", "critical", f"The string is empty. {_FALLBACK}", "Set it; refuse to start without it.")
    elif reading.form == "sqlite":
        message = f"This is a SQLite database, not PostgreSQL. {_FALLBACK}"
        yield _found("sqlite_databases", "critical", message, "Give the PostgreSQL string; remove the fallback from the code.")
    elif reading.form == "unreadable":
        yield _found("unreadable_strings", "critical", *unreadable_words(subject.unwrapped.text))
    elif not reading.is_postgres:
        name = OTHER_DIALECTS.get(reading.scheme.lower().partition("+")[0], "another program")
        message = f"The scheme {visible(reading.scheme)} is for {name}, not for PostgreSQL."
        yield _found(
            "other_dialects", "critical", message, "Use the PostgreSQL string, or ask which database the service expects."
        )


def dialect_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield what the reader of the string does not take."""
    yield from _form(subject)
    yield from _scheme(subject)
    yield from _driver(subject)
    yield from _parameters(subject)


def _found(check: str, severity: Severity, message: str, remedy: str) -> DsnFinding:
    return DsnFinding(check, "configuration", severity, message, remedy)


def _form(subject: Subject) -> Iterator[DsnFinding]:
    reading, consumer = subject.reading, subject.consumer
    if reading.form not in consumer.forms:
        names = {"url": "a URL", "keywords": "libpq's keywords and values", "jdbc": "a JDBC string"}
        message = f"{consumer.title} does not read {names[reading.form]}."
        yield _found("forms", "critical", message, "Use the corrected string.")
    if reading.form == "jdbc" and reading.has_userinfo:
        message = "The JDBC driver takes no user:password@ before the host: it looks for a host by that name."
        yield _found("jdbc_credentials", "critical", message, "Give user= and password= as parameters.")


def _scheme(subject: Subject) -> Iterator[DsnFinding]:
    reading, consumer = subject.reading, subject.consumer
    if reading.form != "url":
        return
    framework = FRAMEWORK_SCHEMES.get(reading.scheme.lower())
    if framework:
        message = f"The scheme {visible(reading.scheme)} is known to {framework} alone; libpq and every driver refuse it."
        yield _found("schemes", subject.strictly, message, "Write postgresql://, where anything else reads it.")
    elif reading.scheme != reading.scheme.lower() and subject.reader not in ("asyncpg", "prisma", "node"):
        message = "The scheme is not in small letters: libpq does not know it then, nor does SQLAlchemy."
        yield _found("schemes", "critical", message, "Write postgresql://.")
    elif reading.scheme == "postgres" and subject.reader == "sqlalchemy":
        message = "SQLAlchemy refuses postgres:// since 1.4 (it finds no dialect of that name)."
        yield _found("schemes", "critical", message, "Write postgresql://.")
    elif reading.scheme not in consumer.schemes and reading.scheme.lower() not in consumer.schemes:
        yield _found("schemes", "critical", f"{consumer.title} does not take this scheme.", "Write postgresql://.")


def _driver(subject: Subject) -> Iterator[DsnFinding]:
    driver, consumer = subject.reading.driver, subject.consumer
    if driver is None or subject.reading.form != "url":
        return
    if driver not in DRIVERS:
        message = "The driver suffix names no PostgreSQL driver that SQLAlchemy knows (psycopg 3 is +psycopg)."
        yield _found("driver_suffixes", "critical", message, f"Use one of {', '.join(f'+{name}' for name in sorted(DRIVERS))}.")
    elif not consumer.takes_driver:
        message = f"The driver suffix +{driver} is SQLAlchemy's; {consumer.title} refuses the string."
        yield _found("driver_suffixes", "critical", message, "Write postgresql:// there.")
    elif driver == "asyncpg":
        message = "The suffix +asyncpg makes this SQLAlchemy's: psql, libpq, Prisma and asyncpg itself refuse it."
        yield _found("driver_suffixes", "info", message, "Give other programs the string without it.")


def _parameters(subject: Subject) -> Iterator[DsnFinding]:
    reading, consumer = subject.reading, subject.consumer
    keys = list(dict.fromkeys(option.key for option in reading.options))
    allowed = SQLALCHEMY_ASYNCPG if reading.driver == "asyncpg" and subject.reader == "sqlalchemy" else consumer.parameters
    if allowed is not None and (refused := [key for key in keys if key not in allowed]):
        names = ", ".join(refused)
        owner = " (Prisma's own)" if set(refused) <= PRISMA_ONLY else ""
        message = f"{_who(subject)} does not take every parameter: {names}{owner}."
        yield _found(
            "unknown_parameters", subject.strictly, message, "Remove it, or use its name there (sslmode is ssl for asyncpg)."
        )
    elif reading.form == "url" and (unknown := [key for key in keys if key not in KNOWN]):
        message = f"No driver is known to take {', '.join(unknown)}; the values are not shown."
        yield _found("unknown_parameters", "info", message, "Check their spelling.")
    yield from _libpq_ssl(subject)
    repeated = [key for key, count in Counter(o.key for o in reading.options if o.key not in SECRET).items() if count > 1]
    if repeated and not (reading.driver and "host" in repeated):
        names = ", ".join(key for key in repeated if key in KNOWN) or "not shown"
        message = f"A parameter is given twice ({names}); drivers differ in which counts."
        yield _found("repeated_parameters", "warning", message, "Give it once.")


def _libpq_ssl(subject: Subject) -> Iterator[DsnFinding]:
    """libpq takes ssl=true in a URL alone, as JDBC writes it, and no other value."""
    reading = subject.reading
    value = reading.value("ssl")
    if subject.reader in LIBPQ_READERS and reading.has("ssl") and (reading.form == "keywords" or value != "true"):
        message = f"{subject.consumer.title} takes ssl only as ssl=true, and only in a URL: it refuses the string."
        yield _found("unknown_parameters", subject.strictly, message, "Write sslmode=require, or a stricter sslmode.")


def _who(subject: Subject) -> str:
    if subject.reading.driver == "asyncpg" and subject.reader == "sqlalchemy":
        return "asyncpg, behind SQLAlchemy,"
    return subject.consumer.title


def is_allowed(subject: Subject, key: str) -> bool:
    """Return whether the reader takes this parameter, so that a corrected string may hold it."""
    if subject.reading.driver == "asyncpg" and subject.reader == "sqlalchemy":
        return key in SQLALCHEMY_ASYNCPG
    allowed = subject.consumer.parameters
    return key in (allowed if allowed is not None else KNOWN if subject.reader != "libpq" else LIBPQ)
