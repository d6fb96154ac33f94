"""One notebook run in a worker process: papermill, a kernel over IPC, and the truth about how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from kit.analyze.document import NotebookStatus

KERNEL_NAME = "incident-kit"
_PRINTED = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


@dataclass(frozen=True, slots=True)
class Job:
    """A notebook to run: where it lies, what is injected, where its results go, and its private folder."""

    name: str
    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    kernel_folder: Path
    private_folder: Path
    environment: Mapping[str, str]
    cell_seconds: int = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, with one sentence about where it stopped if it did not reach its end."""

    name: str
    status: NotebookStatus
    seconds: float
    reason: str = ""


def prepare_worker() -> None:
    """Ready a worker process: the parent answers Ctrl-C, and papermill is imported while the capture runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import papermill  # noqa: F401


def run(job: Job) -> Outcome:
    """Run the notebook and write what it came to, whole or partial, to `job.output`; never raises for the notebook's faults."""
    started = time.perf_counter()
    notebook = nbformat.read(job.notebook, as_version=4)
    aside = job.private_folder / "executed.ipynb"
    with _private_jupyter(job):
        status, reason = _execute(notebook, aside, job)
    executed = nbformat.read(aside, as_version=4) if aside.is_file() else notebook
    if status == "ok":
        status, reason = _really_ended(executed)
    _write(executed, job.output)
    return Outcome(job.name, status, round(time.perf_counter() - started, 2), reason)


def _execute(notebook: nbformat.NotebookNode, aside: Path, job: Job) -> tuple[NotebookStatus, str]:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            notebook,
            str(aside),
            parameters=dict(job.parameters),
            kernel_name=KERNEL_NAME,
            progress_bar=False,
            execution_timeout=job.cell_seconds,
            start_timeout=60,
            config=Config(_transport(job.private_folder)),
            resources={"metadata": {"path": str(job.kernel_folder)}},
        )
    except PapermillExecutionError as error:
        return "error", f"cell {error.cell_index} raised {error.ename}: {error.evalue}"[:300]
    except CellTimeoutError:
        return "timeout", f"a cell ran longer than {job.cell_seconds} s"
    except DeadKernelError:
        return "dead kernel", "the kernel died while a cell ran"
    except Exception as error:  # noqa: BLE001  the kernel did not start; the others still run, the report says so
        return "not run", f"{type(error).__name__}: {error}"[:300]
    return "ok", ""


def _really_ended(notebook: nbformat.NotebookNode) -> tuple[NotebookStatus, str]:
    """Papermill calls a notebook that left by sys.exit a success; cells that never ran tell the truth."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if any(output.output_type == "error" for output in cell.outputs):
            return "error", "a cell raised an error"
        if cell.source.strip() and cell.execution_count is None:
            return "error", "the notebook left before its end (sys.exit?)"
    return "ok", ""


def _transport(private_folder: Path) -> dict[str, dict[str, str]]:
    """IPC where the system has it: each kernel needs a prefix of its own, in a folder with a short path."""
    if sys.platform == "win32":
        return {}
    settings = {"transport": "ipc", "ip": str(private_folder / "k")}
    return {"KernelManager": settings, "AsyncKernelManager": settings}


@contextlib.contextmanager
def _private_jupyter(job: Job) -> Iterator[None]:
    """Jupyter and IPython without the user's own start-up files, kernels and settings; HOME may be missing."""
    folder = job.private_folder
    private = {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if not _usable(os.environ.get("HOME")):
        private["HOME"] = str(folder)
    _write_kernel_specification(folder / "data" / "kernels" / KERNEL_NAME)
    before = dict(os.environ)
    os.environ.update({**private, **job.environment})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _usable(home: str | None) -> bool:
    return bool(home) and os.access(str(home), os.W_OK)


def _write_kernel_specification(folder: Path) -> None:
    """A kernel of this very interpreter, whatever `python3` means to the user's Jupyter."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Incident Kit", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")


def _write(notebook: nbformat.NotebookNode, output: Path) -> None:
    """Write the notebook without the traces of this machine: paths, and the private kernel's name."""
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    notebook.metadata["kernelspec"] = dict(_PRINTED)
    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)
