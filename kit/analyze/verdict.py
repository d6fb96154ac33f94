"""The ladder and the verdict: which layer is the first broken one, by the rules of the design.

A layer is broken if it holds a critical finding that could explain the symptom; else not examined if a
check that can be critical there was skipped, failed or left subjects unseen; else cleared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kit.analyze.document import LayerEntry, LayerStatus, Verdict
from kit.analyze.findings import LADDER, Finding, Layer, Result
from kit.analyze.symptom import Symptom
from kit.target.poolers import SUFFIX

# What is not of the database, nor of the way to it.
_BESIDE = ("change", "service")


def ladder(results: Sequence[Result], symptom: Symptom | None, out_of_scope: Collection[str] = ()) -> list[LayerEntry]:
    """Return the status of every layer with its reason, from the bottom rung to the top."""
    return [_layer(layer, results, symptom, out_of_scope) for layer in LADDER]


def verdict(layers: Sequence[LayerEntry], results: Sequence[Result], symptom: Symptom | None) -> Verdict:
    """Return the verdict: the first broken layer; else open, where something was not examined; else healthy.

    With a symptom, healthy means that what could explain it was looked for and is not there.
    """
    broken = next((entry for entry in layers if entry.status == "broken"), None)
    if broken:
        return Verdict(status="broken", layer=broken.layer, summary=_broken_summary(broken, layers, results, symptom))
    unseen = [entry for entry in layers if entry.status == "not examined"]
    if unseen:
        return Verdict(status="open", layer=unseen[0].layer, summary=_open_summary(unseen))
    unexplained = _unexplained(results, symptom)
    if unexplained:
        return Verdict(status="open", summary=unexplained)
    return Verdict(status="healthy", summary=_healthy_summary(layers, results, symptom))


def explains(finding: Finding, result: Result, symptom: Symptom | None) -> bool:
    """Return whether the finding could explain the symptom; without a known symptom every finding could.

    That the kit itself could not connect always counts: it is why nothing above could be seen. Behind a pooler's console
    nothing was to be seen but its pools.
    """
    is_why_unseen = finding.evidence[0] == "connection" and not result.source.endswith(SUFFIX)
    if symptom is None or not symptom.sqlstates or is_why_unseen:
        return True
    if symptom.sqlstates.isdisjoint(result.explains):
        return False
    if result.explains_absence and symptom.relation_exists and symptom.sqlstates <= {"42P01"}:
        return False
    return not (symptom.relation and finding.relations) or symptom.relation in finding.relations


def _unexplained(results: Sequence[Result], symptom: Symptom | None) -> str | None:
    """Return why a symptom stays open although every layer is cleared: nothing looked for such a thing."""
    if symptom is None or not symptom.sqlstates:
        return None
    # A migration that did not fail clears nothing: what it should have made may be missing all the same.
    able = [r for r in results if r.in_scope and r.can_be_critical and r.complete and not r.explains_absence]
    if all(symptom.sqlstates.isdisjoint(result.explains) for result in able):
        return f"Every layer is cleared, but no check looks for {_listed(sorted(symptom.sqlstates))} yet: the symptom stays open."
    if symptom.relation_exists and "42P01" in symptom.sqlstates:
        return (
            f'"{symptom.relation}" is there, and no role that was looked at is kept from it: ask which role and database '
            "the application really connects with."
        )
    return None


def explaining(results: Sequence[Result], layer: Layer, symptom: Symptom | None) -> list[Finding]:
    """Return the critical findings of a layer that could explain the symptom."""
    return [
        finding
        for result in results
        if result.layer == layer
        for finding in result.findings
        if finding.severity == "critical" and explains(finding, result, symptom)
    ]


def _layer(layer: Layer, results: Sequence[Result], symptom: Symptom | None, out: Collection[str]) -> LayerEntry:
    mine = [result for result in results if result.layer == layer and result.in_scope]
    found = explaining(mine, layer, symptom)
    if layer in out:
        return _entry(layer, "out of scope", "the target says so")
    if found:
        return _entry(layer, "broken", found[0].message)
    if not mine:
        return _entry(layer, "out of scope", "no source was named that could show it")
    unseen = [result for result in mine if result.can_be_critical and not result.complete]
    if unseen or not any(result.complete for result in mine):
        return _entry(layer, "not examined", _unseen_reason(unseen or mine))
    return _entry(layer, "cleared", _cleared_reason(mine))


def _entry(layer: Layer, status: LayerStatus, reason: str) -> LayerEntry:
    return LayerEntry(layer=layer, status=status, reason=reason)


def _unseen_reason(unseen: Sequence[Result]) -> str:
    first = unseen[0]
    reason = first.reason or (first.not_examined[0].reason if first.not_examined else first.status)
    others = f" (and {_count(len(unseen) - 1, 'more check')})" if len(unseen) > 1 else ""
    return f"{first.check}: {reason}{others}"


def _cleared_reason(results: Sequence[Result]) -> str:
    complete = sum(result.complete for result in results)
    of_all = "" if complete == len(results) else f" of {len(results)}"
    found = [finding for result in results for finding in result.findings]
    critical = sum(finding.severity == "critical" for finding in found)
    unexplaining = f" ({critical} critical, which cannot explain the symptom)" if critical else ""
    also = f"; also seen: {_count(len(found), 'finding')}{unexplaining}" if found else ""
    return f"{complete}{of_all} {'check' if len(results) == 1 else 'checks'} found nothing that breaks it{also}"


def _broken_summary(broken: LayerEntry, layers: Sequence[LayerEntry], results: Sequence[Result], symptom: Symptom | None) -> str:
    found = explaining(results, broken.layer, symptom)
    more = f" ({len(found) - 1} more such findings)" if len(found) > 1 else ""
    unseen = [e.layer for e in layers[: LADDER.index(broken.layer)] if e.status == "not examined"]
    summary = f"{_innocent(broken, layers, results)}The broken layer is {broken.layer}: {found[0].message}{more}"
    if not unseen:
        return summary
    return f"{summary.removesuffix('.')}. Before it, {_listed(unseen)} could not be examined in full."


def _innocent(broken: LayerEntry, layers: Sequence[LayerEntry], results: Sequence[Result]) -> str:
    """Return that it is not the database, where one was asked and every layer of it was looked at and cleared."""
    below = [entry for entry in layers if entry.layer not in _BESIDE and entry.status != "out of scope"]
    was_asked = any(result.layer == "database identity" and result.in_scope and result.complete for result in results)
    if broken.layer != "service" or not was_asked or any(entry.status != "cleared" for entry in below):
        return ""
    return f"Not the database: the {len(below)} layers up to {below[-1].layer} are cleared. "


def _open_summary(unseen: Sequence[LayerEntry]) -> str:
    words = f"No broken layer was found, but {_listed([entry.layer for entry in unseen])} could not be examined in full."
    return f"{words} The first reason: {unseen[0].reason.removesuffix('.')}."


def _healthy_summary(layers: Sequence[LayerEntry], results: Sequence[Result], symptom: Symptom | None) -> str:
    cleared = sum(1 for entry in layers if entry.status == "cleared")
    if symptom is not None and not symptom.sqlstates:
        return f"No broken layer: {_count(cleared, 'layer')} cleared. For the symptom itself, give the error's own text."
    if symptom is not None:
        return f"Nothing here explains the symptom: {_count(cleared, 'layer')} cleared. Not the database: look at the service."
    found = sum(len(result.findings) for result in results)
    return f"No broken layer: {_count(cleared, 'layer')} cleared, {_count(found, 'lesser finding')}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
