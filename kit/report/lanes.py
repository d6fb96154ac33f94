"""Worker processes for notebooks: one notebook at a time each, replaced where one dies, all gone with the run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import psutil

from kit.report import worker
from kit.report.worker import Job, Outcome
from kit.sandbox.scratch import deferred_signals

_SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_SECONDS = 5.0


class Lane:
    """A worker process and the pipe to it.

    Not a ProcessPoolExecutor: there one process that dies takes every other notebook with it.
    """

    def __init__(self) -> None:
        self._start()

    @property
    def pipe(self) -> connection.Connection:
        """What becomes ready when the notebook has ended, or the process has died."""
        return self._pipe

    def begin(self, job: Job) -> None:
        """Hand over a notebook; a process that died meanwhile is replaced."""
        self._job, self._began = job, time.perf_counter()
        try:
            self._pipe.send(job)
        except OSError:
            self._replace()
            self._pipe.send(job)

    def outcome(self) -> Outcome:
        """Return how the notebook ended; where the process itself died, a new one takes its place."""
        try:
            found: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            end_processes_of(self._job.private_folder)
            self._replace()
            seconds = round(time.perf_counter() - self._began, 2)
            return Outcome(self._job.name, "dead kernel", seconds, "the process that ran it died")
        return found

    def kill(self) -> None:
        """End the process, its kernel, and what a cell has started, at once; there is nothing that it would tidy up."""
        if self._process.pid is not None and self._process.is_alive():
            _kill([*_descendants(self._process.pid), psutil.Process(self._process.pid)])
        self._process.join(_PATIENCE_SECONDS)

    def _start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=worker.serve, args=(theirs,), daemon=True)
        with deferred_signals(), _interrupts_blocked():
            self._process.start()
        theirs.close()

    def _replace(self) -> None:
        self._pipe.close()
        self.kill()
        self._start()


@contextlib.contextmanager
def open_lanes(count: int, private_folder: Path) -> Iterator[list[Lane]]:
    """Yield worker processes; when the block is left, also by an error or Ctrl-C, they and their kernels end at once."""
    lanes: list[Lane] = []
    try:
        for _ in range(count):
            lanes.append(Lane())  # one by one, so that none is forgotten when Ctrl-C comes between
        yield lanes
    finally:
        with deferred_signals():
            for lane in lanes:
                lane.kill()
            end_processes_of(private_folder)


def run_all(lanes: Sequence[Lane], jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Run the notebooks, the first in the row first, and yield the outcomes as they come."""
    waiting, idle, busy = deque(jobs), list(lanes), dict[Any, Lane]()
    while waiting or busy:
        while waiting and idle:
            lane = idle.pop()
            lane.begin(waiting.popleft())
            busy[lane.pipe] = lane
        for pipe in connection.wait(list(busy)):
            lane = busy.pop(pipe)
            yield lane.outcome()
            idle.append(lane)


def end_processes_of(private_folder: Path) -> None:
    """Kill the kernels whose connection file lies in the folder, also those whose worker is dead already."""
    needle = f"{private_folder}{os.sep}"
    found = [p for p in psutil.process_iter(["cmdline"]) if any(needle in word for word in p.info["cmdline"] or ())]
    _kill([child for process in found for child in (*_descendants(process.pid), process)])


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return children


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A worker is born with Ctrl-C blocked, until it has said that it ignores it: its parent answers for both."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start, at the first worker's, would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
