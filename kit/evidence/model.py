"""Evidence and its provenance: what was asked, as whom, from where, when, and what was missed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from kit.evidence.columns import Column

SourceKind = Literal["postgres", "cloud", "strings", "pooler", "services"]
GapKind = Literal["not permitted", "unsupported", "timed out", "locked", "failed", "not reached", "not given"]


class Record(BaseModel):
    """A frozen record at a border of the kit; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Identity(Record):
    """Who asked: the user, the database and the server that answered."""

    user: str
    session_user: str
    database: str
    server_version: int
    server_version_text: str
    server: str
    is_superuser: bool
    in_recovery: bool
    search_path: str
    visible_schemas: list[str]


class Provenance(Record):
    """Where one frame came from. `text` is the SQL as sent, or the file's name; times are UTC."""

    title: str
    grain: str
    text: str
    text_sha256: str
    at: datetime
    seconds: float
    rows: int
    truncated: bool = False
    statistics_since: datetime | None = None


def provenance(title: str, grain: str, text: str, at: datetime, seconds: float, rows: int) -> Provenance:
    """Return the provenance of a frame, with the hash of its text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Provenance(title=title, grain=grain, text=text, text_sha256=digest, at=at, seconds=round(seconds, 4), rows=rows)


class Gap(Record):
    """Evidence that was asked for and did not come, and why."""

    kind: GapKind
    reason: str


class Cost(Record):
    """What a capture cost the server: statements sent, milliseconds waited for, rows fetched."""

    statements: int = 0
    server_ms: float = 0.0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """One frame with its declared columns and its provenance."""

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Source:
    """One place evidence came from: a database as one identity, a folder of cloud exports, or the probes of services."""

    name: str
    kind: SourceKind
    vantage: str
    identity: Identity | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capture:
    """One collecting run over all sources of a target."""

    target: str
    started_at: datetime
    finished_at: datetime
    kit_version: str
    sources: tuple[Source, ...]
    cost: Cost
    digest: str = ""

    def source(self, name: str) -> Source:
        """Return the source of that name; KeyError if there is none."""
        return next(source for source in self.sources if source.name == name)


class Frames(Mapping[str, pd.DataFrame]):
    """The frames of one source, as a check sees them.

    `identity` is None for sources that are not databases; `gaps` says what is missing and why.
    """

    def __init__(self, source: Source, extra: Mapping[str, Evidence] | None = None) -> None:
        self._evidence = {**source.evidence, **(extra or {})}
        self.identity = source.identity
        self.gaps = source.gaps

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self._evidence[name].frame

    def __iter__(self) -> Iterator[str]:
        return iter(self._evidence)

    def __len__(self) -> int:
        return len(self._evidence)

    def at(self, name: str) -> datetime:
        """Return when this evidence was taken, in UTC: the "now" of any computation over it."""
        return self._evidence[name].provenance.at

    def is_truncated(self, name: str) -> bool:
        """Return whether there was more of this evidence than was kept."""
        return self._evidence[name].provenance.truncated

    def statistics_since(self, name: str) -> datetime | None:
        """Return since when the counters behind this evidence run, where known."""
        return self._evidence[name].provenance.statistics_since


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """A second-stage query that analysis proposes: the probe, its identifiers, and where its rows belong.

    `tags` are columns put before the probe's own, with one value for all of its rows.
    """

    probe: str
    evidence: str
    subject: str
    identifiers: Mapping[str, str]
    tags: tuple[tuple[Column, str], ...] = ()
