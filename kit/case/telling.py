"""What a case can tell beside its findings, where it has it: what breaks the ladder, attempts, probes, cloud, causes."""

from __future__ import annotations

import pandas as pd

from kit.analyze.document import FindingEntry, FindingsDocument, ResultEntry
from kit.evidence.model import Capture, Source
from kit.present import evidence
from kit.present.displays import Display, Findings, Sentence
from kit.present.evidence import Listing
from kit.present.story import Attempt, Hypotheses, Probes

# What people look at first; the rest of each frame is one look at the evidence away.
_CLOUD_SHOWN = {
    "services": ("service_name", "is_ready", "latest_ready_revision", "latest_created_revision", "ready_message"),
    "traffic": ("service_name", "revision_name", "percent"),
    "revisions": ("service_name", "revision_name", "created_at", "is_ready", "ready_message"),
    "sql_instances": ("connection_name", "database_version", "state", "activation_policy"),
    "cloud_commands": ("command", "resource_name", "code", "message"),
}
ROWS_SHOWN = 12


def breaking(document: FindingsDocument) -> Display:
    """Return the critical findings of the broken layers in ladder order, each with its remedy."""
    broken = {entry.layer for entry in document.layers if entry.status == "broken"}
    if not broken:
        unseen = [entry.layer for entry in document.layers if entry.status == "not examined"]
        return Sentence(f"Nothing was found that breaks a layer{', as far as could be examined' if unseen else ''}.")
    kept = [result.model_copy(update={"findings": _critical(result)}) for result in document.results if result.layer in broken]
    # Wrapped: as records the findings stand once on a page, where the area shows them.
    return evidence.Several((Findings([result for result in kept if result.findings]),))


def causes(document: FindingsDocument) -> Display:
    """Return the suspected causes, with the findings for and against each in words."""
    messages = {finding.fingerprint: finding.message for _, finding in document.findings()}
    return Hypotheses(tuple(document.hypotheses), messages)


def attempts(capture: Capture) -> Display:
    """Return how far each failed attempt to connect came, step by step."""
    found = [Attempt(s.name, s.evidence["connection_steps"].frame) for s in capture.sources if "connection_steps" in s.evidence]
    return evidence.Several(tuple(found)) if found else Sentence("No attempt to connect failed.")


def probes(capture: Capture) -> Display:
    """Return what the probes of services saw."""
    found = [Probes(s.evidence["service_probes"].frame) for s in capture.sources if "service_probes" in s.evidence]
    return evidence.Several(tuple(found)) if found else Sentence("No service was probed: the target names no address of one.")


def cloud(capture: Capture) -> Display:
    """Return what the cloud exports say of services, revisions and instances, and which of their commands failed."""
    sources = [source for source in capture.sources if source.kind == "cloud"]
    if not sources:
        return Sentence("No cloud exports were named, so what the cloud says was not looked at.")
    found = [_short(name, columns, s) for s in sources for name, columns in _CLOUD_SHOWN.items() if name in s.evidence]
    shown = tuple(listing for listing in found if len(listing.frame))
    return evidence.Several(shown) if shown else Sentence("The cloud exports hold nothing about a service or an instance.")


def _critical(result: ResultEntry) -> list[FindingEntry]:
    return [finding for finding in result.findings if finding.severity == "critical"]


def _short(name: str, columns: tuple[str, ...], source: Source) -> Listing:
    frame: pd.DataFrame = source.evidence[name].frame
    kept = frame[[column for column in columns if column in frame]]
    if name == "cloud_commands":
        kept = kept[kept["code"].notna()]
    elif "created_at" in kept:
        kept = kept.sort_values("created_at", ascending=False)
    more = f" (the first {ROWS_SHOWN} of {len(kept)})" if len(kept) > ROWS_SHOWN else ""
    return Listing(f"{source.evidence[name].provenance.title}{more}:", kept.head(ROWS_SHOWN))
