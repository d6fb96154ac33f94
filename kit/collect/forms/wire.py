"""A small client of the PostgreSQL protocol, for a place where nothing but Python's standard library (3.8 or newer) is.

It is printed into the collector of form `python`. It sends the texts that it is given, one simple query each, and keeps
no secret in any of its errors.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import socket
import ssl
import struct
import unicodedata
from pathlib import Path
from typing import Any

from kit.collect.forms.place import Refused, code_of, socket_path, words_of

PROTOCOL = 196608
SSL_REQUEST = 80877103
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 20.0
LONGEST_MESSAGE = 1 << 30
STRANGER = "what answers there does not speak PostgreSQL's protocol"


class Connection:
    """One connection; `query` returns the first column of every row of one text, as bytes."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.is_encrypted = False
        self._end = b""
        self._scram: Any = None
        self._step = "tcp"
        self._socket = _opened(given)
        try:
            self._secure()
            self._start()
        except (Refused, OSError, struct.error, ValueError) as error:
            self.close()
            refused = error if isinstance(error, Refused) else Refused(words_of(error), code=code_of(error))
            refused.step = self._step
            raise refused from None

    def query(self, text: str) -> list[bytes]:
        """Return the first column; Refused where the server refuses, or the way to it is lost."""
        try:
            self._send(b"Q", text.encode() + b"\0")
            return self._rows()
        except (OSError, struct.error, ValueError) as error:
            raise Refused(words_of(error), "08006") from None

    def close(self) -> None:
        """End the connection, whatever state it is in."""
        try:
            self._send(b"X", b"")
            self._socket.close()
        except OSError:
            pass

    def _secure(self) -> None:
        mode = self.given.get("sslmode", "prefer")
        if self.given["host"].startswith("/") or mode in ("disable", "allow"):
            return
        self._step = "greeting"
        self._socket.sendall(struct.pack("!ii", 8, SSL_REQUEST))
        # One byte and no more: what comes behind it unencrypted is somebody else's.
        answer = self._socket.recv(4096)
        self._step = "tls" if answer in (b"S", b"N") else "greeting"
        if answer == b"S":
            self._socket = _context(mode, self.given).wrap_socket(self._socket, server_hostname=self.given["host"])
            self.is_encrypted = True
        elif not answer:
            raise Refused("the server closed the connection", code="CLOSED")
        elif answer[:1] == b"E" and len(answer) > 5:
            raise _refusal(answer[5:])
        elif answer != b"N":
            raise _strange(answer)
        elif mode != "prefer":
            raise Refused("the server does not support SSL, but sslmode asks for it", code="TLS_NOT_OFFERED")

    def _start(self) -> None:
        self._step = "authentication method"
        names = {"user": self.given.get("user", ""), "database": self.given.get("dbname", ""), "client_encoding": "UTF8"}
        body = b"".join(key.encode() + b"\0" + value.encode() + b"\0" for key, value in names.items())
        self._send(b"", struct.pack("!i", PROTOCOL) + body + b"\0")
        while True:
            kind, body = self._message()
            if kind == b"Z":
                self._step = "session"
                return
            if kind == b"E":
                raise _refusal(body)
            if kind == b"R":
                self._authenticate(body)

    def _authenticate(self, body: bytes) -> None:
        (method,) = struct.unpack("!i", body[:4])
        self._step = "authentication" if method else "database"
        if method == 3:
            if not (self.is_encrypted or _is_near(self.given["host"])):
                raise Refused("the server asks for the password in clear text over an unencrypted network; not sent")
            self._send(b"p", self._password() + b"\0")
        elif method == 5:
            inner = hashlib.md5(self._password() + self.given.get("user", "").encode()).hexdigest().encode()
            self._send(b"p", b"md5" + hashlib.md5(inner + body[4:8]).hexdigest().encode() + b"\0")
        elif method == 10:
            if b"SCRAM-SHA-256" not in body[4:].split(b"\0"):
                raise Refused("the server offers no SASL method that this client knows")
            self._scram = Scram(self._password())
            first = self._scram.first()
            self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif method == 11:
            self._send(b"p", self._scram.final(body[4:]))
        elif method == 12:
            self._scram.verify(body[4:])
        elif method != 0:
            raise Refused(f"the server asks for an authentication method ({method}) that this client does not know")

    def _password(self) -> bytes:
        if not self.given.get("password"):
            raise Refused("no password supplied, and the server asks for one")
        return unicodedata.normalize("NFKC", self.given["password"]).encode()

    def _rows(self) -> list[bytes]:
        rows, refusal = [], None
        while True:
            kind, body = self._message()
            if kind == b"D":
                (length,) = struct.unpack("!i", body[2:6])
                rows.append(body[6 : 6 + length] if length >= 0 else b"")
            elif kind == b"E":
                refusal = _refusal(body)
                if refusal.sqlstate.startswith("57P"):
                    raise refusal
            elif kind == b"Z":
                if refusal is not None:
                    raise refusal
                return rows

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _message(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!ci", self._read(5))
        if not 4 <= length <= LONGEST_MESSAGE:
            raise _strange(kind)
        return kind, self._read(length - 4)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise Refused("the server closed the connection", "08006" if self._step == "session" else "", "CLOSED")
            parts += part
        return bytes(parts)


class Scram:
    """SCRAM-SHA-256 without channel binding; the server has to prove that it knows the password too."""

    def __init__(self, password: bytes) -> None:
        self._secret = password
        self._nonce = base64.b64encode(os.urandom(18)).decode()
        self._proof = b""

    def first(self) -> bytes:
        """Return the first message."""
        return ("n,,n=,r=" + self._nonce).encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the answer to the server's challenge."""
        given = dict(part.split("=", 1) for part in challenge.decode().split(","))
        if not given["r"].startswith(self._nonce) or not 0 < int(given["i"]) <= 10_000_000:
            raise Refused("the server's challenge does not follow SCRAM")
        salted = hashlib.pbkdf2_hmac("sha256", self._secret, base64.b64decode(given["s"]), int(given["i"]))
        bare = "c=biws,r=" + given["r"]
        signed = ",".join(["n=,r=" + self._nonce, challenge.decode(), bare]).encode()
        key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(key).digest(), signed)
        self._proof = _hmac(_hmac(salted, b"Server Key"), signed)
        proof = bytes(one ^ other for one, other in zip(key, signature))  # noqa: B905
        return (bare + ",p=" + base64.b64encode(proof).decode()).encode()

    def verify(self, answer: bytes) -> None:
        """Refuse a server that does not know the password."""
        if not hmac.compare_digest(answer, b"v=" + base64.b64encode(self._proof)):
            raise Refused("the server did not prove that it knows the password")


