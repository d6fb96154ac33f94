"""As much of PostgreSQL's protocol as it takes to ask who is there: no password ever passes here.

Every read is bounded in bytes and in time.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kit.collect.attempt.records import StepFailed

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PROTOCOL = 196608
_LONGEST = 65_536
# All that a server may send before it is ready: anything else is not PostgreSQL.
_KINDS = b"RENSvKZTDCIX"
_SILENT_TERMINATE = b"X\0\0\0\4"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its kind, and what it holds."""

    kind: bytes
    body: bytes


def ask_for_tls(connection: socket.socket) -> bytes:
    """Return the byte that answers an SSLRequest, alone if it is PostgreSQL's; empty where the other side closed.

    S, N and E may be the first letter of another greeting (SSH's, or the length of MySQL's), which comes in one piece.
    """
    connection.sendall(_SSL_REQUEST)
    answer = connection.recv(1)
    return answer + _waiting(connection) if answer in (b"S", b"N") else answer


def _waiting(connection: socket.socket) -> bytes:
    """Return what has come already, without taking it."""
    seconds = connection.gettimeout()
    connection.setblocking(False)
    try:
        return connection.recv(512, socket.MSG_PEEK)
    except OSError:
        return b""
    finally:
        connection.settimeout(seconds)


def more(connection: socket.socket, seconds: float = 0.3) -> bytes:
    """Return what else stands there within a moment."""
    connection.settimeout(seconds)
    try:
        return connection.recv(512)
    except OSError:
        return b""


def start(connection: socket.socket, parameters: Mapping[str, str]) -> None:
    """Send the start packet: who wants which database."""
    body = b"".join(part.encode() + b"\0" for pair in parameters.items() for part in pair) + b"\0"
    connection.sendall(struct.pack("!II", len(body) + 8, _PROTOCOL) + body)


def ask(connection: socket.socket, statement: str) -> None:
    """Send one statement by the simple protocol."""
    body = statement.encode() + b"\0"
    connection.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)


def leave(connection: socket.socket) -> None:
    """Say goodbye, so that the server's log holds no lost connection."""
    try:
        connection.sendall(_SILENT_TERMINATE)
    except OSError:
        return


def receive(connection: socket.socket, until: float) -> Message:
    """Return the next message; StepFailed where the other side closed or is not PostgreSQL, TimeoutError at `until`."""
    head = _exactly(connection, 5, until)
    kind, length = head[:1], struct.unpack("!I", head[1:])[0]
    if kind not in _KINDS or not 4 <= length <= _LONGEST:
        raise strange(head + more(connection))
    return Message(kind, _exactly(connection, length - 4, until))


def _exactly(connection: socket.socket, count: int, until: float) -> bytes:
    found = b""
    while len(found) < count:
        # A server that sends a byte now and then must not hold the attempt for longer.
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(count - len(found))
        if not part:
            raise StepFailed("CLOSED", "the other side closed the connection without a word")
        found += part
    return found


def refusal(body: bytes) -> StepFailed:
    """Return an ErrorResponse as a failure: its SQLSTATE, and its words as libpq would write them."""
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    detail = f" DETAIL: {fields[b'D']}" if b"D" in fields else ""
    words = f"{fields.get(b'S', 'ERROR')}: {fields.get(b'M', 'no message')}{detail}"
    code = fields.get(b"C", "")
    return StepFailed(code if len(code) == 5 and code.isalnum() else "08P01", words)


def old_refusal(text: bytes) -> StepFailed:
    """Return an error in the form that a server uses when it cannot even start a process."""
    if text[2:3] == b"\0" and text[3:4] in (b"\x0a", b"\xff"):
        return strange(b"E" + text)
    return StepFailed("08P01", text.rstrip(b"\0\n").decode("utf-8", "replace"))


def strange(data: bytes) -> StepFailed:
    """Return what spoke in PostgreSQL's place, as far as its first bytes tell."""
    if data[:5] == b"HTTP/":
        return StepFailed("HTTP", "an HTTP server answered")
    if data[:4] == b"SSH-":
        return StepFailed("SSH", "an SSH server answered")
    if data[:2] == b"\x15\x03":
        return StepFailed("TLS_SERVER", "a server answered that speaks TLS from the first byte, such as HTTPS")
    if data[3:4] == b"\0" and data[4:5] in (b"\x0a", b"\xff"):
        return StepFailed("MYSQL", f"a MySQL server answered{_mysql_version(data)}")
    return StepFailed("STRANGER", f"the answer begins with the bytes {data[:8].hex(' ')}, which no PostgreSQL server sends")


def _mysql_version(data: bytes) -> str:
    version = data[5 : data.find(b"\0", 5)] if data[4:5] == b"\x0a" else b""
    text = version[:40].decode("ascii", "replace")
    return f" (version {text})" if text and text.isprintable() else ""
