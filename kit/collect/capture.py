"""One collecting run over all the sources of a target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import kit
from kit.collect.asking import Progress, Propose
from kit.collect.elsewhere import total
from kit.collect.pooler import collect_pooler
from kit.collect.pooler_frames import NAMES as POOLER_NAMES
from kit.collect.postgres import collect_database, not_reached
from kit.collect.reaching import reached
from kit.collect.secrecy import Secrecy, secrecy_of
from kit.collect.services import NAME as SERVICE_PROBES
from kit.collect.services import collect_services
from kit.errors import CaptureError, TargetError
from kit.evidence.model import Capture, Cost, Source
from kit.target import DatabaseSource, Target


def capture(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    propose: Propose | None = None,
    progress: Progress = lambda _: None,
) -> Capture:
    """Return the evidence of every source of a live target; what did not come is in the sources' gaps.

    `only` limits the fact queries (a table wanted alone costs about a second); `propose` names the probes.
    """
    started_at = datetime.now(UTC)
    names = None if only is None else frozenset(only)
    # First, because they cost milliseconds: what the databases say in the next moment explains what waits in a pooler.
    pooled = _poolers(target, names, progress)
    collected = [_database(database, names, propose, progress) for database in target.databases]
    # Now that every connection was made, the passwords of all are known: one source may hold another's.
    secrecy = secrecy_of(target.conninfos, [source.identity for source, _ in collected])
    databases = [secrecy.source(source) if len(collected) > 1 else source for source, _ in collected]
    poolers = [secrecy.source(source) for source, _ in pooled]
    sources = [*databases, *poolers, *_cloud(target, started_at, secrecy), *_services(target, names, secrecy)]
    return Capture(
        target=target.name,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        kit_version=kit.__version__,
        sources=tuple(sources),
        cost=total([cost for _, cost in (*pooled, *collected)]),
    )


def _database(
    asked: DatabaseSource, only: frozenset[str] | None, propose: Propose | None, progress: Progress
) -> tuple[Source, Cost]:
    try:
        with reached(asked) as there:
            return collect_database(there, only=only, propose=propose, progress=progress)
    except CaptureError as error:
        return not_reached(asked, error, only), Cost()


def _poolers(target: Target, only: frozenset[str] | None, progress: Progress) -> list[tuple[Source, Cost]]:
    if not target.poolers or (only is not None and not only & POOLER_NAMES):
        return []
    progress("Poolers")
    return [collect_pooler(pooler) for pooler in target.poolers]


def _services(target: Target, only: frozenset[str] | None, secrecy: Secrecy) -> list[Source]:
    if target.services is None or (only is not None and SERVICE_PROBES not in only):
        return []
    return [collect_services(target.services, secrecy)]


def _cloud(target: Target, started_at: datetime, secrecy: Secrecy) -> list[Source]:
    if target.cloud is None:
        return []
    from kit.collect.cloud import exports  # its readers are heavy, and most captures have no exports

    try:
        return [exports.collect_cloud(target.cloud, started_at, secrecy)]
    except TargetError as error:
        return [exports.not_given(error.message)]