def _opened(given: dict[str, str]) -> Any:
    try:
        if not given["host"].startswith("/"):
            connected: Any = socket.create_connection((given["host"], int(given["port"])), CONNECT_SECONDS)
        else:
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(CONNECT_SECONDS)
            connected.connect(socket_path(given))
    except (OSError, ValueError) as error:
        raise Refused(words_of(error), code=code_of(error)) from None
    connected.settimeout(STATEMENT_SECONDS)
    return connected


def _context(mode: str, given: dict[str, str]) -> ssl.SSLContext:
    root = given.get("sslrootcert")
    if root and root != "system" and not Path(root).is_file():
        raise Refused(f"the root certificate {root} is not there", code="TLS_NO_ROOT")
    context = ssl.create_default_context(cafile=None if root == "system" else root)
    context.check_hostname = mode == "verify-full"
    if not mode.startswith("verify") and not root:
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_near(host: str) -> bool:
    try:
        return host.startswith("/") or host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(body: bytes) -> Refused:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return Refused(fields.get(b"M", ""), fields.get(b"C", ""))


def _strange(data: bytes) -> Refused:
    """Return what spoke in PostgreSQL's place, as far as its first bytes tell."""
    if data[:5] == b"HTTP/":
        return Refused("an HTTP server answered", code="HTTP")
    if data[:4] == b"SSH-":
        return Refused("an SSH server answered", code="SSH")
    if data[3:4] == b"\0" and data[4:5] in (b"\x0a", b"\xff"):
        return Refused("a MySQL server answered", code="MYSQL")
    return Refused(STRANGER, code="STRANGER")


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, "sha256").digest()
