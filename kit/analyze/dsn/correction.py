"""The string as it should be written for its reader, with `***` where the secret belongs and words for what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from kit.analyze.dsn.characters import is_invisible
from kit.analyze.dsn.findings import Subject
from kit.analyze.dsn.instances import (
    SOCKET_FILE,
    SOCKET_PATH_BYTES,
    connection_name,
    instance_of,
    socket_path_bytes,
    without_socket_file,
)
from kit.analyze.dsn.masking import MASK
from kit.analyze.dsn.plausible import without_stray_end
from kit.analyze.dsn.problems_dialect import is_allowed
from kit.analyze.dsn.problems_place import LOCAL, VARIABLE
from kit.analyze.dsn.reading import Reading
from kit.analyze.dsn.vocabulary import CLOSED, DRIVERS, LIBPQ_READERS, SECRET, SSLMODES

_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_MODES = ("sslmode", "ssl")
_PLACE_KEYS = {"unix_sock", "cloudSqlInstance", "socketFactory", "hostaddr"}


@dataclass(frozen=True, slots=True)
class _Corrected:
    user: str
    has_password: bool
    hosts: tuple[str, ...]
    ports: tuple[str, ...]
    database: str
    options: tuple[tuple[str, str], ...]

    @property
    def socket(self) -> str | None:
        return self.hosts[0] if self.hosts[0].startswith("/") else None


def corrected(subject: Subject) -> str:
    """Return the corrected string; USER, HOST and DATABASE stand where the given one says nothing usable."""
    parts = _parts(subject)
    if subject.reader == "jdbc":
        return _jdbc(parts)
    if subject.reading.form == "keywords" and "keywords" in subject.consumer.forms:
        return _keywords(parts)
    return _url(subject, parts)


def _parts(subject: Subject) -> _Corrected:
    reading = subject.reading if subject.reading.is_postgres else Reading("unreadable", has_password=True)
    hosts = _hosts(subject, reading)
    ports = _ports(reading, hosts) if not hosts[0].startswith("/") else _ports(reading, hosts)[:1]
    options = tuple(_options(subject, reading, is_socket=hosts[0].startswith("/")))
    user = _user(reading, hosts[0])
    database = "" if re.match(r"/*cloudsql/", reading.database or "") else _clean(reading.database)
    database = database or _unless_service(reading, "DATABASE")
    return _Corrected(user, reading.has_password, hosts, ports, database, options)


def _unless_service(reading: Reading, placeholder: str) -> str:
    """A service's definition may say the rest: what the string leaves to it stays left out."""
    return "" if reading.has("service") else placeholder


def _clean(value: str | None) -> str:
    """Without invisible characters; nothing where a template's variable was not filled in."""
    kept = without_stray_end("".join(c for c in value or "" if not is_invisible(c)).strip())
    return "" if VARIABLE.search(kept) else kept


def _user(reading: Reading, host: str) -> str:
    user = re.sub(r"\.gserviceaccount\.com$", "", _clean(reading.user), flags=re.IGNORECASE) or _unless_service(reading, "USER")
    if host.lower().endswith(".pooler.supabase.com") and "." not in user and not reading.has("options"):
        return f"{user}.PROJECT_REF"
    if re.fullmatch(r"db\.[a-z0-9]+\.supabase\.co", host.lower()) and re.fullmatch(r"[a-z_]+\.[a-z0-9]+", user):
        return user.partition(".")[0]
    return user


def _hosts(subject: Subject, reading: Reading) -> tuple[str, ...]:
    misplaced = re.match(r"/*(cloudsql/[^/]+)", reading.database or "")
    given = (
        (f"/{misplaced[1]}",)
        if misplaced and not reading.hosts
        else reading.hosts or ((reading.socket,) if reading.socket else ())
    )
    hosts = tuple(_host(subject, _clean(host)) for host in given)
    if not hosts or any(fault.check == "malformed_hosts" for fault in reading.faults):
        return (_unless_service(reading, "HOST"),)
    several = subject.consumer.takes_several_hosts and not any(host.startswith("/") for host in hosts)
    return hosts if several else (next((host for host in hosts if host.startswith("/")), hosts[0]),)


def _host(subject: Subject, host: str) -> str:
    if re.match(r"\.?cloudsql/", host):
        host = f"/{host.lstrip('.')}"
    if instance_of(host):
        host = f"/cloudsql/{host}"
    if host.startswith("/"):
        return _socket(subject, host)
    if subject.in_container and host.lower() in LOCAL:
        return "HOST"
    return host if _HOST.fullmatch(host) else "HOST"


