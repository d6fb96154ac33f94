"""From the files that a collector printed to a bundle that is judged like any other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
from kit.analyze.findings import quoted
from kit.analyze.probes import propose
from kit.checks.triage.relations_in_other_databases import PROVIDERS
from kit.collect.exposed import exposed_evidence
from kit.collect.forms.other_databases import NOT_ASKED
from kit.collect.forms.printing import VANTAGES
from kit.collect.forms.reading import ImportedFileError, read_files
from kit.collect.forms.rebuilding import Rebuilt, rebuilt
from kit.collect.queries import probes
from kit.collect.secrecy import secrecy_of
from kit.errors import BundleError, UsageError
from kit.evidence import bundle
from kit.evidence.model import Capture, Gap, Source
from kit.target import DatabaseSource, Described, described

OTHERS_GAP = "other_databases:not asked"
_DATABASES_SHOWN = 5
_FORMS_WITHOUT_PLACE = ("psql", "paste")


def import_files(files: list[Path], out: Path, target: str | None = None, cloud: Path | None = None) -> dict[str, Any]:
    """Import collectors' files into the new bundle `out`; return its digest, cost, and what did not come.

    `target` names what was asked; kit.toml may say more of it. `cloud` adds a folder of cloud exports. Raises KitError,
    and then nothing is written.
    """
    if out.exists():
        raise BundleError(f"{out} exists already.", "A capture is never replaced: name another folder.")
    taken = imported(files, target, cloud)
    digest = bundle.save(taken, out)
    gaps = [
        {"source": source.name, "evidence": name, **gap.model_dump()}
        for source in taken.sources
        for name, gap in source.gaps.items()
    ]
    summary = {"bundle": str(out), "digest": digest, "target": taken.target, "started_at": taken.started_at.isoformat()}
    return {**summary, "vantage": taken.sources[0].vantage, "cost": taken.cost.model_dump(), "gaps": gaps}


def imported(files: list[Path], target: str | None = None, cloud: Path | None = None) -> Capture:
    """Return the capture that the files hold, of the database that the first one is of; others tell what they hold.

    Raises KitError in one sentence where there is none.
    """
    about, found = _described(target), _rebuilt(files)
    database = found.source.identity.database if found.source.identity else "imported"
    sources = [_as_target(found, about), *_cloud(found, cloud or about.cloud)]
    return Capture(
        target=target or database,
        started_at=found.started_at,
        finished_at=found.finished_at,
        kit_version=kit.__version__,
        sources=tuple(sources),
        cost=found.cost,
    )


def _described(target: str | None) -> Described:
    if target is None:
        return Described()
    if re.search(r"[@:=/\s]", target) or not target.isprintable():
        raise UsageError("--target is a name here, and not a connection string.", "Give a name from kit.toml, or leave it out.")
    return described(target)


def _rebuilt(files: list[Path]) -> Rebuilt:
    known = frozenset(probes())
    answers = read_files(files)
    try:
        return rebuilt(answers, lambda frames: propose(frames, known))
    except (TypeError, ValueError, LookupError) as error:
        # Each value has its declared type; what may still be wrong is what one answer says of another.
        hint = "Run the collector again, and bring its file home as it is."
        raise ImportedFileError("The file's answers contradict one another.", hint) from error


def _as_target(found: Rebuilt, about: Described) -> Source:
    """Return the source with what kit.toml says of its target, and what to do about databases that did not answer."""
    source = found.source
    asked = DatabaseSource(source.name, "", exposed=about.exposed)
    evidence = {**source.evidence, **exposed_evidence(asked, source.evidence["connection"].provenance.at)}
    return replace(source, vantage=_vantage(found, about), evidence=evidence, gaps={**source.gaps, **_others(source)})


def _vantage(found: Rebuilt, about: Described) -> str:
    """Return what the collector was told; kit.toml knows where a person asks from, and not where a job runs."""
    is_told = found.source.vantage != VANTAGES.get(found.form)
    return found.source.vantage if is_told or found.form not in _FORMS_WITHOUT_PLACE else about.vantage or found.source.vantage


def _others(source: Source) -> Mapping[str, Gap]:
    if "other_databases" not in source.evidence:
        return {}
    frame = source.evidence["other_databases"].frame
    names = [name for name in frame.loc[frame["reason"] == NOT_ASKED, "database_name"] if name not in PROVIDERS]
    if not names:
        return {}
    shown = ", ".join(quoted(name) for name in names[:_DATABASES_SHOWN])
    more = f" and {len(names) - _DATABASES_SHOWN} more" if len(names) > _DATABASES_SHOWN else ""
    words = f"{shown}{more} did not answer; run the collector there too, and import all answers together, this one first"
    return {OTHERS_GAP: Gap(kind="not given", reason=words)}


def _cloud(found: Rebuilt, folder: Path | None) -> list[Source]:
    if folder is None:
        return []
    from kit.collect.cloud import exports  # its readers are heavy, and most imports have no exports

    identity = found.source.identity
    return [exports.collect_cloud(folder, found.started_at, secrecy_of([], [identity]))]
