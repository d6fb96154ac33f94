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
import re
import socket
import ssl
import stat
import struct
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

PROTOCOL = 196608
SSL_REQUEST = 80877103
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 20.0
LONGEST_MESSAGE = 1 << 30
UNREADABLE = "the connection string cannot be read: percent-encode @ / # ? : and % in user and password"


class Refused(Exception):
    """What the server, or the way to it, answered: a SQLSTATE where there is one, and words without any secret."""

    def __init__(self, words: str, sqlstate: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.sqlstate = sqlstate


def parameters(text: str) -> dict[str, str]:
    """Return the parts of a connection string by libpq's keywords, what it leaves out from PGHOST and its like.

    Of several hosts the first. Raises Refused where the parts cannot be told apart: one of them might be a password's.
    """
    found = _of_url(text) if "://" in text else _of_keywords(text)
    found.update({key: found[key].split(",")[0] for key in ("host", "port") if key in found})
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    names.update({"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"})
    given = {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}
    given.update({key: value for key, value in found.items() if value})
    given.setdefault("port", "5432")
    given.setdefault("host", "/var/run/postgresql" if Path("/var/run/postgresql").is_dir() else "localhost")
    given.setdefault("dbname", given.get("user", ""))
    return given


def _of_url(text: str) -> dict[str, str]:
    rest = re.sub(r"^jdbc:", "", text).partition("://")[2]
    address, _, query = rest.partition("?") if "@" in rest.partition("?")[0] else _without_credentials(rest)
    place, _, database = address.rpartition("@")[2].partition("/")
    credentials = address.rpartition("@")[0]
    user, _, password = credentials.partition(":")
    host, _, port = place.rpartition(":") if re.search(r":\d*$", place) else (place, "", "")
    found = {"host": host.strip("[]"), "port": port, "user": user, "password": password, "dbname": database}
    found = {key: unquote(value) for key, value in found.items()}
    found.update({key: value for key, value in parse_qsl(query) if value})
    if "ssl" in found:
        found.setdefault("sslmode", "require")
    return found


def _without_credentials(rest: str) -> tuple[str, str, str]:
    address, mark, query = rest.partition("?")
    if "@" in query and not re.match(r"[a-z_]+=", query):
        raise Refused(UNREADABLE)
    return address, mark, query


def _of_keywords(text: str) -> dict[str, str]:
    pattern = re.compile(r"\s*(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)")
    if pattern.sub("", text).strip():
        raise Refused(UNREADABLE)
    return {key: re.sub(r"\\(.)", r"\1", re.sub(r"^'(.*)'$", r"\1", value)) for key, value in pattern.findall(text)}


class Connection:
    """One connection; `query` returns the first column of every row of one text, as bytes."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.is_encrypted = False
        self._end = b""
        self._scram: Any = None
        self._socket = _opened(given)
        try:
            self._secure()
            self._start()
        except (OSError, struct.error, ValueError) as error:
            self.close()
            raise Refused(words_of(error)) from None

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
        self._socket.sendall(struct.pack("!ii", 8, SSL_REQUEST))
        answer = self._read(1)
        if answer == b"S":
            self._socket = _context(mode, self.given).wrap_socket(self._socket, server_hostname=self.given["host"])
            self.is_encrypted = True
        elif answer != b"N":
            raise Refused("what answers there does not speak PostgreSQL's protocol")
        elif mode != "prefer":
            raise Refused("the server does not support SSL, but sslmode asks for it")

    def _start(self) -> None:
        names = {"user": self.given.get("user", ""), "database": self.given.get("dbname", ""), "client_encoding": "UTF8"}
        body = b"".join(key.encode() + b"\0" + value.encode() + b"\0" for key, value in names.items())
        self._send(b"", struct.pack("!i", PROTOCOL) + body + b"\0")
        while True:
            kind, body = self._message()
            if kind == b"Z":
                return
            if kind == b"E":
                raise _refusal(body)
            if kind == b"R":
                self._authenticate(body)

    def _authenticate(self, body: bytes) -> None:
        (method,) = struct.unpack("!i", body[:4])
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
            raise Refused("the server asks for a password, and none is given", "28P01")
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
            raise Refused("what answers there does not speak PostgreSQL's protocol")
        return kind, self._read(length - 4)

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise Refused("the server closed the connection", "08006")
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


def words_of(error: Exception) -> str:
    """Return an error of the network in words: never what was sent."""
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


def socket_path(given: dict[str, str]) -> str:
    """Return the socket's file."""
    return f"{given['host']}/.s.PGSQL.{given['port']}"


def _opened(given: dict[str, str]) -> Any:
    try:
        if not given["host"].startswith("/"):
            connected: Any = socket.create_connection((given["host"], int(given["port"])), CONNECT_SECONDS)
        else:
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(CONNECT_SECONDS)
            connected.connect(socket_path(given))
    except (OSError, ValueError) as error:
        raise Refused(words_of(error)) from None
    connected.settimeout(STATEMENT_SECONDS)
    return connected


def _context(mode: str, given: dict[str, str]) -> ssl.SSLContext:
    root = given.get("sslrootcert")
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


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, "sha256").digest()


def kind_of(mode: int) -> str:
    """Return what a file is."""
    kinds = ((stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"), (stat.S_ISREG, "file"))
    return next((word for test, word in kinds if test(mode)), "other")
