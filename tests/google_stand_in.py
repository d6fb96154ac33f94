"""A small Cloud SQL on the loopback: login server, Admin API, and the TLS server on port 3307 before a real PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import json
import secrets
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.failing import loopback

INSTANCE = "shop-prod:us-central1:main"
ACCOUNT = "investigator@shop-prod.iam.gserviceaccount.com"
LOGIN_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"
_SERVICE_KEY = rsa.generate_private_key(65537, 2048)


class Authority:
    """A certificate authority, and what it has signed."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {secrets.token_hex(4)}")])
        self.certificate = self._signed(self.name, self.key.public_key(), is_authority=True)

    def signed(self, name: str, public_key: Any) -> x509.Certificate:
        return self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), public_key)

    def _signed(self, name: x509.Name, public_key: Any, *, is_authority: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(public_key)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=1))
        made = made.not_valid_after(now + timedelta(hours=1))
        made = made.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        return made.sign(self.key, hashes.SHA256())


@dataclass
class Cloud:
    """What the stand-in is told to answer, and what it was asked; `folder` holds its login file."""

    folder: Path
    socket_folder: Path
    address: str = field(default_factory=loopback)
    settings: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    certificates: dict[int, str | None] = field(default_factory=dict)
    authority: Authority = field(default_factory=Authority)
    url: str = ""
    admin_token: str = field(default_factory=lambda: f"ya29.admin-{secrets.token_urlsafe(24)}")
    login_token: str = field(default_factory=lambda: f"ya29.login-{secrets.token_urlsafe(24)}")
    released: threading.Event = field(default_factory=threading.Event)

    def login_file(self) -> Path:
        """A service account's key file, whose tokens come from here."""
        key = _SERVICE_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        content = {
            "type": "service_account",
            "project_id": "shop-prod",
            "private_key_id": "1",
            "private_key": key,
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path = self.folder / "account.json"
        path.write_text(json.dumps(content))
        return path

    def metadata(self) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "region": "us-central1",
            "databaseVersion": "POSTGRES_18",
            "ipAddresses": [{"type": "PRIMARY", "ipAddress": self.address}],
            "serverCaCert": {"cert": pem(self.authority.certificate)},
        }
        return {**usual, **self.settings}


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@contextlib.contextmanager
def running_cloud(folder: Path, socket_folder: Path) -> Iterator[Cloud]:
    """The three servers for the block."""
    cloud = Cloud(folder, socket_folder)
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Api,), {"cloud": cloud}))
    cloud.url = f"http://127.0.0.1:{api.server_port}"
    threads = [threading.Thread(target=api.serve_forever, args=(0.05,))]
    front = _Front(cloud)
    threads.append(threading.Thread(target=front.run))
    for thread in threads:
        thread.start()
    try:
        front.ready.wait(10)
        yield cloud
    finally:
        cloud.released.set()
        api.shutdown()
        api.server_close()
        front.stop()
        for thread in threads:
            thread.join(10)


class _Api(http.server.BaseHTTPRequestHandler):
    cloud: Cloud

    def do_GET(self) -> None:
        if self._is_let_in("settings"):
            self._answer(200, self.cloud.metadata())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/token":
            self._token(body)
        elif self._is_let_in("certificate"):
            self._certificate(json.loads(body))

    def _token(self, body: str) -> None:
        assertion = urllib.parse.parse_qs(body)["assertion"][0].split(".")[1]
        scope = json.loads(base64.urlsafe_b64decode(assertion + "=="))["scope"]
        if self._is_refused("login token" if scope == LOGIN_SCOPE else "token"):
            return
        token = self.cloud.login_token if scope == LOGIN_SCOPE else self.cloud.admin_token
        self._answer(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _certificate(self, asked: dict[str, str]) -> None:
        key = serialization.load_pem_public_key(asked["public_key"].encode())
        certificate = self.cloud.authority.signed("client", key)
        self.cloud.certificates[certificate.serial_number] = asked.get("access_token")
        self._answer(200, {"ephemeralCert": {"cert": pem(certificate)}})

    def _is_let_in(self, what: str) -> bool:
        project, _, instance = INSTANCE.split(":")
        kind = {"settings": "/connectSettings", "certificate": ":generateEphemeralCert"}[what]
        if self.headers["Authorization"] != f"Bearer {self.cloud.admin_token}":
            self._answer(401, {"error": {"message": "Request had invalid authentication credentials."}})
        elif self.path != f"/sql/v1beta4/projects/{project}/instances/{instance}{kind}":
            self._answer(404, {"error": {"message": "The Cloud SQL instance does not exist."}})
        else:
            return not self._is_refused(what)
        return False

    def _is_refused(self, what: str) -> bool:
        self.cloud.asked.append(what)
        if what in self.cloud.silent:
            self.cloud.released.wait(60)
        if what in self.cloud.refusals:
            status, message = self.cloud.refusals[what]
            error: Any = message if "token" in what else {"message": message, "code": status}
            self._answer(status, {"error": error})
        return what in self.cloud.refusals or what in self.cloud.silent

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Front:
    """The server before PostgreSQL: it wants a certificate that the API signed, and for an address in it the login token."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.ready = threading.Event()
        self._key = ec.generate_private_key(ec.SECP256R1())

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(self._client, self.cloud.address, 3307, ssl=self._context())
        async with server:
            self.ready.set()
            await self._end.wait()

    def _context(self) -> ssl.SSLContext:
        certificate = self.cloud.authority.signed("shop-prod:main", self._key.public_key())
        chain = self.cloud.folder / "server.pem"
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        chain.write_text(key + pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(chain)
        context.load_verify_locations(cadata=pem(self.cloud.authority.certificate))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._taken(reader, writer)
        finally:
            await _closed(writer)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        token = self.cloud.certificates[certificate.serial_number]
        length = await reader.readexactly(4)
        start = await reader.readexactly(int.from_bytes(length, "big") - 4)
        words = start[4:].split(b"\0")
        user = words[words.index(b"user") + 1].decode()
        self.cloud.users.append(user)
        if "@" not in user or token == self.cloud.login_token:
            await self._relayed(length + start, reader, writer)

    async def _relayed(self, start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here, there = await asyncio.open_unix_connection(str(self.cloud.socket_folder / ".s.PGSQL.5432"))
        pumps = [asyncio.create_task(_pumped(reader, there)), asyncio.create_task(_pumped(here, writer))]
        try:
            there.write(start)
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _closed(there)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pumped(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
