"""The findings of two captures: which went away, came and stayed, and of which that cannot be said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.analyze.document import FindingEntry, FindingsDocument, ResultEntry

Key = tuple[str, str]
Pair = tuple[ResultEntry, FindingEntry]


@dataclass(frozen=True, slots=True)
class FindingChanges:
    """Findings by what became of them; `not_examined` are those that one side could not look for."""

    gone: tuple[Pair, ...]
    new: tuple[Pair, ...]
    stayed: tuple[Pair, ...]
    not_examined: tuple[Pair, ...]

    def to_record(self) -> dict[str, Any]:
        """Return them for programs."""
        return {name: [_record(pair) for pair in getattr(self, name)] for name in self.__slots__}


def finding_changes(a: FindingsDocument, b: FindingsDocument, sources: Mapping[str, str] | None = None) -> FindingChanges:
    """Return what became of the findings from `a` to `b`; `sources` names, by source of `b`, the one of `a`.

    Without `sources` those of the same name belong together; with them, others are left aside.
    """
    names_a = None if sources is None else {name: name for name in sources.values()}
    before, after = _by_key(a, names_a), _by_key(b, sources)
    gone = [pair for key, pair in before.items() if key not in after]
    new = [pair for key, pair in after.items() if key not in before]
    unseen = [pair for pair in gone if _is_unseen(pair, b, names_a, sources)]
    unsaid = [pair for pair in new if _is_unseen(pair, a, sources, names_a)]
    return FindingChanges(
        tuple(pair for pair in gone if pair not in unseen),
        tuple(pair for pair in new if pair not in unsaid),
        tuple(pair for key, pair in after.items() if key in before),
        (*unseen, *unsaid),
    )


def _by_key(document: FindingsDocument, names: Mapping[str, str] | None) -> dict[Key, Pair]:
    """Return the findings by source and fingerprint; where there are several sources, it begins with the source's name."""
    pairs: Iterable[Pair] = document.findings()
    return {
        (_source(result, names), finding.fingerprint.removeprefix(f"{result.source}/")): (result, finding)
        for result, finding in pairs
        if _is_in(result, names)
    }


def _is_in(result: ResultEntry, names: Mapping[str, str] | None) -> bool:
    return names is None or result.source in names


def _source(result: ResultEntry, names: Mapping[str, str] | None) -> str:
    return result.source if names is None else names[result.source]


def _is_unseen(
    pair: Pair, other: FindingsDocument, names: Mapping[str, str] | None, names_of_other: Mapping[str, str] | None
) -> bool:
    """Return whether the other side could not look for this finding: its check was skipped, failed, or left subjects unseen."""
    source = _source(pair[0], names)
    same = [
        result
        for result in other.results
        if result.check == pair[0].check and _is_in(result, names_of_other) and _source(result, names_of_other) == source
    ]
    return not any(result.status in ("clean", "findings") and not result.not_examined for result in same)


def _record(pair: Pair) -> dict[str, Any]:
    result, finding = pair
    return {
        "fingerprint": finding.fingerprint,
        "check": result.check,
        "source": result.source,
        "layer": finding.layer,
        "severity": finding.severity,
        "message": finding.message,
    }
