"""Collecting for a case: the first stage, the probes that analysis proposes, and a progress bar on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kit.analyze.probes import propose
from kit.collect.capture import capture
from kit.collect.queries import probes
from kit.errors import TargetError
from kit.evidence import bundle
from kit.evidence.model import Capture
from kit.target import Target

# What kit.toml says of the services, and no place is asked for.
DECLARED = ("connection_strings", "connection_string_problems", "expected_schema")


def collected(target: Target, only: Iterable[str] | None = None) -> Capture:
    """Return a capture of the target, live or from its bundle; a progress line goes to a terminal's standard error."""
    if target.bundle is not None:
        if not bundle.is_bundle(target.bundle):
            raise TargetError(f"{target.bundle} is a folder, but no bundle.", "Name the folder that `kit capture` wrote.")
        return bundle.load(target.bundle)
    known, names = frozenset(probes()), None if only is None else frozenset(only)
    with progress_line() as told:
        taken = capture(target, only=names, propose=lambda frames: propose(frames, known), progress=told)
    is_wanted = names is None or not names.isdisjoint(DECLARED)
    if not is_wanted or not (target.strings or target.expected_schema):
        return taken
    from kit.case.declared import with_declared  # the examiner and the reader of schemas are heavy, and few targets name them

    return with_declared(taken, target)


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that tells what is being done; quiet but on a terminal and in Jupyter."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not (console.is_terminal or console.is_jupyter)) as progress:
        task = progress.add_task("Connecting")
        yield lambda words: progress.update(task, description=words)
