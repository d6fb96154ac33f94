"""One notebook run in a worker process: papermill, a kernel over IPC, and the truth about how it ended."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook, new_output

from kit.analyze.document import NotebookStatus

KERNEL_NAME = "incident-kit"
# What one output may bring into the report: pages must open, and the report in one file must be sent.
OUTPUT_CHARACTERS = 100_000
_LARGEST_DATA = 1_000_000
# An IPC path is this long at most (sockaddr_un), and Jupyter appends to the prefix.
_SOCKET_FOLDER_BYTES = 80
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


class UnreadableError(Exception):
    """A file is no notebook."""


def serve(pipe: Connection) -> None:
    """Be a worker process: run one notebook after the other, until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C, for all
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import papermill  # noqa: F401  imported while the capture runs

    with contextlib.suppress(EOFError):
        while True:
            pipe.send(run(pipe.recv()))


def run(job: Job) -> Outcome:
    """Run the notebook and write what it came to, whole or partial, to `job.output`; never raises."""
    started = time.perf_counter()
    try:
        status, reason = _run(job)
    except Exception as error:  # one notebook never takes another down; the report says which and why
        status, reason = "not run", f"{type(error).__name__}: {error}"[:300]
    return Outcome(job.name, status, round(time.perf_counter() - started, 2), reason)


def read(path: Path) -> nbformat.NotebookNode:
    """Return a notebook without its outputs, which are of another run; UnreadableError where the file is none."""
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises nearly anything for what is no notebook
        raise UnreadableError(f"{path.name} is no readable notebook ({type(error).__name__})") from error
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def write_unfinished(job: Job, reason: str) -> None:
    """Write what there is of a notebook whose process did not write it: partial, never run, or only its name."""
    try:
        notebook = _partial(job) or read(job.notebook)
    except UnreadableError:
        title = job.name.replace("_", " ").capitalize()
        notebook = new_notebook(cells=[new_markdown_cell(f"# {title}"), new_markdown_cell("There is nothing to show.")])
        notebook.cells[1].source = f"There is nothing to show: {reason}."
    _mark_stop(notebook, "dead kernel", reason)
    _write(notebook, job.output)


def _run(job: Job) -> tuple[NotebookStatus, str]:
    notebook = read(job.notebook)
    with _private_jupyter(job):
        status, reason = _execute(notebook, _aside(job), job)
    executed = _partial(job) or notebook
    if status == "ok":
        status, reason = _really_ended(executed)
    elif status in ("timeout", "dead kernel"):
        _mark_stop(executed, status, reason)
    _write(executed, job.output)
    return status, reason


def _aside(job: Job) -> Path:
    return job.private_folder / "executed.ipynb"


def _partial(job: Job) -> nbformat.NotebookNode | None:
    """Papermill writes after every cell, so this is what the notebook had come to, unless it was cut while writing."""
    try:
        notebook: nbformat.NotebookNode = nbformat.read(_aside(job), as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return None
    return notebook


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers; a kernel follows its worker by itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _execute(notebook: nbformat.NotebookNode, aside: Path, job: Job) -> tuple[NotebookStatus, str]:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            notebook,
            str(aside).replace("{", "{{").replace("}", "}}"),  # papermill formats the path
            parameters=dict(job.parameters),
            kernel_name=KERNEL_NAME,
            language="python",  # a working copy made by another tool may not say it
            progress_bar=False,
            execution_timeout=job.cell_seconds,
            start_timeout=60,
            shutdown_kernel="immediate",
            config=Config(_transport(job.private_folder)),
            resources={"metadata": {"path": str(job.kernel_folder)}},
        )
    except PapermillExecutionError as error:
        return "error", f"cell {error.cell_index} raised {error.ename}: {error.evalue}"[:300]
    except CellTimeoutError:
        return "timeout", f"a cell ran longer than {job.cell_seconds} s"
    except DeadKernelError:
        return "dead kernel", "the kernel died while a cell ran"
    except Exception as error:  # the kernel did not start; the others still run, the report says so
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


def _mark_stop(notebook: nbformat.NotebookNode, status: NotebookStatus, reason: str) -> None:
    """Say at the cell that was started last that it never ended: papermill's labels and counts do not tell."""
    started = [cell for cell in notebook.cells if cell.metadata.get("papermill", {}).get("start_time")]
    if started and started[-1].cell_type == "code":
        started[-1].outputs.append(new_output("error", ename=status.capitalize(), evalue=reason, traceback=[]))


def _transport(private_folder: Path) -> dict[str, dict[str, str]]:
    """IPC where the system has it: each kernel needs a prefix of its own, in a folder with a short path."""
    if sys.platform == "win32" or len(os.fsencode(private_folder)) > _SOCKET_FOLDER_BYTES:
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
        "PYTHONSTARTUP": "",  # IPython would run it in a kernel too
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
    """Write the notebook without the traces of this machine (paths, the private kernel's name) and without floods."""
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    notebook.metadata["kernelspec"] = dict(_PRINTED)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_bounded(result) for result in cell.outputs]
    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)


def _bounded(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Cut printed text in its middle, and leave out any other output that is too large; both are said."""
    if output.output_type == "stream":
        output.text = _cut(output.text)
    elif output.output_type == "error":
        output.evalue, output.traceback = _cut(output.evalue), [_cut(line) for line in output.traceback]
    else:
        characters = len(json.dumps(output.data))
        if characters > _LARGEST_DATA:
            output.data = {"text/plain": f"An output of {characters:,} characters was left out of the report."}
    return output


def _cut(text: str) -> str:
    if len(text) <= OUTPUT_CHARACTERS:
        return text
    half = OUTPUT_CHARACTERS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters were left out of the report …\n{text[-half:]}"
