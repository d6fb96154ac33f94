"""Incidents C, D and E staged whole: a real server, cloud exports, connection strings and little web services.

    with staged("d", "after_grant", folder) as incident:
        incident.folder / "kit.toml"        # names the target `incident.target` and all that belongs to it
        incident.environment                # DATABASE_URL and the like, as the services and the investigator have them
        incident.become("mended")           # the same server, exports and strings after the repair

C is the innocent database, D four layers at once, E what was never there. The variants are the folders of the exports; the
true cause of each stands in truth.toml, which nothing here reads.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from kit.errors import SandboxError
from kit.sandbox import little_services as little
from kit.sandbox import server as servers
from kit.sandbox.little_services import LittleServices
from kit.sandbox.server import Server

INVESTIGATOR = "investigator"
_STAGED = files("kit.sandbox") / "staged"


@dataclass(slots=True)
class Incident:
    """A staged incident: its target in `folder`/kit.toml, what the environment must hold, what must stand in no file."""

    name: str
    variant: str
    symptom: str
    folder: Path
    server: Server
    services: LittleServices | None = None
    password: str = field(default_factory=lambda: token_urlsafe(18), repr=False)
    wrong_password: str = field(default_factory=lambda: token_urlsafe(18), repr=False)
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    @property
    def target(self) -> str:
        """Return the target's name in kit.toml, which is the database's too."""
        return _KINDS[self.name].database

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that kit.toml names, with the connection strings of this variant."""
        own = _KINDS[self.name].strings(self)
        return {"INVESTIGATOR_DSN": self.server.dsn(self.target, INVESTIGATOR), **own}

    @property
    def secrets(self) -> tuple[str, str]:
        """Return what must stand in no file and on no terminal."""
        return self.password, self.wrong_password

    def become(self, variant: str) -> None:
        """Change exports, strings, services and database to those of another variant, as a repair would."""
        source = _folder(self.name).joinpath("exports", variant)
        if variant not in variants(self.name):
            raise SandboxError(f"Incident {self.name} has no variant {variant!r}.", f"It has: {', '.join(variants(self.name))}.")
        shutil.rmtree(self.folder / "exports", ignore_errors=True)
        shutil.copytree(str(source), self.folder / "exports")
        if variant == "mended" and (repair := _folder(self.name) / "mended.sql").is_file():
            self.server.execute(repair.read_text(encoding="utf-8"), self.target)
        self.variant = variant
        self._serve()

    def _serve(self) -> None:
        """Start the variant's web services in the place of the former ones, and write kit.toml anew."""
        self.stop_services()
        self.services = self._running.enter_context(_KINDS[self.name].services(self.variant))
        declared = (_folder(self.name) / "kit.toml").read_text(encoding="utf-8")
        (self.folder / "kit.toml").write_text(f"{declared}\n{self.services.toml(self.target)}", encoding="utf-8")

    def stop_services(self) -> None:
        """End the web services."""
        self._running.close()


