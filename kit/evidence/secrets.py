"""What a secret looks like: the shapes and writings that the gate refuses, and that evidence therefore never holds."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

# Shapes that are secrets wherever they stand: a password in a URL, a private key, a signed token. ASCII in every
# class, so that text and its bytes match alike.
_PASSWORD_IN_URL = (
    r"(?:postgres(?:ql)?|mysql|redis|amqp)(?:\+\w+)?://[^\s:/@\"'<>]{1,63}:"
    r"(?!<masked>|&lt;masked|%3Cmasked|\*{3})[^\s@/\"'<>]{1,200}@"
)
SHAPES = (
    ("a password in a connection string", _PASSWORD_IN_URL),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    ("a signed token (JWT)", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
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


def needles(secrets: Iterable[str], names: Iterable[str] = ()) -> set[str]:
    """Return the texts that would give one of the secrets away; `names` may stand anywhere, so they are ordinary."""
    ordinary = {name.casefold() for name in names}
    return {form for secret in secrets if secret for form in _needles(secret, ordinary)}


def _needles(secret: str, ordinary: set[str]) -> set[str]:
    is_word = len(secret) <= _LONGEST_WORD and _WORD.fullmatch(secret)
    if len(secret) < SHORTEST_SECRET or is_word or secret.casefold() in ordinary:
        return {form for place in _PLACES for form in written(place.format(secret))}
    return written(secret) | _in_base64(secret)


def written(text: str) -> set[str]:
    """Return the text as it may be written: plain, in a URL, in HTML, in JSON, and one inside the other."""
    once = {write(text) for write in _WRITERS}
    return {write(form) for form in once for write in _WRITERS}


def _in_base64(text: str) -> set[str]:
    """Return the three ways in which base64 writes a text that stands inside another; its edges mix with the neighbours."""
    found, content = set(), text.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + content).decode("ascii")
        whole = encoded[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        found |= {whole, whole.translate(str.maketrans("+/", "-_"))}
    return found


def _markup_safe(text: str) -> str:
    """As Jinja writes it: the same as html.escape, with other numbers for the quotes."""
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _quoted(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="surrogatepass")


_WRITERS: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: _quoted(text, ""),
    lambda text: _quoted(text, "/"),
    lambda text: quote_plus(text, errors="surrogatepass"),
    html.escape,
    lambda text: html.escape(text, quote=False),
    _markup_safe,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
)
