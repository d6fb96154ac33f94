"""The runner: capture once, judge once, print the verdict, run the notebooks in parallel, publish in whole."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
import psutil

from kit.analyze.document import FindingsDocument, NotebookEntry
from kit.case import folders
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.collect.connection import known_secrets
from kit.errors import ParameterError, RunError
from kit.evidence import bundle
from kit.evidence.model import Capture
from kit.report import parameters, publish, worker
from kit.report.gate import refuse_secrets
from kit.report.staging import staged
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
    case_folder = order.reports / folders.checked_name(order.question.case)
    notebooks = _notebooks(case_folder, order.only)
    values = _values(notebooks, order)
    with _workers(order) as pool, staged(case_folder) as aside:
        warm = [pool.submit(time.monotonic) for _ in range(2)]  # the workers import papermill meanwhile
        captured, document = _judge(order, aside)
        verdict_seconds = time.perf_counter() - started
        order.tell(f"{document.verdict.status.upper()}: {document.verdict.summary}")
        outcomes = _run_notebooks(pool, _jobs(notebooks, values, aside, order), order.tell)
        document = _with_notebooks(document, notebooks, outcomes)
        publish.write(aside, captured, document, outcomes)
        refuse_secrets(aside, [*order.secrets, *_target_secrets(order.target)])
        del warm
    return Report(case_folder, document, verdict_seconds, time.perf_counter() - started)


def _judge(order: Order, aside: Path) -> tuple[Capture, FindingsDocument]:
    """Capture (or copy the bundle), judge, and write both aside."""
    taken = collected(order.target)
    name = folders.capture_name(taken.started_at)
    folder = aside / folders.CAPTURES / name
    if not folder.exists():
        taken = replace(taken, digest=bundle.save(taken, folder))
    document = judged(taken, order.question)
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
    known = {name: parameters.declared(_read(path), name) for name, path in notebooks.items()}
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


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise RunError(f"The notebook {path.name} cannot be read.", "Mend or remove the working copy.") from error
    return notebook


def _jobs(notebooks: Mapping[str, Path], values: Mapping[str, dict[str, Any]], aside: Path, order: Order) -> list[Job]:
    return [
        Job(
            name=name,
            notebook=path,
            output=aside / "notebooks" / f"{name}.ipynb",
            parameters=values[name],
            kernel_folder=aside,
            private_folder=Path(),
            environment={"KIT_CASE_FOLDER": str(aside)},
            cell_seconds=order.cell_seconds,
        )
        for name, path in notebooks.items()
    ]


def _run_notebooks(pool: ProcessPoolExecutor, jobs: Sequence[Job], tell: Callable[[str], None]) -> dict[str, Outcome]:
    """Run all notebooks; triage is first in the queue. Each kernel has a short private folder of its own."""
    with contextlib.ExitStack() as stack:
        started = {pool.submit(worker.run, replace(job, private_folder=_private(stack))): job for job in jobs}
        outcomes = {}
        for future in as_completed(started):
            outcome = _outcome(future, started[future])
            outcomes[outcome.name] = outcome
            tell(f"{outcome.name}: {outcome.status}{', ' + outcome.reason if outcome.reason else ''} ({outcome.seconds:.1f} s)")
    return {job.name: outcomes[job.name] for job in jobs}


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(job.name, "dead kernel", 0.0, "the process that ran it died")
    except Exception as error:  # noqa: BLE001  one notebook never takes another down; the report says which and why
        return Outcome(job.name, "not run", 0.0, f"{type(error).__name__}: {error}"[:300])


def _private(stack: contextlib.ExitStack) -> Path:
    """A short path: the system limits a socket's to about 107 bytes, and TMPDIR may be long."""
    base = "/tmp" if sys.platform != "win32" and os.access("/tmp", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="kit-", dir=base)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _with_notebooks(document: FindingsDocument, names: Mapping[str, Path], outcomes: Mapping[str, Outcome]) -> FindingsDocument:
    entries = [NotebookEntry(name=name, status=outcomes[name].status, seconds=outcomes[name].seconds) for name in names]
    return document.model_copy(update={"notebooks": entries})


def _target_secrets(target: Target) -> set[str]:
    return {secret for source in target.databases for secret in known_secrets(source.conninfo)}


@contextlib.contextmanager
def _workers(order: Order) -> Iterator[ProcessPoolExecutor]:
    """Yield worker processes; when the block is left by an error or Ctrl-C, they and their kernels end at once."""
    count = order.workers or min(len(order.only or NOTEBOOKS), max(2, os.cpu_count() or 2))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=worker.prepare_worker)
    try:
        yield pool
    except BaseException:
        end_descendants()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def end_descendants() -> None:
    """Kill the worker processes and their kernels: nothing may outlive the run."""
    workers = [child for child in psutil.Process().children() if "spawn_main" in _command(child)]
    for process in [*(grandchild for w in workers for grandchild in w.children(recursive=True)), *workers]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


