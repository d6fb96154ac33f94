"""One probe of one service: name, TCP, TLS, answer and body, each with its time, until one of them fails.

No credentials are sent, no redirect is followed, no proxy is used, and the certificate is always verified.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from socket import socket
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import kit
from kit.collect.attempt.certificate import read_certificate
from kit.collect.attempt.network import RESOLVE_SECONDS, connected, resolved
from kit.collect.attempt.options import Endpoint
from kit.collect.attempt.records import Recorder, StepFailed, Stop, as_failure
from kit.collect.attempt.records import Row as Tried
from kit.collect.attempt.tls import VERIFY_CODES
from kit.collect.services.addresses import shown_location, shown_url
from kit.collect.services.body import body_fields, mentioned
from kit.collect.services.frame import STEPS, Step, plain, texts
from kit.collect.services.wire import Deadline, Wire, ask, read_body
from kit.target.services import ServiceUrl, port_of

_HEADERS = {
    "User-Agent": f"incident-kit/{kit.__version__}",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
# What OpenSSL says where the peer speaks plainly; it differs between its versions.
_PLAIN_PEER = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")
# Of several addresses one may be of a family that this machine has no way to at all; the others tell.
_NO_WAY = ("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT")
_Found = TypeVar("_Found")


class Probe:
    """Collects the columns of one row; `run` never raises for what a network or a service may do."""

    def __init__(self, service: ServiceUrl, context: ssl.SSLContext, seconds: float, names: Collection[str]) -> None:
        self._service = service
        self._parts = urlsplit(service.url)
        self._context = context
        self._deadline = Deadline(seconds)
        self._names = [name for name in names if name != service.name]
        self.row: dict[str, Any] = {
            "service_name": service.name,
            "url": shown_url(service.url),
            "method": service.method,
            "allowed_seconds": seconds,
            "ignores_proxy": _has_proxy(self._parts),
            "at": datetime.now(UTC),
        }

    def run(self) -> dict[str, Any]:
        """Return the row; the steps after the one that failed have no time."""
        try:
            with suppress(Stop), ExitStack() as held:
                self._read(self._asked(held.enter_context(self._secured(held.enter_context(self._connected())))))
        except Exception as error:
            # What nobody has thought of must not take the other probes with it.
            self._die(self._unfinished(), StepFailed("INVALID", f"{type(error).__name__}: the answer cannot be used"))
        return self.row

    def _unfinished(self) -> Step:
        steps = [step for step in STEPS if not (step == "tls" and self._parts.scheme == "http")]
        return next((step for step in steps if f"{step}_seconds" not in self.row), "body")

    def _connected(self) -> socket:
        steps = Recorder(self._deadline)
        endpoint = Endpoint(self._parts.hostname or "", None, port_of(self._parts))
        addresses = self._timed("name", lambda: resolved(endpoint, self._deadline.share(RESOLVE_SECONDS)))[0]
        clock = time.perf_counter()
        try:
            return connected(steps, addresses)[0]
        except Stop:
            told = _telling(steps.rows)
            self._die("tcp", StepFailed(told.error_code or "", told.message or ""))
            raise
        finally:
            self.row["tcp_seconds"] = round(time.perf_counter() - clock, 4)
            self.row["addresses"] = [f"{row.address} {row.error_code or 'answered'}" for row in steps.rows]

    def _secured(self, connection: socket) -> socket:
        if self._parts.scheme == "http":
            return connection
        encrypted = self._timed("tls", lambda: self._handshake(connection))
        shown = read_certificate(encrypted.getpeercert(binary_form=True) or b"")
        self.row["tls"] = plain(f"{encrypted.version()}, {shown.words if shown else 'a certificate that cannot be read'}", 400)
        return encrypted

    def _handshake(self, connection: socket) -> ssl.SSLSocket:
        connection.settimeout(self._deadline.left)
        try:
            return self._context.wrap_socket(connection, server_hostname=self._parts.hostname)
        except ssl.SSLCertVerificationError as error:
            raise StepFailed(VERIFY_CODES.get(error.verify_code, "TLS_REFUSED"), error.verify_message) from None
        except ssl.SSLError as error:
            raise _no_handshake(error) from None
        except ConnectionError:
            raise StepFailed("TLS_HANDSHAKE", "the server closed during the handshake") from None

    def _asked(self, connection: socket) -> Any:
        wire, parts = Wire(connection, self._deadline), self._parts
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        place = (parts.hostname or "", port_of(parts))
        return self._timed(
            "answer", lambda: ask(wire, *place, target, self._service.method, _HEADERS, tls=parts.scheme == "https")
        )

    def _read(self, response: Any) -> None:
        location, kind = response.headers.get("Location"), response.headers.get("Content-Type")
        self.row["http_status"] = response.status
        self.row["location"] = shown_location(self._service.url, str(location)) if location else None
        self.row["content_type"] = plain(str(kind), 100) if kind else None
        clock = time.perf_counter()
        content, is_cut, failed = read_body(response)
        self.row["body_seconds"] = round(time.perf_counter() - clock, 4)
        self.row |= {"body_bytes": len(content), "body_is_cut": is_cut}
        self.row["body_fields"] = [] if is_cut or failed else body_fields(content, self._names)
        self.row["mentioned_services"] = texts(mentioned(content, self._names), len(self._names))
        if failed:
            self._die("body", failed)

    def _timed(self, step: Step, act: Callable[[], _Found]) -> _Found:
        clock = time.perf_counter()
        try:
            return act()
        except (StepFailed, OSError, ValueError) as error:
            self._die(step, as_failure(error))
            raise Stop from None
        finally:
            self.row[f"{step}_seconds"] = round(time.perf_counter() - clock, 4)

    def _die(self, step: Step, failed: StepFailed) -> None:
        self.row |= {"died_at": step, "error_code": failed.code, "message": plain(failed.words)}


def _telling(tried: Sequence[Tried]) -> Tried:
    """Return the failure that says most: the last one at an address that this machine has a way to."""
    return next((row for row in reversed(tried) if row.error_code not in _NO_WAY), tried[-1])


def _no_handshake(error: ssl.SSLError) -> StepFailed:
    # A time-out of the handshake is an OSError too, and has no reason of OpenSSL's.
    if error.reason in _PLAIN_PEER:
        return StepFailed("NOT_TLS", "what answered does not speak TLS: http may be meant")
    return StepFailed("TLS_HANDSHAKE", error.reason or "the handshake failed")


def _has_proxy(parts: SplitResult) -> bool:
    named = getproxies()
    return bool(named.get(parts.scheme) or named.get("all")) and not proxy_bypass(parts.netloc)
