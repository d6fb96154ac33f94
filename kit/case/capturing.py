"""One capture into a bundle, without a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kit.case.collecting import collected
from kit.errors import BundleError
from kit.evidence import bundle
from kit.evidence.model import Source
from kit.target import resolve


def capture_to(target: str, out: Path, cloud: Path | None = None) -> dict[str, Any]:
    """Capture a target into the new folder `out`; return its digest, cost, and what did not come.

    Raises BundleError before anything is asked where `out` exists already.
    """
    if out.exists():
        raise BundleError(f"{out} exists already.", "A capture is never replaced: name another folder.")
    taken = collected(resolve(target, cloud))
    digest = bundle.save(replace(taken, digest=""), out)
    gaps = [gap for source in taken.sources for gap in _gaps(source)]
    return {
        "bundle": str(out),
        "digest": digest,
        "started_at": taken.started_at.isoformat(),
        "cost": taken.cost.model_dump(),
        "gaps": gaps,
    }


def _gaps(source: Source) -> list[dict[str, str]]:
    return [{"source": source.name, "evidence": name, "kind": g.kind, "reason": g.reason} for name, g in source.gaps.items()]
