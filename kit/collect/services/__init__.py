"""Probes of services: how far a request to each of them comes, and what it says of itself."""

from __future__ import annotations

import hashlib
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from kit.collect.secrecy import Secrecy
from kit.collect.services.addresses import secrets_of
from kit.collect.services.frame import COLUMNS, NAME, Row, evidence
from kit.collect.services.probe import Probe
from kit.collect.services.recorded import moment, recorded_rows
from kit.errors import TargetError
from kit.evidence.model import Evidence, Gap, Source
from kit.target.services import Services

__all__ = ["COLUMNS", "NAME", "collect_services"]


def collect_services(services: Services, secrecy: Secrecy | None = None) -> Source:
    """Return the source of the services' probes: all asked at once, in `services.seconds` at most, or read from their file.

    A file that cannot be used, or an authority that cannot be read, is the source's gap.
    """
    try:
        found, gaps = {NAME: _recorded(services) if services.recorded else _probed(services)}, {}
    except TargetError as error:
        found, gaps = {}, {NAME: Gap(kind="not given", reason=error.message)}
    source = Source(name="services", kind="services", vantage=services.vantage, evidence=found, gaps=gaps)
    own = Secrecy({secret for service in services.urls for secret in secrets_of(service.url)})
    return (secrecy or Secrecy()).source(own.source(source))


def _probed(services: Services) -> Evidence:
    context, at, clock = _trusting(services.ca), datetime.now(UTC), time.perf_counter()
    names = [service.name for service in services.urls]
    probes = [Probe(service, context, services.seconds, names) for service in services.urls]
    with ThreadPoolExecutor(max_workers=len(probes), thread_name_prefix="kit-probe") as pool:
        rows = [{**row, "vantage": services.vantage} for row in pool.map(Probe.run, probes)]
    text = "\n".join(f"{row['method']} {row['url']}" for row in rows)
    return evidence(rows, at, time.perf_counter() - clock, text)


def _recorded(services: Services) -> Evidence:
    assert services.recorded is not None
    clock = time.perf_counter()
    rows, content = recorded_rows(services.recorded)
    text = f"{services.recorded.name} (SHA-256 {hashlib.sha256(content).hexdigest()})"
    told: list[Row] = [{**row, "vantage": row.get("vantage") or services.vantage} for row in rows]
    return evidence(told, moment(rows) or _written_at(services.recorded), time.perf_counter() - clock, text)


def _written_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _trusting(ca: Path | None) -> ssl.SSLContext:
    """Return what verifies: the system's authorities (or SSL_CERT_FILE), and `ca` beside them."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        try:
            # OpenSSL would wait for a pipe without an end.
            context.load_verify_locations(cafile=ca if ca.is_file() else "")
        except (ssl.SSLError, OSError):
            raise TargetError(f"The certificate of the authority {ca} cannot be read.", "Mend ca of the services.") from None
    return context
