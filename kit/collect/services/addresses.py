"""What of a URL may be shown: place and path, and the names in its query without their values."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, unquote_plus, urljoin, urlsplit

from kit.collect.masking import MASKED
from kit.collect.services.frame import plain


def shown_url(url: str) -> str:
    """Return the URL without user and password, without fragment, and with the values of its query masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    place = parts.netloc.rpartition("@")[2]
    return plain(f"{parts.scheme}://{place}{parts.path}{_shown_query(parts)}", 300)


def shown_location(base: str, location: str) -> str:
    """Return where a redirect points, as `shown_url`."""
    try:
        return shown_url(urljoin(base, location))
    except ValueError:
        return "a URL that cannot be read"


def secrets_of(url: str) -> set[str]:
    """Return the values of the query, in each writing: a service may say them back."""
    return {form for value in _query_values(urlsplit(url)) for form in (value, unquote(value), unquote_plus(value))}


def _query_values(parts: SplitResult) -> Iterator[str]:
    for pair in parts.query.split("&"):
        name, mark, value = pair.partition("=")
        if value or not mark:
            yield value or name


def _shown_query(parts: SplitResult) -> str:
    if not parts.query:
        return ""
    names = (pair.partition("=") for pair in parts.query.split("&"))
    return "?" + "&".join(f"{name}={MASKED}" if mark else MASKED for name, mark, _ in names)
