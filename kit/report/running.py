"""From the words of the command line to an order for the runner, and from its document to the exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kit import checks
from kit.analyze.document import FindingsDocument
from kit.analyze.findings import LADDER, SEVERITIES
from kit.analyze.hypotheses import parse_stated
from kit.case import folders
from kit.case.judging import Question, stated
from kit.collect.secrecy import secrecy_of
from kit.errors import ParameterError, TargetError
from kit.report import parameters
from kit.report.runner import Order, run
from kit.target import Target, resolve


def order_of(
    case: str,
    target: str,
    symptom: str | None,
    since: str | None,
    until: str | None,
    set_values: Sequence[str],
    thresholds: Sequence[str],
    only: Sequence[str],
    cloud: Path | None,
    reports: Path | None,
    tell: Callable[[str], None],
) -> Order:
    """Return the order that the words mean; KitError for the first word that cannot be meant."""
    begin, end = parameters.window(since, until)
    resolved = resolve(target, cloud)
    _refuse_unknown_layers(resolved)
    question = Question(
        case=folders.checked_name(case),
        symptom=symptom and secrecy_of(resolved.conninfos).text(symptom),
        since=begin,
        until=end,
        thresholds=_thresholds(thresholds),
        out_of_scope=resolved.out_of_scope,
    )
    values = parameters.assignments(set_values, "--set")
    return Order(question, resolved, folders.reports_folder(reports), values, tuple(only), tell=tell)


def with_hypotheses(order: Order, given: Sequence[str]) -> Order:
    """Return the order with the stated causes: those of the target, then `TEXT=check,check`; ParameterError for a wrong one."""
    known = checks.registry()
    all_stated = dict.fromkeys([*stated(order.target), *(parse_stated(text, known) for text in given)])
    secrecy = secrecy_of(order.target.conninfos)
    masked = tuple(replace(one, statement=secrecy.text(one.statement)) for one in all_stated)
    return replace(order, question=replace(order.question, hypotheses=masked))


def exit_status(document: FindingsDocument, fail_on: str) -> int:
    """Return 1 if anything was found at or above `fail_on`, else 3 if something in scope was not examined, else 0."""
    failing = SEVERITIES[: [str(severity) for severity in SEVERITIES].index(fail_on) + 1]
    excluded = {entry.layer for entry in document.layers if entry.status == "out of scope"}
    if any(finding.severity in failing and finding.layer not in excluded for _, finding in document.findings()):
        return 1
    # What could only have been found below `fail_on` would not have changed the answer.
    known = checks.registry()
    in_scope = [result for result in document.results if result.source and result.layer not in excluded]
    telling = [result for result in in_scope if set(known[result.check].severities) & set(failing)]
    unseen = any(result.not_examined or result.status in ("skipped", "failed") for result in telling)
    partial = any(entry.status != "ok" for entry in document.notebooks)
    return 3 if unseen or partial or document.verdict.status == "open" else 0


def _refuse_unknown_layers(target: Target) -> None:
    unknown = [layer for layer in target.out_of_scope if layer not in LADDER]
    if unknown:
        raise TargetError(
            f"out_of_scope of the target {target.name} names no layer {unknown[0]!r}.", f"Known: {', '.join(LADDER)}."
        )


def _thresholds(given: Sequence[str]) -> dict[str, float]:
    values = {}
    for key, text in parameters.assignments(given, "--threshold").items():
        try:
            values[key] = parameters.number(text)
        except ValueError:
            raise ParameterError(f"--threshold {key}={text!r} is no number.", "Write --threshold CHECK.KEY=NUMBER.") from None
    checks.refuse_unknown(values)
    return values


__all__ = ["exit_status", "order_of", "run", "with_hypotheses"]
