"""From the files that a collector printed to a bundle that is judged like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kit
from kit.analyze.probes import propose
from kit.collect.forms.reading import ImportedFileError, read_files
from kit.collect.forms.rebuilding import rebuilt
from kit.collect.queries import probes
from kit.errors import BundleError
from kit.evidence import bundle
from kit.evidence.model import Capture


def import_files(files: list[Path], out: Path, target: str | None = None) -> dict[str, Any]:
    """Import one collector's files into the new bundle `out`; return its digest, cost, and what did not come.

    `target` names what was asked; without it the bundle is named after its database. Raises KitError, and then
    nothing is written.
    """
    if out.exists():
        raise BundleError(f"{out} exists already.", "A capture is never replaced: name another folder.")
    taken = imported(files, target)
    digest = bundle.save(taken, out)
    (source,) = taken.sources
    gaps = [{"source": source.name, "evidence": name, **gap.model_dump()} for name, gap in source.gaps.items()]
    summary = {"bundle": str(out), "digest": digest, "started_at": taken.started_at.isoformat(), "vantage": source.vantage}
    return {**summary, "cost": taken.cost.model_dump(), "gaps": gaps}


def imported(files: list[Path], target: str | None = None) -> Capture:
    """Return the capture that the files of one collector hold; raises KitError in one sentence where there is none."""
    known = frozenset(probes())
    answers = read_files(files)
    try:
        found = rebuilt(answers, lambda frames: propose(frames, known))
    except (TypeError, ValueError, LookupError) as error:
        # Each value has its declared type; what may still be wrong is what one answer says of another.
        hint = "Run the collector again, and bring its file home as it is."
        raise ImportedFileError("The file's answers contradict one another.", hint) from error
    database = found.source.identity.database if found.source.identity else "imported"
    return Capture(
        target=target or database,
        started_at=found.started_at,
        finished_at=found.finished_at,
        kit_version=kit.__version__,
        sources=(found.source,),
        cost=found.cost,
    )
