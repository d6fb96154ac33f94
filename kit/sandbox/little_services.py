"""Real little web services on the loopback, for staged incidents and tests: each a context manager that ends its server.

`three_services()` is incident C as a whole: the healthy auth service, the backend that dies after the TLS handshake, and
the websocket service that answers 503 because of it, all behind certificates of a throwaway authority:

    with three_services() as services:
        services["auth"].url      # https://localhost:PORT/health; so too "backend" and "websocket"
        services["auth"].requests # the requests that came, as "GET /health"
        services.ca               # the authority's certificate: `ca` in kit.toml, or SSL_CERT_FILE
        services.toml("shop")     # the lines of kit.toml that name them

One by one: `authority()` gives an Authority; `healthy`, `dead_after_handshake` and `unavailable` take it, or None for plain
HTTP, and yield a LittleService; `serving` takes any answer. `openssl` makes the certificates.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "localhost"
UPTIME_SECONDS = 25_708
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True, slots=True)
class LittleService:
    """A running service: its name, its URL, and the requests that came to it, as "GET /health"."""

    name: str
    url: str
    requests: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LittleServices:
    """Several running services and the certificate of the authority that vouches for them."""

    services: Mapping[str, LittleService]
    ca: Path

    def __getitem__(self, name: str) -> LittleService:
        return self.services[name]

    def toml(self, target: str, seconds: float = 2) -> str:
        """Return the lines of kit.toml that name these services; each probe has `seconds`, which the dead one takes in full."""
        lines = [f"[targets.{target}.services]", *(f'{name} = "{found.url}"' for name, found in self.services.items())]
        return "\n".join([*lines, f'ca = "{self.ca}"', f"seconds = {seconds}", ""])


class Authority:
    """A throwaway certificate authority in a folder of its own."""

    def __init__(self, folder: Path, name: str = "Kit throwaway CA") -> None:
        self._folder = folder
        self._run("req", "-x509", *self._key("ca"), "-out", "ca.crt", "-subj", f"/CN={name}", "-days", "2")

    @property
    def root(self) -> Path:
        """Return the authority's own certificate (PEM)."""
        return self._folder / "ca.crt"

    def certificate(self, host: str = HOST, days: int = 2) -> Path:
        """Return a file with a certificate for the host and its key; a negative number of days makes an expired one."""
        stem = f"{host}{days}"
        (self._folder / f"{stem}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        self._run("req", *self._key(stem), "-out", f"{stem}.csr", "-subj", f"/CN={host}")
        by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days), "-extfile", f"{stem}.ext")
        self._run("x509", "-req", "-in", f"{stem}.csr", "-out", f"{stem}.crt", *by)
        whole = self._folder / f"{stem}.pem"
        whole.write_text((self._folder / f"{stem}.crt").read_text() + (self._folder / f"{stem}.key").read_text())
        return whole

    def _key(self, stem: str) -> tuple[str, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{stem}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True, timeout=30)


@contextlib.contextmanager
def authority() -> Iterator[Authority]:
    """Yield an authority whose folder goes with it."""
    with tempfile.TemporaryDirectory(prefix="kit-ca-") as folder:
        yield Authority(Path(folder))


@contextlib.contextmanager
def three_services() -> Iterator[LittleServices]:
    """Yield incident C: auth is healthy, backend dies after the handshake, websocket is 503 because of backend."""
    with authority() as signed, contextlib.ExitStack() as running:
        services = (
            running.enter_context(healthy("auth", signed)),
            running.enter_context(dead_after_handshake("backend", signed)),
            running.enter_context(unavailable("websocket", "backend", signed)),
        )
        yield LittleServices({service.name: service for service in services}, signed.root)


@contextlib.contextmanager
def healthy(name: str = "auth", by: Authority | None = None) -> Iterator[LittleService]:
    """Yield a service that is well: 200, its database connected, and how long it has been up."""
    body = {"status": "healthy", "database": "connected", "uptime": UPTIME_SECONDS}
    with serving(name, lambda handler: answer_json(handler, 200, body), _certificate(by)) as service:
        yield service


@contextlib.contextmanager
def unavailable(name: str = "websocket", dependency: str = "backend", by: Authority | None = None) -> Iterator[LittleService]:
    """Yield a service that answers 503 and names the dependency that it cannot do without."""
    body = {"status": "unhealthy", "dependencies": {dependency: "unreachable"}, "error": f"{dependency} did not answer"}
    with serving(name, lambda handler: answer_json(handler, 503, body), _certificate(by)) as service:
        yield service


@contextlib.contextmanager
def dead_after_handshake(name: str = "backend", by: Authority | None = None) -> Iterator[LittleService]:
    """Yield a service that takes the connection, ends the handshake, reads the request, and never answers it."""
    released = threading.Event()
    with serving(name, lambda _: _never(released), _certificate(by)) as service:
        try:
            yield service
        finally:
            released.set()


@contextlib.contextmanager
def serving(name: str, answer: Answer, certificate: Path | None = None) -> Iterator[LittleService]:
    """Yield a service that answers every request so; with a certificate over TLS, else plainly."""
    family, _, _, _, place = socket.getaddrinfo(HOST, 0, type=socket.SOCK_STREAM)[0]
    server_class = type("LittleServer", (_LittleServer,), {"address_family": family})
    requests: list[str] = []
    server: ThreadingHTTPServer = server_class(place[:2], _handler(answer, requests))
    if certificate is not None:
        server.socket = _encrypted(server.socket, certificate)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    scheme = "http" if certificate is None else "https"
    try:
        yield LittleService(name, f"{scheme}://{HOST}:{server.server_address[1]}/health", requests)
    finally:
        server.shutdown()
        server.server_close()


def answer_json(handler: BaseHTTPRequestHandler, status: int, body: Mapping[str, Any]) -> None:
    """Send a status and a JSON body, or its headers alone where HEAD was asked."""
    content = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


def _certificate(by: Authority | None) -> Path | None:
    return None if by is None else by.certificate()


def _never(released: threading.Event) -> None:
    released.wait()


class _LittleServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up, or does not trust the certificate, is what many tests are about.
        return


def _handler(answer: Answer, requests: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            answer(self)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _encrypted(listener: socket.socket, certificate: Path) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake belongs to the connection's own thread: a client that does not speak would stop all others.
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
