"""The gate before publication: no known secret may stand in any file of a report."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import SecretFound

# Shapes that are secrets wherever they stand: a password in a URL, a private key, a signed token.
_PASSWORD_IN_URL = (
    rb"(?:postgres(?:ql)?|mysql|redis|amqp)(?:\+\w+)?://[^\s:/@\"'<>]{1,63}:"
    rb"(?!<masked>|&lt;masked|%3Cmasked|\*{3})[^\s@/\"'<>]{1,200}@"
)
_SHAPES = (
    ("a password in a connection string", re.compile(_PASSWORD_IN_URL)),
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("a signed token (JWT)", re.compile(rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
)
# An ordinary word as a password ("postgres", "123456") stands in text that gives nothing away, and so does one that is
# also the user's or the database's name. Such a one is looked for only where a password stands.
SHORTEST_SECRET = 6
_LONGEST_WORD = 11
_WORD = re.compile(r"[A-Za-z]+|[0-9]+")
_PLACES = (
    ":{}@",
    "password={}",
    "password='{}'",
    'password="{}"',
    "password '{}'",
    "password: {}",
    '"password": "{}"',
    "PGPASSWORD={}",
)


def refuse_secrets(folder: Path, secrets: Iterable[str], names: Iterable[str] = ()) -> int:
    """Return how many files were scanned; SecretFound, naming file and kind but never the secret, if one holds any.

    `names` stand in the report rightly: a secret that equals one is looked for only where a password stands.
    """
    ordinary = {name.casefold() for name in names}
    needles = sorted({form for secret in secrets if secret for form in _needles(secret, ordinary)})
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


def _needles(secret: str, ordinary: set[str]) -> set[bytes]:
    is_word = len(secret) <= _LONGEST_WORD and _WORD.fullmatch(secret)
    if len(secret) < SHORTEST_SECRET or is_word or secret.casefold() in ordinary:
        return {form for place in _PLACES for form in _written(place.format(secret))}
    return _written(secret) | _in_base64(secret)


def _written(text: str) -> set[bytes]:
    """Return the text as it may be written: plain, in a URL, in HTML, in JSON, and one inside the other."""
    once = {write(text) for write in _WRITERS}
    return {write(form).encode("utf-8", "surrogatepass") for form in once for write in _WRITERS}


def _in_base64(text: str) -> set[bytes]:
    """Return the three ways in which base64 writes a text that stands inside another; its edges mix with the neighbours."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode("utf-8", "surrogatepass"))
        whole = encoded[-(-before * 8 // 6) : (before + len(text.encode("utf-8", "surrogatepass"))) * 8 // 6]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def _markup_safe(text: str) -> str:
    """As Jinja writes it: the same as html.escape, with other numbers for the quotes."""
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


_WRITERS: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: quote(text, safe=""),
    lambda text: quote(text),
    quote_plus,
    html.escape,
    lambda text: html.escape(text, quote=False),
    _markup_safe,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
)


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
