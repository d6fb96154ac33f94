"""What a health endpoint's body says: a few fields of a small JSON document, as text, without what may be a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from kit.collect import masking
from kit.collect.services.frame import plain

MOST_FIELDS = 30
_DEEPEST = 4
_LONGEST_VALUE = 120
# Where a service says how it is; what stands below one of these is taken with it.
_WANTED_WORDS = """
    status state health healthy ok ready live up alive success database db postgres postgresql sql pool uptime uptime_seconds
    uptimeseconds version revision commit error errors message reason detail details title dependency dependencies upstream
    upstreams downstream checks check components component services service timestamp time
"""
_WANTED = frozenset(_WANTED_WORDS.split())
_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|authoriz|cookie|signature|_key$|key$|dsn|url|uri|conninfo|conn\w*str", re.I
)
# The same inside of a sentence, beside the tokens that `masking` knows: a pair, and a query's values.
_INLINE = re.compile(
    r"""([?&][\w.-]+=|(?:secret|passw|pwd|passphrase|credential|cookie|signature)\w*["']?\s*[=:]\s*)(?!<masked>)[^\s,;&"']+""",
    re.I,
)
_STATES = frozenset("status state health healthy ok ready live up alive success".split())
_STRANGE = re.compile(r"[^\w.\-/ ]", re.ASCII)


def body_fields(content: bytes, names: Collection[str]) -> list[str]:
    """Return the chosen fields as `path: value`; nothing where it is not a JSON object or list."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return []
    return [field for _, field in zip(range(MOST_FIELDS), _fields(document, "", names, False, 0), strict=False)]


def masked_field(path: str, value: str) -> str:
    """Return `path: value` in one line, the value masked where its key or its shape is that of a secret."""
    *above, key = path.split(".")
    is_below = key.lower() not in _STATES and any(_SECRET.search(part) for part in above)
    return f"{path}: {masking.MASKED if is_below or _SECRET.search(key) else masked_words(plain(value, _LONGEST_VALUE))}"


def masked_words(text: str) -> str:
    """Return a sentence without what may be a secret in it."""
    return _INLINE.sub(rf"\1{masking.MASKED}", masking.tokens_masked(masking.message(text)))


def mentioned(content: bytes, names: Collection[str]) -> list[str]:
    """Return those of the names that stand in the body as a word."""
    text = content.decode("utf-8", "replace").lower()
    return [name for name in names if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", text)]


def _fields(value: Any, path: str, names: Collection[str], taken: bool, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    for key, item in _items(value):
        wanted = taken or key.lower() in _WANTED or key.lower() in names
        below = f"{path}{'.' if path else ''}{plain(_STRANGE.sub('_', key), 60)}"
        if isinstance(item, (dict, list)):
            yield from _fields(item, below, names, wanted, depth + 1)
        elif wanted:
            yield masked_field(below, item if isinstance(item, str) else json.dumps(item))


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(position), item) for position, item in enumerate(value))
