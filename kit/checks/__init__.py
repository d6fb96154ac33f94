"""The registry of checks: the folder is the registry, the file's stem is the id.

A check is one module `kit/checks/<area>/<id>.py` with

* a docstring: a title, then the paragraphs of `SECTIONS`, each opened by its heading and a colon;
* `LAYER`, `NEEDS` (evidence names), `SEVERITIES` (what its findings may be), optionally `EXPLAINS`
  (SQLSTATEs of symptoms it could explain), `EXPLAINS_ABSENCE` (only where the relation that the symptom
  names does not exist), `GIVEN` (evidence that only a target which names it has: without it the check is
  out of scope), `WITNESS` (it tells that something failed and not why: causes go before it), `SOURCE`
  ("postgres", "cloud" or another kind of source), `THRESHOLDS`;
* `judge(frames, thresholds)`, a pure function that yields `Finding`, `NotExamined` and `Examined`.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from kit.analyze.findings import LADDER, Examined, Finding, Judgement, Layer, NotExamined, Result, ResultStatus, Severity
from kit.analyze.saturation import server_evidence
from kit.errors import KitError, ParameterError
from kit.evidence.model import Capture, Evidence, Frames, Gap, Source, SourceKind

AREAS = ("triage", "permissions", "bloat", "slow_queries", "deploy_history")
SECTIONS = ("What it shows", "Why it matters", "What to do", "Known limits", "References")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number a check compares with: its default, unit, the reason for the default, and its source."""

    name: str
    default: float
    unit: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check as the registry holds it."""

    id: str
    area: str
    title: str
    sections: Mapping[str, str]
    layer: Layer
    needs: tuple[str, ...]
    given: tuple[str, ...]
    severities: tuple[Severity, ...]
    explains: frozenset[str]
    explains_absence: bool
    is_witness: bool
    source: SourceKind
    thresholds: tuple[Threshold, ...]
    judge: Callable[[Frames, Mapping[str, float]], Iterable[Judgement]]


@cache
def registry() -> Mapping[str, Check]:
    """Return every check by its id, area by area; an import error of any of them is fatal."""
    found = [_load(area, name) for area in AREAS for name in _modules(area)]
    return {check.id: check for check in found}


def judge(
    capture: Capture, overrides: Mapping[str, float] | None = None, extra: Mapping[str, Evidence] | None = None
) -> list[Result]:
    """Return the result of every check on every source that it is for, those that only tell of a failure at the end.

    `overrides` replaces thresholds, as `check.name`; an unknown key raises ParameterError. `extra` is
    evidence that comes from the case, such as its symptom, and is seen beside that of every database.
    """
    refuse_unknown(overrides or {})
    results = [r for check in registry().values() for r in _results(check, capture, overrides or {}, extra or {})]
    return sorted(results, key=lambda result: result.is_witness)


def refuse_unknown(overrides: Mapping[str, float]) -> None:
    """Raise ParameterError if a key of `overrides` is not the `check.threshold` of any check."""
    known = {f"{check.id}.{t.name}" for check in registry().values() for t in check.thresholds}
    for key in overrides:
        if key not in known:
            raise ParameterError(f"There is no threshold {key!r}.", "See `kit checks` for the names.")


def _results(check: Check, capture: Capture, overrides: Mapping[str, float], extra: Mapping[str, Evidence]) -> list[Result]:
    sources = [source for source in capture.sources if source.kind == check.source and _is_given(check, source, extra)]
    thresholds = {t.name: overrides.get(f"{check.id}.{t.name}", t.default) for t in check.thresholds}
    poolers = _poolers(check, capture)
    if not sources and not poolers:
        reason = f"the target names no {', '.join(check.given)}" if check.given else f"no {check.source} source was named"
        return [replace(_blank(check, "", thresholds), reason=reason, in_scope=False)]
    results = {
        source.name: _run(check, source, Frames(source, {**extra, **server_evidence(source, capture.sources)}), thresholds)
        for source in (*sources, *poolers)
    }
    # Named by their source, not by their database: two identities may ask the same one. And wherever several
    # sources were named, reached or not, or a refused login would rename every finding of the others.
    several = [*(sources if len(sources) > 1 else ()), *poolers]
    return list((results | {source.name: _told_apart(results[source.name], source) for source in several}).values())


def _poolers(check: Check, capture: Capture) -> list[Source]:
    """Return the poolers' consoles for a check that judges nothing but the attempt to connect: they are servers, too."""
    is_of_connections = check.source == "postgres" and check.needs == ("connection",)
    return [source for source in capture.sources if source.kind == "pooler"] if is_of_connections else []


def _is_given(check: Check, source: Source, extra: Mapping[str, Evidence]) -> bool:
    return all(name in source.evidence or name in source.gaps or name in extra for name in check.given)


