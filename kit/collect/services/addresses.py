"""What of a URL may be shown: place and path, and the names in its query without their values.

A part of the path that looks as if a machine had made it (a webhook's key, a link to set a password) is masked too, and so
is what follows a semicolon, where some servers write the session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, unquote_plus, urljoin, urlsplit

from kit.collect.masking import MASKED
from kit.collect.services.frame import plain

_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_FEWEST_DIGITS = 2


def shown_url(url: str) -> str:
    """Return the URL without user and password, without fragment, and with what may be a key in path and query masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    place = parts.netloc.rpartition("@")[2]
    return plain(f"{parts.scheme}://{place}{_shown_path(parts)}{_shown_query(parts)}", 300)


def shown_location(base: str, location: str) -> str:
    """Return where a redirect points, as `shown_url`."""
    try:
        return shown_url(urljoin(base, location))
    except ValueError:
        return "a URL that cannot be read"


def secrets_of(url: str) -> set[str]:
    """Return what `shown_url` masks, in each writing: a service may say it back."""
    parts = urlsplit(url)
    values = (*_query_values(parts), *(part for part in re.split("[/;]", parts.path) if _is_key(part)))
    return {form for value in values for form in (value, unquote(value), unquote_plus(value))}


def _query_values(parts: SplitResult) -> Iterator[str]:
    for pair in parts.query.split("&"):
        name, mark, value = pair.partition("=")
        if value or not mark:
            yield value or name


def _shown_path(parts: SplitResult) -> str:
    return "/".join(_shown_part(*part.partition(";")) for part in parts.path.split("/"))


def _shown_part(name: str, mark: str, _: str) -> str:
    shown = MASKED if _is_key(name) else name
    return f"{shown};{MASKED}" if mark else shown


def _is_key(part: str) -> bool:
    runs = _RUN.findall(unquote(part))
    return any(not run.isdigit() and sum(map(str.isdigit, run)) >= _FEWEST_DIGITS for run in runs)


def _shown_query(parts: SplitResult) -> str:
    if not parts.query:
        return ""
    names = (pair.partition("=") for pair in parts.query.split("&"))
    return "?" + "&".join(f"{name}={MASKED}" if mark else MASKED for name, mark, _ in names)
