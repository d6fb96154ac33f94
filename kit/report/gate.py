"""The gate before publication: no known secret may stand in any file of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import SecretFound
from kit.evidence.secrets import SHAPES, needles

# Compiled for bytes: the text of a page, or of a column, in UTF-8.
_SHAPES = [(kind, re.compile(shape.encode("ascii"))) for kind, shape in SHAPES]


def refuse_secrets(folder: Path, secrets: Iterable[str], names: Iterable[str] = ()) -> int:
    """Return how many files were scanned; SecretFound, naming file and kind but never the secret, if one holds any.

    `names` stand in the report rightly: a secret that equals one is looked for only where a password stands.
    """
    forms = sorted(form.encode("utf-8", "surrogatepass") for form in needles(secrets, names))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    for path in files:
        kind = _found(_content(path), forms)
        if kind:
            name = path.relative_to(folder)
            raise SecretFound(f"{name} would hold {kind}; nothing was published.", "Take it out of the source, then run again.")
    return len(files)


def _found(content: bytes, forms: Iterable[bytes]) -> str | None:
    if any(form in content for form in forms):
        return "a known secret"
    return next((kind for kind, shape in _SHAPES if shape.search(content)), None)


def _content(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    texts = (text for column in pq.read_table(path).columns if not _is_number(column.type) for text in _texts(column.to_pylist()))
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield value if isinstance(value, str) else str(value)