def _run(check: Check, source: Source, frames: Frames, thresholds: dict[str, float]) -> Result:
    blank = _blank(check, source.name, thresholds)
    missing = [(name, source.gaps.get(name)) for name in check.needs if name not in frames]
    if missing:
        return replace(blank, reason=_why(missing))
    started = time.perf_counter()
    try:
        judgements = [*check.judge(frames, thresholds), *_cut_off(check, frames)]
    except Exception as error:
        return replace(blank, status="failed", reason=f"{type(error).__name__}: {error}"[:300])
    return _summed(blank, check, judgements, time.perf_counter() - started)


def _cut_off(check: Check, frames: Frames) -> list[NotExamined]:
    return [NotExamined(name, "there was more than was kept") for name in check.needs if frames.is_truncated(name)]


def _told_apart(result: Result, source: Source) -> Result:
    """Return the result with the source before its fingerprints and the database in its subjects."""
    database = source.identity.database if source.identity else None
    findings = (
        replace(f, fingerprint=f"{source.name}/{f.fingerprint}", subject=replace(f.subject, database=database))
        for f in result.findings
    )
    return replace(result, findings=tuple(findings))


def _why(missing: Sequence[tuple[str, Gap | None]]) -> str:
    """Return each reason once, with the evidence that it kept away (nothing named where it kept all away)."""
    names: dict[str, list[str]] = {}
    for name, gap in missing:
        names.setdefault(gap.reason if gap else "not captured", []).append(name)
    if len(names) == 1 and len(missing) > 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(which)}: {reason}" for reason, which in names.items())


def _summed(blank: Result, check: Check, judgements: list[Judgement], seconds: float) -> Result:
    findings = tuple(_completed(j, check) for j in judgements if isinstance(j, Finding))
    unseen = tuple(j for j in judgements if isinstance(j, NotExamined))
    looked = [j for j in judgements if isinstance(j, Examined)]
    examined = sum(j.count for j in looked)
    # "clean" needs that nothing was left unseen: with unseen subjects and no finding the check is skipped.
    status: ResultStatus = "findings" if findings else ("skipped" if unseen and not examined else "clean")
    return replace(
        blank,
        status=status,
        reason=unseen[0].reason if status == "skipped" else None,
        examined=examined,
        saw=tuple(dict.fromkeys(j.saw for j in looked if j.saw)),
        findings=findings,
        not_examined=unseen,
        seconds=seconds,
    )


def _completed(finding: Finding, check: Check) -> Finding:
    if finding.severity not in check.severities:
        raise KitError(f"{check.id} yields {finding.severity}, which it does not declare.")
    fingerprint = f"{check.id}:{finding.subject.kind}:{finding.subject.qualified}"
    return replace(finding, check=check.id, layer=check.layer, fingerprint=fingerprint)


def _blank(check: Check, source: str, thresholds: dict[str, float]) -> Result:
    return Result(
        check=check.id,
        area=check.area,
        layer=check.layer,
        source=source,
        status="skipped",
        thresholds=thresholds,
        can_be_critical="critical" in check.severities,
        explains=check.explains,
        explains_absence=check.explains_absence,
        is_witness=check.is_witness,
    )


def _modules(area: str) -> list[str]:
    package = importlib.import_module(f"kit.checks.{area}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_")


def _load(area: str, name: str) -> Check:
    module = importlib.import_module(f"kit.checks.{area}.{name}")
    title, sections = explained(module.__doc__ or "", name)
    if module.LAYER not in LADDER:
        raise KitError(f"Check {name} names the layer {module.LAYER!r}, which is not on the ladder.")
    return Check(
        id=name,
        area=area,
        title=title,
        sections=sections,
        layer=module.LAYER,
        needs=tuple(module.NEEDS),
        given=tuple(getattr(module, "GIVEN", ())),
        severities=tuple(module.SEVERITIES),
        explains=frozenset(getattr(module, "EXPLAINS", ())),
        explains_absence=getattr(module, "EXPLAINS_ABSENCE", False),
        is_witness=getattr(module, "WITNESS", False),
        source=getattr(module, "SOURCE", "postgres"),
        thresholds=tuple(getattr(module, "THRESHOLDS", ())),
        judge=module.judge,
    )


def explained(docstring: str, name: str) -> tuple[str, dict[str, str]]:
    """Return the title and the sections of a check's docstring; KitError if one is missing."""
    paragraphs = [" ".join(p.split()) for p in docstring.strip().split("\n\n")]
    sections = {head: text.strip() for head, _, text in (p.partition(":") for p in paragraphs[1:])}
    missing = [section for section in SECTIONS if not sections.get(section)]
    if missing:
        raise KitError(f"The docstring of check {name} lacks: {', '.join(missing)}.", "See CONTRIBUTING.md.")
    return paragraphs[0].rstrip("."), sections


def rows(positions: Sequence[int], name: str) -> tuple[str, tuple[int, ...]]:
    """Return the evidence reference of a finding: the frame's name and its rows' positions."""
    return name, tuple(int(position) for position in positions)
