"""What a connection string says, however badly it is written; a secret is in no repr, and nothing is shown by default."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from kit.analyze.dsn.vocabulary import FRAMEWORK_SCHEMES

Form = Literal["url", "keywords", "jdbc", "sqlite", "empty", "unreadable"]
Span = tuple[int, int]
SCHEMES = frozenset({"postgres", "postgresql", *FRAMEWORK_SCHEMES})


@dataclass(frozen=True, slots=True)
class Region:
    """A named part of the text: `[start, end)` in its characters."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with the writing itself: which check says it, and words without a secret."""

    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Option:
    """A parameter that is neither user, password, host, port nor database; its value is None where it is not to be shown."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The parts of a connection string, decoded. `shown` are the spans that may be shown; all else is hidden.

    `authority_*` is what stands before the path, where the query string says otherwise. The password itself is not kept.
    """

    form: Form
    scheme: str = ""
    driver: str | None = None
    user: str | None = None
    has_password: bool = False
    password_in_query: bool = False
    is_password_template: bool = False
    hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    database: str | None = None
    options: tuple[Option, ...] = ()
    authority_hosts: tuple[str, ...] = ()
    has_userinfo: bool = False
    is_host_encoded: bool = False
    contradictions: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    shown: tuple[Span, ...] = field(default=(), repr=False)
    regions: tuple[Region, ...] = ()

    @property
    def is_postgres(self) -> bool:
        """Return whether the string is meant for PostgreSQL."""
        return self.form in ("keywords",) or (self.form in ("url", "jdbc") and self.scheme.lower() in SCHEMES)

    @property
    def socket(self) -> str | None:
        """Return the folder of the Unix socket, if the host is one."""
        found = next((host for host in self.hosts if host.startswith("/")), None)
        return found or self.value("unix_sock")

    def value(self, *keys: str) -> str | None:
        """Return the last value that one of the parameters has (the last counts for libpq), None where it is hidden."""
        found = [option.value for option in self.options if option.key in keys]
        return found[-1] if found else None

    def has(self, key: str) -> bool:
        """Return whether the parameter is there."""
        return any(option.key == key for option in self.options)

    def moved(self, offset: int) -> Reading:
        """Return the reading of the same text standing `offset` characters further on."""
        spans = tuple((start + offset, end + offset) for start, end in self.shown)
        regions = tuple(Region(region.name, region.start + offset, region.end + offset) for region in self.regions)
        return replace(self, shown=spans, regions=regions)


class Notes:
    """What a reader gathers as it goes: spans to show, regions, faults."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.regions: list[Region] = []
        self.faults: list[Fault] = []

    def show(self, start: int, end: int, name: str | None = None) -> None:
        """Allow a span to be shown, and name it."""
        self.spans.append((start, end))
        if name:
            self.regions.append(Region(name, start, end))

    def hide(self, start: int, end: int, name: str) -> None:
        """Name a span that stays hidden."""
        self.regions.append(Region(name, start, end))

    def fault(self, check: str, detail: str) -> None:
        """Note a fault once."""
        if Fault(check, detail) not in self.faults:
            self.faults.append(Fault(check, detail))
