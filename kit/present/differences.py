"""A differential diagnosis in words for people: what differs by the ladder, what is equal, what was not compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from kit.analyze.differences.catalog import KINDS
from kit.analyze.differences.model import Difference, Differences, LayerDifferences
from kit.present.displays import Display, Sentence
from kit.present.evidence import Listing
from kit.present.text import counted, visible

SHOWN = 20
VALUE_LIMIT = 160
NAMES_SHOWN = 8


def told(record: Mapping[str, Any], found: Differences) -> str:
    """Return the answer: head, one part a rung, what became of the findings, and what was left out."""
    lines = [*_head(record), _summary(record, found), "", *(line for layer in found.layers for line in _layer(layer))]
    lines += [*_findings(record["findings"]), *_left_out(found.left_out)]
    return "\n".join(lines)


def listing(found: Differences) -> Display:
    """Return the differences as a table to look at, the lowest rung first; a sentence where nothing differs."""
    rows = [(d.layer, d.kind, d.subject, d.a, d.b, d.why) for d in found.all]
    unseen = [layer.layer for layer in found.layers if layer.not_compared]
    if not rows:
        return Sentence("Nothing differs that could matter" + (f"; not compared: {', '.join(unseen)}." if unseen else "."))
    columns = ["layer", "kind", "subject", "works", "fails", "why it can matter"]
    return Listing("What works against what fails", pd.DataFrame(rows, columns=columns).astype("string"))


def _head(record: Mapping[str, Any]) -> Iterator[str]:
    for side in ("a", "b"):
        of = record[side]
        what = next((f"{kind} {of[kind]} of " for kind in ("source", "role", "service", "revision") if kind in of), "")
        target = f" ({of['target']})" if of["target"] not in of["name"] else ""
        yield f"{side.upper()}: {what}{of['name']}{target}, captured {str(of['captured_at'])[:19].replace('T', ' ')} UTC"
    if record["verdict"]:
        yield f"Verdict: {_verdict(record['verdict']['a'])} → {_verdict(record['verdict']['b'])}"


def _verdict(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['status']} ({verdict['layer']})" if verdict["layer"] else str(verdict["status"])


def _summary(record: Mapping[str, Any], found: Differences) -> str:
    if record["status"] == "not compared":
        return "NOT COMPARED: no difference was found, but not all in scope could be compared."
    if record["status"] == "equal":
        return "EQUAL: nothing differs that could matter."
    able = [difference for difference in found.all if difference.explains]
    other = len(found.all) - len(able)
    cannot = f"; {counted(other, 'of them is', 'of them are')} about other relations than the symptom's" if other else ""
    first = next(iter(able or found.all))
    return f"DIFFERENT: {counted(len(found.all), 'difference')}{cannot}. The first is on {first.layer}: {_sentence(first)}."


def _sentence(difference: Difference) -> str:
    kind = "" if difference.kind == "setting of the service" else f"{difference.kind} "
    return f"{kind}{visible(difference.subject)}: {_cut(difference.a)} / {_cut(difference.b)}"


def _cut(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= VALUE_LIMIT else shown[: VALUE_LIMIT - 1] + "…"


def _layer(layer: LayerDifferences) -> Iterator[str]:
    equal = ", ".join(f"{count:,} {what}" if count > 1 else KINDS.get(what, what) for what, count in layer.equal)
    unseen = f"not compared: {_listed(layer.not_compared)}" if layer.not_compared else ""
    rest = "; ".join(part for part in (f"equal: {equal}" if equal else "", unseen) if part)
    if not layer.differences:
        status = f"{layer.status.upper()} " if rest else "out of scope"
        yield f"{layer.layer}: {status}{f'({rest})' if rest else ''}".rstrip()
        return
    yield f"{layer.layer}: DIFFERS{f' ({rest})' if rest else ''}"
    for (kind, explains), group in groupby(layer.differences, key=lambda d: (d.kind, d.explains)):
        yield from _group(kind, list(group), explains=explains)


def _group(kind: str, differences: Sequence[Difference], *, explains: bool) -> Iterator[str]:
    for difference in differences[:SHOWN]:
        yield f"  - {_sentence(difference)}{'' if explains else ' (cannot explain the symptom)'}"
    if len(differences) > SHOWN:
        yield f"  … and {len(differences) - SHOWN:,} more of kind {kind} (--json has all)"
    if differences[0].why:
        yield f"    Why it can matter: {differences[0].why}."


def _listed(names: Sequence[str]) -> str:
    more = f"; and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return "; ".join(visible(name) for name in names[:NAMES_SHOWN]) + more


def _findings(findings: Mapping[str, Any] | None) -> Iterator[str]:
    if findings is None:
        return
    yield ""
    for title, key in (("gone", "gone"), ("new", "new"), ("stayed", "stayed"), ("not examined on one side", "not_examined")):
        mine = findings[key]
        if key != "not_examined" or mine:
            yield f"Findings {title}: {len(mine) or 'none'}"
        for finding in mine[:NAMES_SHOWN] if key != "stayed" else ():
            yield f"  - {finding['severity']}, {finding['layer']}: {visible(finding['fingerprint'])}"
        if key != "stayed" and len(mine) > NAMES_SHOWN:
            yield f"  … and {len(mine) - NAMES_SHOWN} more (--json has all)"


def _left_out(left_out: Mapping[str, int]) -> Iterator[str]:
    if left_out:
        yield ""
        yield "Left out, for it cannot matter:"
        yield from (f"  - {count:,} × {reason}" for reason, count in sorted(left_out.items(), key=lambda item: -item[1]))
