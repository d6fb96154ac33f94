"""One collecting run over all the sources of a target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import kit
from kit.collect.postgres import Progress, Propose, collect_database
from kit.evidence.model import Capture, Cost, Source
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
    sources = [source for source, _ in collected] + _cloud(target, started_at)
    return Capture(
        target=target.name,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        kit_version=kit.__version__,
        sources=tuple(sources),
        cost=_sum(cost for _, cost in collected),
    )


def _cloud(target: Target, started_at: datetime) -> list[Source]:
    if target.cloud is None:
        return []
    from kit.collect.cloud import collect_cloud  # its readers are heavy, and most captures have no exports

    return [collect_cloud(target.cloud, started_at)]


def _sum(costs: Iterable[Cost]) -> Cost:
    items = list(costs)
    return Cost(
        statements=sum(cost.statements for cost in items),
        server_ms=round(sum(cost.server_ms for cost in items), 1),
        rows=sum(cost.rows for cost in items),
    )
