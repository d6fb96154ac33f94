"""The services of a target, as kit.toml names them. Nothing is asked here, and no credentials are taken.

    [targets.shop.services]
    backend = "https://backend.example/health"
    auth = {url = "https://auth.example/health", method = "HEAD"}   # GET where nothing is said
    ca = "corporate-ca.pem"       # an authority to trust beside the system's, relative to this file
    seconds = 5                   # for one probe in all, 10 at most; all run at once

or, in place of the table, a file that was made where the services can be seen, by
`kit show --target shop service_probes --json`:

    [targets.shop]
    services = "probes.json"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import SplitResult, urlsplit

from kit.errors import TargetError

MOST_SECONDS = 10.0
MOST_SERVICES = 50
Method = Literal["GET", "HEAD"]
_METHODS = ("GET", "HEAD")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_SETTINGS = ("ca", "seconds")


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """One service and the URL it is asked at; the query may hold a key, so the URL is never shown as it is."""

    name: str
    url: str = field(repr=False)
    method: Method = "GET"


@dataclass(frozen=True, slots=True)
class Services:
    """The services of a target: URLs to ask, or a file that tells how they answered elsewhere."""

    urls: tuple[ServiceUrl, ...] = ()
    recorded: Path | None = None
    ca: Path | None = None
    seconds: float = MOST_SECONDS
    vantage: str = "here"


def services_of(value: Any, folder: Path, vantage: str, where: str) -> Services | None:
    """Return what the key `services` says, or None without one; TargetError, which repeats no URL, where it cannot be meant."""
    if value is None:
        return None
    if isinstance(value, str):
        return Services(
            recorded=folder / _file(value, f"services of {where}", '[targets.NAME.services], NAME = "URL"'), vantage=vantage
        )
    named = {key: item for key, item in value.items() if key not in _SETTINGS} if isinstance(value, dict) else {}
    if not named or len(named) > MOST_SERVICES:
        hint = f'Write [targets.NAME.services] with one line backend = "https://…/health" each; at most {MOST_SERVICES}.'
        raise TargetError(f"services of {where} is neither a file nor a table of URLs.", hint)
    urls = tuple(_service(name, item, where) for name, item in named.items())
    ca = folder / _ca(value["ca"], where) if "ca" in value else None
    return Services(urls, ca=ca, seconds=_seconds(value.get("seconds", MOST_SECONDS), where), vantage=vantage)


def _service(name: str, item: Any, where: str) -> ServiceUrl:
    entry: Mapping[str, Any] = item if isinstance(item, dict) else {"url": item}
    if not _NAME.match(name):
        raise TargetError(f"{name!r} of {where} cannot name a service.", "Use small letters, digits, '.', '_' and '-'.")
    if not isinstance(entry.get("url"), str) or entry.keys() - {"url", "method"}:
        hint = f'Write {name} = "https://…/health", or {name} = {{url = "…", method = "HEAD"}}.'
        raise TargetError(f"Service {name!r} of {where} is not a URL.", hint)
    method = entry.get("method", "GET")
    if method not in _METHODS:
        raise TargetError(f"Service {name!r} of {where} is to be asked with a method other than GET and HEAD.", "Take one.")
    _refuse_url(entry["url"], f"The URL of service {name!r} of {where}")
    return ServiceUrl(name, entry["url"], cast(Method, method))


def _refuse_url(url: str, what: str) -> None:
    # Python's own reader would drop tabs and line ends in silence, and they may be the very defect.
    if not (url.isascii() and url.isprintable()) or " " in url:
        hint = "Percent-encode what stands in its path, and write the host in punycode."
        raise TargetError(f"{what} holds a space, an invisible character or one that is not ASCII.", hint)
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise TargetError(f"{what} cannot be read.", "Write it as https://HOST/health.") from None
    if "@" in parts.netloc:
        raise TargetError(f"{what} holds a user or password: a probe sends no credentials.", "Take out what stands before @.")
    if parts.scheme not in ("http", "https") or not has_place:
        raise TargetError(f"{what} is not one of http or https with a host.", "Write it as https://HOST/health.")


def _ca(value: Any, where: str) -> str:
    return _file(value if isinstance(value, str) else "", f"ca of the services of {where}", 'ca = "ca.pem"')


def _file(value: str, what: str, example: str) -> str:
    # A URL in its place may hold a key, which the words about a missing file would repeat.
    if not value or "://" in value:
        raise TargetError(f"{what} is not the name of a file.", f"Write it as {example}.")
    return value


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MOST_SECONDS:
        raise TargetError(f"seconds of the services of {where} is not a number up to {MOST_SECONDS:.0f}.", "Write seconds = 5.")
    return float(value)


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, its scheme's own where it names none."""
    return parts.port or (443 if parts.scheme == "https" else 80)