Services = Callable[[str], contextlib.AbstractContextManager[LittleServices]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is particular to one incident: its database, the service's role, its strings, its web services by variant."""

    database: str
    role: str
    strings: Callable[[Incident], dict[str, str]]
    services: Services


def variants(name: str) -> list[str]:
    """Return the variants of an incident, sorted."""
    return sorted(entry.name for entry in _folder(name).joinpath("exports").iterdir() if entry.is_dir())


@contextlib.contextmanager
def staged(name: str, variant: str, folder: Path) -> Iterator[Incident]:
    """Stage a variant with its kit.toml in `folder`; all of it ends with the context. SandboxError for an unknown one."""
    if name not in _KINDS:
        raise SandboxError(f"There is no staged incident {name!r}.", f"Known: {', '.join(_KINDS)}.")
    # The service's role alone has to show its password: that it is another than expected is a part of E.
    hba = (f"local all {_KINDS[name].role} scram-sha-256", *servers.DEFAULT_HBA)
    symptom = _folder(name).joinpath("symptom.txt").read_text(encoding="utf-8").strip()
    with servers.running(hba=hba) as server:
        incident = Incident(name, variant, symptom, folder, server)
        try:
            _make_database(incident, _KINDS[name])
            _write_folder(incident)
            incident.become(variant)
            with _service_at_work(incident):
                yield incident
        finally:
            incident.stop_services()


def _make_database(incident: Incident, kind: _Kind) -> None:
    server, role, secret = incident.server, sql.Identifier(kind.role), sql.Literal(incident.password)
    with server.connect() as connection:
        connection.execute("set password_encryption = 'scram-sha-256'")
        connection.execute(sql.SQL("create role {} login password {}").format(role, secret))
        connection.execute(sql.SQL("create role {} login in role pg_monitor").format(sql.Identifier(INVESTIGATOR)))
    server.create_database(kind.database)
    server.execute(_folder(incident.name).joinpath("database.sql").read_text(encoding="utf-8"), kind.database)


def _write_folder(incident: Incident) -> None:
    incident.folder.mkdir(parents=True, exist_ok=True)
    expected = _folder(incident.name) / "expected.toml"
    if expected.is_file():
        (incident.folder / "expected.toml").write_text(expected.read_text(encoding="utf-8"), encoding="utf-8")


@contextlib.contextmanager
def _service_at_work(incident: Incident) -> Iterator[None]:
    """In C, hold a session of the service that uses the same database without trouble."""
    if incident.name != "c":
        yield
        return
    dsn = incident.server.dsn(incident.target, _KINDS["c"].role, incident.password)
    with contextlib.closing(psycopg.connect(dsn, autocommit=True, application_name="auth-service")) as connection:
        connection.execute("select count(*) from accounts")
        yield


def _cloudsql(driver: str, role: str, password: str, database: str, instance: str) -> str:
    return f"postgresql{driver}://{role}:{quote(password, safe='')}@/{database}?host=/cloudsql/{instance}"


def _c_strings(incident: Incident) -> dict[str, str]:
    instance = "platform-staging:us-central1:shared-postgres"
    service = _cloudsql("", "staging", incident.password, "platform", instance)
    return {"AUTH_DATABASE_URL": service, "BACKEND_DATABASE_URL": service}


def _d_strings(incident: Incident) -> dict[str, str]:
    end = "\r" if incident.variant in ("before_grant", "after_grant") else ""
    instance = f"orders-prod:us-central1:orders-db{end}"
    return {"DATABASE_URL": _cloudsql("+asyncpg", "app", incident.password, "orders", instance)}


def _e_strings(incident: Incident) -> dict[str, str]:
    is_mended = incident.variant == "mended"
    password = incident.password if is_mended else incident.wrong_password
    instance = f"settlement-prod:us-central1{'' if is_mended else '-a'}:settlement-db"
    service = _cloudsql("", "settlement", password, "settlement", instance)
    return {"DATABASE_URL": service, "SERVICE_DSN": incident.server.dsn("settlement", "settlement", password)}


@contextlib.contextmanager
def _three(variant: str) -> Iterator[LittleServices]:
    """C: one healthy, one dead after the handshake, one 503 because of it; all healthy once it is mended."""
    if variant != "mended":
        with little.three_services() as services:
            yield services
        return
    with little.authority() as signed, contextlib.ExitStack() as running:
        names = ("auth", "backend", "websocket")
        found = {name: running.enter_context(little.healthy(name, signed)) for name in names}
        yield LittleServices(found, signed.root)


def _one(name: str, work: str, bodies: Mapping[str, Mapping[str, Any]]) -> Services:
    """Return a service whose health answers 200 in every variant, while its work is a 500 until it is mended."""

    @contextlib.contextmanager
    def started(variant: str) -> Iterator[LittleServices]:
        body = bodies.get(variant, bodies[""])
        outcome = (201, {"status": "created"}) if variant == "mended" else (500, {"error": "Internal server error"})

        def answer(handler: BaseHTTPRequestHandler) -> None:
            status, told = outcome if handler.path.startswith(work) else (200, body)
            little.answer_json(handler, status, told)

        with little.authority() as signed, little.serving(name, answer, signed.certificate()) as service:
            yield LittleServices({name: service}, signed.root)

    return started


def _folder(name: str) -> Any:
    return _STAGED / f"incident_{name}"


_D_HEALTH = {"": {"status": "ok", "service": "session-api"}}
_E_HEALTH = {"": {"status": "healthy", "database": "sqlite"}, "mended": {"status": "healthy", "database": "postgresql"}}
_KINDS: Mapping[str, _Kind] = {
    "c": _Kind("platform", "staging", _c_strings, _three),
    "d": _Kind("orders", "app", _d_strings, _one("session-api", "/sessions", _D_HEALTH)),
    "e": _Kind("settlement", "settlement", _e_strings, _one("settlement-service", "/settlements", _E_HEALTH)),
}
NAMES = tuple(_KINDS)
