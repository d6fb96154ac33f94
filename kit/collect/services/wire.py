"""One HTTP request over a connection that is already open, with one deadline for all that is read."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, cast

from kit.collect.attempt.records import Budget, StepFailed, as_failure

MOST_BODY_BYTES = 64 * 1024
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")


class Deadline(Budget):
    """A budget that ends: a peer that sends a byte now and then cannot stretch it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def refuse_if_over(self) -> None:
        """Raise TimeoutError where no time is left."""
        if time.monotonic() >= self._end:
            raise TimeoutError


class Wire:
    """What `http.client` uses in place of the socket; counts the bytes that come and keeps the first ones."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.received = 0
        self.first = b""

    def receive(self, buffer: Any) -> int:
        """Fill the buffer with what has come; TimeoutError at the deadline."""
        self._deadline.refuse_if_over()
        self._connection.settimeout(self._deadline.left)
        count = self._connection.recv_into(buffer)
        self.first = self.first or bytes(buffer[: min(count, 8)])
        self.received += count
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that `http.client` reads from."""
        return io.BufferedReader(_Reader(self))

    def sendall(self, data: bytes) -> None:
        """Send all of it; TimeoutError at the deadline."""
        self._connection.settimeout(self._deadline.left)
        self._connection.sendall(data)

    def close(self) -> None:
        """Do nothing: `http.client` calls this before the body is read, and who opened the connection closes it."""


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive(buffer)


def ask(wire: Wire, host: str, port: int, target: str, method: str, headers: Mapping[str, str], *, tls: bool) -> Any:
    """Return the response, its headers read and its body not; StepFailed saying what came in their place."""
    connection = http.client.HTTPConnection(host, port)
    # The connection is made already; the port stands in the Host header only where it is not the usual one.
    connection.auto_open, connection.default_port = 0, http.client.HTTPS_PORT if tls else http.client.HTTP_PORT
    connection.sock = cast(Any, wire)
    try:
        connection.request(method, target, headers=dict(headers))
        return connection.getresponse()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _no_answer(error, wire) from None


def read_body(response: Any) -> tuple[bytes, bool, StepFailed | None]:
    """Return the body up to its bound, whether there was more, and why it ended before its end, if it did."""
    # The response's own count of what is left: not every Python 3.11 keeps it up in read1.
    pieces, size, announced = [], 0, response.length
    try:
        while size <= MOST_BODY_BYTES and size != announced and (piece := response.read1(MOST_BODY_BYTES + 1 - size)):
            pieces.append(piece)
            size += len(piece)
        failed = StepFailed("CLOSED", "the body ended before its announced length") if _is_short(announced, size) else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        failed = _no_body(error, size)
    return b"".join(pieces)[:MOST_BODY_BYTES], size > MOST_BODY_BYTES, failed


def _is_short(announced: int | None, size: int) -> bool:
    return announced is not None and size < min(announced, MOST_BODY_BYTES + 1)


def _no_answer(error: Exception, wire: Wire) -> StepFailed:
    if isinstance(error, TimeoutError) and wire.received:
        return StepFailed("UNFINISHED", f"an answer was begun ({wire.received} bytes) and not ended in time")
    if isinstance(error, http.client.RemoteDisconnected):
        return StepFailed("CLOSED", "the connection was closed without an answer")
    if isinstance(error, ssl.SSLError) and not isinstance(error, TimeoutError):
        if "CERTIFICATE_REQUIRED" in (error.reason or ""):
            return StepFailed("TLS_CLIENT_CERTIFICATE", "the server wants a certificate of who asks, and a probe has none")
        return StepFailed("TLS_REFUSED", f"the server ended the encrypted connection: {error.reason or 'no reason given'}")
    if isinstance(error, http.client.HTTPException | ValueError):
        return StepFailed("NOT_HTTP", _what_came(wire.first))
    return as_failure(error)


def _what_came(first: bytes) -> str:
    if first.startswith(_TLS_RECORDS):
        return "what answered speaks TLS: https is meant"
    if not first.startswith(b"HTTP/"):
        return "what answered does not speak HTTP"
    return "the answer is not HTTP as it has to be"


def _no_body(error: Exception, size: int) -> StepFailed:
    if isinstance(error, TimeoutError):
        return StepFailed("UNFINISHED", f"the body was begun ({size} bytes) and not ended in time")
    return StepFailed("CLOSED", f"the body broke off after {size} bytes")
