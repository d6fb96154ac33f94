"""The matrix on disk: written role by role, so that it need not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kit.analyze.access.matrix import SCHEMA, Matrix
from kit.errors import RunError, UsageError
from kit.evidence.model import Frames


def write_matrix(
    frames: Frames,
    path: Path,
    roles: Iterable[str] | None = None,
    actions: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the matrix as a Parquet file, replacing what stands there, whole or not at all; return its number of rows.

    Raises UsageError for a role, action or kind that there is not, or where the file cannot be put; RunError where the
    disk does not take it.
    """
    matrix = Matrix(frames, roles, actions, kinds)
    aside = _aside(path)
    try:
        _write(matrix, aside, progress)
        aside.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {error.strerror or error}.", "Name another file, or free some space."
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return len(matrix)


def _aside(path: Path) -> Path:
    """Return an empty file beside the wanted one, for the owner's eyes: the matrix tells an attacker where to go."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            return Path(file.name)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name a file in a folder you may write to.") from error


def _write(matrix: Matrix, path: Path, progress: Callable[[str], None]) -> None:
    with pa.OSFile(str(path), "wb") as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for role, batch in zip(matrix.roles, matrix.batches(), strict=True):
            progress(f"The matrix: {role}")
            writer.write_batch(batch)
