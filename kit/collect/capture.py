"""One collecting run over all the sources of a target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import kit
from kit.collect.asking import Progress, Propose
from kit.collect.elsewhere import total
from kit.collect.postgres import collect_database
from kit.collect.secrecy import Secrecy, secrecy_of
from kit.errors import TargetError
from kit.evidence.model import Capture, Source
from kit.target import Target


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
    collected = [collect_database(database, only=names, propose=propose, progress=progress) for database in target.databases]
    # Now that every connection was made, the passwords of all are known: one source may hold another's.
    secrecy = secrecy_of([database.conninfo for database in target.databases], [source.identity for source, _ in collected])
    databases = [secrecy.source(source) if len(collected) > 1 else source for source, _ in collected]
    sources = [*databases, *_cloud(target, started_at, secrecy)]
    return Capture(
        target=target.name,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        kit_version=kit.__version__,
        sources=tuple(sources),
        cost=total([cost for _, cost in collected]),
    )


def _cloud(target: Target, started_at: datetime, secrecy: Secrecy) -> list[Source]:
    if target.cloud is None:
        return []
    from kit.collect import cloud  # its readers are heavy, and most captures have no exports

    try:
        return [cloud.collect_cloud(target.cloud, started_at, secrecy)]
    except TargetError as error:
        return [cloud.not_given(error.message)]
