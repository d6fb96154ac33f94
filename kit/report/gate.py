"""The gate before publication: no known secret may stand in any file of a report."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq

from kit.errors import SecretFound

# Shapes that are secrets wherever they stand: a password in a URL, a private key, a signed token.
_SHAPES = (
    ("a password in a connection string", re.compile(rb"(?:postgres(?:ql)?|mysql|redis|amqp)(?:\+\w+)?://[^\s:/@\"'<>]{1,63}:(?!<masked>|&lt;masked|%3Cmasked|\*{3})[^\s@/\"'<>]{1,200}@")),
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("a signed token (JWT)", re.compile(rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
)
# Shorter passwords stand in ordinary words ("postgres", "shop"), so they cannot be told from text.
SHORTEST_SECRET = 6


def refuse_secrets(folder: Path, secrets: Iterable[str]) -> int:
    """Return how many files were scanned; SecretFound, naming file and kind but never the secret, if one holds any."""
    needles = [form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    for path in files:
        kind = _found(_content(path), needles)
        if kind:
            name = path.relative_to(folder)
            raise SecretFound(f"{name} would hold {kind}; nothing was published.", "Take it out of the source, then run again.")
    return len(files)


def _found(content: bytes, needles: Iterable[bytes]) -> str | None:
    if any(needle in content for needle in needles):
        return "a known secret"
    return next((kind for kind, shape in _SHAPES if shape.search(content)), None)


def _forms(secret: str) -> set[bytes]:
    """Return the secret as it may be written: plain, in a URL, in HTML, in JSON, in base64."""
    texts = {secret, quote(secret, safe=""), quote_plus(secret), html.escape(secret), json.dumps(secret)[1:-1]}
    encoded = base64.b64encode(secret.encode()).rstrip(b"=")
    return {text.encode() for text in texts} | {encoded}


def _content(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    return "\n".join(str(column.to_pylist()) for column in pq.read_table(path).columns).encode()
