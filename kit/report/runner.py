"""The runner: capture once, judge once, print the verdict, run the notebooks in parallel, publish in whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kit.analyze.document import FindingsDocument, NotebookEntry
from kit.case import folders
from kit.case.collecting import collected
from kit.case.declared import secrets_of
from kit.case.judging import Question, judged
from kit.case.notes import with_notes
from kit.collect import connection
from kit.errors import ParameterError
from kit.evidence import bundle
from kit.evidence.model import Capture
from kit.report import parameters, publish, worker
from kit.report.gate import refuse_secrets
from kit.report.lanes import Lane, open_lanes, run_all
from kit.report.staging import only_run, staged
from kit.report.worker import Job, Outcome
from kit.target import Target

NOTEBOOKS = ("triage", "permissions", "bloat", "slow_queries", "deploy_history")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run: the question, the target, the notebooks' parameters and where the report goes.

    `secrets` are further texts that must stand in no file; `tell` hears of the verdict and the progress.
    """

    question: Question
    target: Target
    reports: Path
    set_values: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] = ()
    secrets: Sequence[str] = ()
    cell_seconds: int = 300
    workers: int = 0
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Report:
    """A published report: its folder, its document, and when the verdict was known after the capture's start."""

    folder: Path
    document: FindingsDocument
    verdict_seconds: float
    seconds: float


def run(order: Order) -> Report:
    """Make the report of a case and put it in place; KitError where that cannot be done, with nothing half-written."""
    started = time.perf_counter()
    # Absolute: the kernels work in a folder of their own.
    case_folder = order.reports.absolute() / folders.checked_name(order.question.case)
    notebooks = _notebooks(case_folder, order.only)
    values = _values(notebooks, order)
    with only_run(case_folder), staged(case_folder) as aside, _private_folder() as private:
        with open_lanes(_lane_count(order), private) as lanes:  # the workers import papermill while the capture runs
            captured, document = _judge(order, aside)
            verdict_seconds = time.perf_counter() - started
            order.tell(f"{document.verdict.status.upper()}: {document.verdict.summary}")
            outcomes = _run_notebooks(lanes, _jobs(notebooks, values, aside, private, order), order.tell)
        document = _with_notebooks(document, notebooks, outcomes)
        publish.write(aside, captured, document, outcomes)
        refuse_secrets(aside, [*order.secrets, *_target_secrets(order.target)], _names(order.target, captured))
    return Report(case_folder, document, verdict_seconds, time.perf_counter() - started)


def _judge(order: Order, aside: Path) -> tuple[Capture, FindingsDocument]:
    """Capture (or copy the bundle), judge, and write both aside."""
    taken = collected(order.target)
    name = folders.capture_name(taken.started_at)
    folder = aside / folders.CAPTURES / name
    if not folder.exists() and order.target.bundle is not None:
        bundle.copy(order.target.bundle, folder)
    elif not folder.exists():
        taken = replace(taken, digest=bundle.save(taken, folder))
    document = with_notes(judged(taken, order.question), aside)
    # A bundle that is judged again lies here as links to the standing report's files: never write through them.
    (folder / folders.FINDINGS).unlink(missing_ok=True)
    (folder / folders.FINDINGS).write_text(document.to_json(), encoding="utf-8")
    (aside / folders.FINDINGS).write_text(document.to_json(), encoding="utf-8")
    return taken, document


def _notebooks(case_folder: Path, only: Sequence[str]) -> dict[str, Path]:
    """Return the notebooks to run by name: the case's working copies where they exist, else the kit's own."""
    unknown = [name for name in only if name not in NOTEBOOKS]
    if unknown:
        raise ParameterError(f"There is no notebook {unknown[0]!r}.", f"Known: {', '.join(NOTEBOOKS)}.")
    found = {}
    for name in only or NOTEBOOKS:
        copy = case_folder / folders.WORKING_COPIES / f"{name}.ipynb"
        found[name] = copy if copy.is_file() else folders.notebooks_folder() / f"{name}.ipynb"
    return found


def _values(notebooks: Mapping[str, Path], order: Order) -> dict[str, dict[str, Any]]:
    """Return what is injected into each notebook, checked before anything starts."""
    known = {name: _declared(path, name) for name, path in notebooks.items()}
    given = dict(order.set_values)
    for name in ("since", "until"):
        at = getattr(order.question, name)
        if at is not None:
            given.setdefault(name, at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    chosen = parameters.chosen(known, {k: v for k, v in given.items() if k in order.set_values or _any_declares(known, k)})
    for name, values in chosen.items():
        if "case" in known[name]:
            values["case"] = order.question.case
    return chosen


def _any_declares(known: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    return any(name in declared for declared in known.values())


def _declared(path: Path, name: str) -> dict[str, parameters.Parameter]:
    """Return the notebook's parameters; a file that is no notebook declares none, and the report will say so."""
    try:
        return parameters.declared(worker.read(path), name)
    except worker.UnreadableError:
        return {}


def _jobs(
    notebooks: Mapping[str, Path], values: Mapping[str, dict[str, Any]], aside: Path, private: Path, order: Order
) -> list[Job]:
    return [
        Job(
            name=name,
            notebook=path.absolute(),
            output=aside / "notebooks" / f"{name}.ipynb",
            parameters=values[name],
            kernel_folder=aside,
            private_folder=private / str(number),
            environment={"KIT_CASE_FOLDER": str(aside)},
            cell_seconds=order.cell_seconds,
        )
        for number, (name, path) in enumerate(notebooks.items())
    ]


def _run_notebooks(lanes: Sequence[Lane], jobs: Sequence[Job], tell: Callable[[str], None]) -> dict[str, Outcome]:
    """Run all notebooks, triage first; every one of them has a file afterwards, however it ended."""
    outcomes = {}
    for outcome in run_all(lanes, jobs):
        outcomes[outcome.name] = outcome
        tell(f"{outcome.name}: {outcome.status}{', ' + outcome.reason if outcome.reason else ''} ({outcome.seconds:.1f} s)")
    for job in jobs:
        if not job.output.is_file():
            worker.write_unfinished(job, outcomes[job.name].reason)
    return {job.name: outcomes[job.name] for job in jobs}


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A short path: the system limits a socket's to about 107 bytes, and TMPDIR may be long."""
    base = "/tmp" if sys.platform != "win32" and os.access("/tmp", os.W_OK | os.X_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kit-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_notebooks(document: FindingsDocument, names: Mapping[str, Path], outcomes: Mapping[str, Outcome]) -> FindingsDocument:
    entries = [NotebookEntry(name=name, status=outcomes[name].status, seconds=outcomes[name].seconds) for name in names]
    return document.model_copy(update={"notebooks": entries})


def _target_secrets(target: Target) -> set[str]:
    found = {secret for conninfo in target.conninfos for secret in connection.known_secrets(conninfo)}
    return found | secrets_of(target.strings)


def _names(target: Target, captured: Capture) -> set[str]:
    """Return the names that stand in any report: a password that equals one of them cannot be told from it."""
    identities = [source.identity for source in captured.sources if source.identity is not None]
    asked = [connection.parameters(conninfo) for conninfo in target.conninfos]
    given = {str(parts[key]) for parts in asked for key in ("user", "dbname", "host", "service") if parts.get(key)}
    return given | {name for who in identities for name in (who.user, who.database)}


def _lane_count(order: Order) -> int:
    return order.workers or min(len(order.only or NOTEBOOKS), max(2, os.cpu_count() or 2))
