"""No value of a token's claims stands in what a trial tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kit.collect.masking import MASKED

SHORTEST = 3


def hider(claims: Mapping[str, Any], role: str) -> Callable[[str], str]:
    """Return what masks every value of the claims, at any depth, in any writing; the tried role's own name stays.

    >>> hider({"app": {"emails": ["joe@example.com"]}}, "web")("no tenant for Joe@Example.com")
    'no tenant for <masked>'
    """
    values = {text for text in _scalars(claims) if len(text) >= SHORTEST and text != role}
    # The longest first: a shorter one may be part of it.
    found = sorted({writing for value in values for writing in _writings(value)}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, found)) or r"(?!)", re.IGNORECASE)
    return lambda text: pattern.sub(MASKED, text)


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _scalars(item)
    elif value is not None and not isinstance(value, bool):
        # true, false and null are nobody's secret, and words of every message.
        yield value if isinstance(value, str) else json.dumps(value)


def _writings(value: str) -> set[str]:
    json_texts = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    flat = " ".join(value.split())
    return {writing for writing in {value, value.replace("'", "''"), flat, *json_texts} if len(writing) >= SHORTEST}