def _socket(subject: Subject, path: str) -> str:
    folder = re.sub(r"(?<=.)/+$", "", re.sub(r"/+", "/", without_socket_file(path)))
    name = connection_name(folder)
    if name is not None:
        folder = f"/cloudsql/{_instance(subject, name)}"
    is_long = socket_path_bytes(folder) > SOCKET_PATH_BYTES
    return "HOST" if is_long or any(sign in folder for sign in "?#&,") else folder


def _instance(subject: Subject, name: str) -> str:
    """The expected one where it is known; else the given one, with its zone's region."""
    if wanted := instance_of(subject.instance or ""):
        return str(wanted)
    given = instance_of(name)
    region = given and (given.region_of_zone or (given.region if given.has_region else None))
    return f"{given.project}:{region}:{given.name}" if given and region else "project:us-central1:instance"


def _ports(reading: Reading, hosts: tuple[str, ...]) -> tuple[str, ...]:
    ports = tuple(
        port if port.isdecimal() and port.isascii() and 0 < int(port) < 65536 else "5432" for port in reading.ports if port
    )
    if len(ports) == len(hosts):
        return ports
    return ports[:1] * len(hosts) if ports else ()


def _options(subject: Subject, reading: Reading, *, is_socket: bool) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for option in reading.options:
        key, value = option.key, _clean(option.value)
        if key in _MODES:
            key, value = _mode(subject, key, value)
        if not value or key in _PLACE_KEYS or (is_socket and key in _MODES) or not is_allowed(subject, key):
            continue
        if key not in SECRET and (key not in CLOSED or key == "options"):
            found[key] = value
    return list(found.items())


def _mode(subject: Subject, key: str, value: str) -> tuple[str, str]:
    known = value if value in SSLMODES or (value == "no-verify" and subject.reader == "node") else "require"
    if key == "sslmode" and not is_allowed(subject, "sslmode") and is_allowed(subject, "ssl"):
        return "ssl", known
    if key == "ssl" and subject.reader in LIBPQ_READERS:
        return "sslmode", value if value in SSLMODES else "require"
    return key, known if key == "sslmode" else value


def _url(subject: Subject, parts: _Corrected) -> str:
    userinfo = quote(parts.user, safe="", errors="replace") + (f":{MASK}" if parts.has_password else "")
    options = list(parts.options)
    is_pg8000 = _driver(subject) == "pg8000"
    if parts.socket and is_pg8000:
        host, options = "", [("unix_sock", parts.socket + SOCKET_FILE), *options]
    elif parts.socket:
        host, options = ("localhost" if subject.reader == "prisma" else ""), [("host", parts.socket), *options]
        options[1:1] = [("port", port) for port in parts.ports if port != "5432"]
    else:
        host = _hostspec(parts)
    query = "&".join(f"{key}={quote(value, safe='/:,.', errors='replace')}" for key, value in options)
    database = quote(parts.database, safe="", errors="replace")
    return f"{_scheme(subject)}://{userinfo}{'@' if userinfo else ''}{host}/{database}{'?' if query else ''}{query}"


def _hostspec(parts: _Corrected) -> str:
    ports = parts.ports or ("",) * len(parts.hosts)
    bracketed = [f"[{host}]" if ":" in host else host for host in parts.hosts]
    return ",".join(f"{host}:{port}" if port else host for host, port in zip(bracketed, ports, strict=True))


def _driver(subject: Subject) -> str | None:
    driver = subject.reading.driver
    return driver if subject.consumer.takes_driver and subject.reading.form == "url" and driver in DRIVERS else None


def _scheme(subject: Subject) -> str:
    driver = _driver(subject)
    return f"postgresql+{driver}" if driver else "postgresql"


def _keywords(parts: _Corrected) -> str:
    pairs = [("host", ",".join(parts.hosts)), *([("port", ",".join(parts.ports))] if any(parts.ports) else [])]
    pairs += [("dbname", parts.database), ("user", parts.user), *([("password", MASK)] if parts.has_password else [])]
    return " ".join(f"{key}={_quoted(value)}" for key, value in [*pairs, *parts.options] if value)


def _quoted(value: str) -> str:
    if value and not re.search(r"[\s'\\]", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _jdbc(parts: _Corrected) -> str:
    options = [("user", parts.user), *([("password", MASK)] if parts.has_password else []), *parts.options]
    host = _hostspec(parts)
    if parts.socket:
        name = connection_name(parts.socket)
        factory = [("cloudSqlInstance", name), ("socketFactory", "com.google.cloud.sql.postgres.SocketFactory")] if name else []
        host, options = ("" if name else "HOST"), [*[(key, value) for key, value in factory if value], *options]
    query = "&".join(f"{key}={quote(value, safe='/:,.*', errors='replace')}" for key, value in options)
    return f"jdbc:postgresql://{host}/{quote(parts.database, safe='', errors='replace')}?{query}"
