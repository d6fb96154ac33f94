"""What is wrong with hosts and ports, the database and the user, poolers and TLS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kit.analyze.dsn.characters import visible
from kit.analyze.dsn.findings import DsnFinding, Subject
from kit.analyze.dsn.vocabulary import LIBPQ_READERS, SSLMODES
from kit.analyze.findings import Layer, Severity

_PROVIDERS = re.compile(
    r"\.(supabase\.(co|com)|neon\.tech|rds\.amazonaws\.com|postgres\.database\.azure\.com|render\.com|aivencloud\.com"
    r"|ondigitalocean\.com|railway\.app|rlwy\.net|timescale\.com|tsdb\.cloud|compute(-1)?\.amazonaws\.com|fly\.dev|elephantsql\.com)$",
    re.IGNORECASE,
)
LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
VARIABLE = re.compile(
    r"\$\{[^{}]*\}|\$\([^()]*\)|\{\{[^{}]*\}\}|<[^<>]+>|\[[A-Za-z][^\[\]]*\]|%[A-Za-z_]+%|\A\{\w+\}\Z|\A\$[A-Za-z_]\w*\Z"
)
_HOST = re.compile(r"[\w.\-:%]+")
_POOLER_PORTS = {"6543": "Supabase's pooler in transaction mode", "6432": "the usual port of PgBouncer"}


def place_problems(subject: Subject) -> Iterator[DsnFinding]:
    """Yield what leads elsewhere than meant."""
    yield from _hosts(subject)
    yield from _ports(subject)
    yield from _names(subject)
    yield from _templates(subject)
    yield from _poolers(subject)
    yield from _tls(subject)


def _found(check: str, layer: Layer, severity: Severity, message: str, remedy: str) -> DsnFinding:
    return DsnFinding(check, layer, severity, message, remedy)


def _hosts(subject: Subject) -> Iterator[DsnFinding]:
    reading, hosts = subject.reading, subject.reading.hosts
    if not hosts and not reading.socket and not reading.has("hostaddr") and not reading.has("service"):
        message = "No host is named: libpq takes a local socket's folder, other drivers localhost."
        yield _found("missing_hosts", "reachability", "warning", message, "Name the host.")
    if len(hosts) > 1:
        refused = subject.is_reader_known and not subject.consumer.takes_several_hosts
        message = f"{len(hosts)} hosts are named; " + (
            f"{subject.consumer.title} takes only one so."
            if refused
            else "they are tried in order, so which one answers is not fixed."
        )
        remedy = "Name one." if refused else "target_session_attrs=read-write, where a replica must not answer."
        yield _found("several_hosts", "reachability", "critical" if refused else "info", message, remedy)
    for host in hosts:
        yield from _host(subject, host)


def _host(subject: Subject, host: str) -> Iterator[DsnFinding]:
    if host.startswith("/") or VARIABLE.search(host):
        return
    if subject.in_container and host.lower() in LOCAL:
        message = f"{visible(host)} inside a container is the container itself, where no database runs."
        yield _found("local_hosts", "reachability", "critical", message, "Name the database's service or host.")
    if host and not _HOST.fullmatch(host) and not re.match(r"\.?cloudsql/", host):
        message = "The host holds signs that no host name has."
        yield _found("malformed_hosts", "configuration", "critical", message, "Write only the host's name or address.")
    elif not host.isascii():
        message = (
            f"The host {visible(host)} holds letters beyond ASCII; a copied dash or a letter of another alphabet looks the same."
        )
        yield _found("foreign_letters", "configuration", "warning", message, "Type it anew.")


def _ports(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    if any(port and not (port.isdecimal() and 0 < int(port) < 65536) for port in reading.ports):
        message = "The port is no number between 1 and 65535."
        yield _found("bad_ports", "configuration", "critical", message, "5432 is PostgreSQL's.")
    if len(reading.ports) > 1 and len(reading.ports) != len(reading.hosts):
        message = f"{len(reading.hosts)} hosts but {len(reading.ports)} ports: libpq refuses the string."
        yield _found("port_counts", "configuration", "critical", message, "Give one port, or one for each host.")


def _names(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    has_service = reading.has("service")
    if not reading.database and not has_service:
        message = "No database is named: libpq takes one with the user's name, without an error if there is such a one."
        yield _found("missing_databases", "database identity", "warning", message, "Name the database.")
    if not reading.user and not has_service:
        message = "No user is named: libpq takes the operating system's, in a container often root."
        yield _found("missing_users", "authentication", "warning", message, "Name the user.")
    if reading.user and reading.user.lower().endswith(".gserviceaccount.com"):
        message = "A service account's database user on Cloud SQL for PostgreSQL has no .gserviceaccount.com at its end."
        yield _found(
            "iam_user_names", "authentication", "critical", message, "Leave .gserviceaccount.com out of the user's name."
        )
    if reading.password_in_query and reading.form == "url":
        message = "The password stands in the query string, which logs and proxies keep; Prisma and others do not read it there."
        yield _found("query_passwords", "configuration", "warning", message, "Write USER:PASSWORD@ before the host.")
    for part in reading.contradictions:
        message = f"The {part} is given twice and differently; libpq takes the parameter, asyncpg what stands before it."
        yield _found("contradictory_parts", "configuration", "warning", message, "Give it once.")
    told = [host for host in reading.authority_hosts if host and host.lower() not in LOCAL]
    if told and tuple(told) != reading.hosts and not reading.has("cloudSqlInstance"):
        message = "The host is given twice and differently; libpq takes the parameter, asyncpg what stands before the path."
        yield _found("contradictory_parts", "configuration", "warning", message, "Give it once.")


def _templates(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    values = {"user": reading.user, "database": reading.database, "host": ",".join(reading.hosts)}
    parts = [part for part, value in values.items() if value and VARIABLE.search(value)]
    if reading.is_password_template:
        parts.append("password")
    if parts:
        message = f"A template's variable was not filled in ({', '.join(parts)})."
        yield _found(
            "unfilled_templates", "configuration", "critical", message, "Fill it in; env files and secret stores expand nothing."
        )


def _poolers(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    host = next((host.lower() for host in reading.hosts), "")
    user, is_shared = reading.user or "", host.endswith(".pooler.supabase.com")
    if is_shared and user and "." not in user and not reading.has("options"):
        message = "Supabase's shared pooler finds the project by the user's name, which lacks it (“Tenant or user not found”)."
        yield _found(
            "pooler_users", "authentication", "critical", message, "Write ROLE.PROJECT_REF, such as postgres.abcdefghijkl."
        )
    direct = re.fullmatch(r"db\.([a-z0-9]+)\.supabase\.co", host)
    if direct and re.fullmatch(r"[a-z_]+\.[a-z0-9]+", user):
        message = "The user's name is the shared pooler's form; the direct host knows no such role."
        yield _found("pooler_users", "authentication", "critical", message, f"Write {user.partition('.')[0]}.")
    yield from _pooler_ports(subject)
    if direct and "6543" not in reading.ports:
        message = "Supabase's direct host has an IPv6 address only, without the paid add-on; many runtimes have no IPv6 route."
        yield _found("ipv6_only_hosts", "reachability", "info", message, "Use the session pooler (port 5432) from there.")


def _pooler_ports(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    port = next((port for port in reading.ports if port in _POOLER_PORTS), None)
    if not port:
        return
    reader = "asyncpg" if reading.driver == "asyncpg" else subject.reader
    caches = {"asyncpg": ("statement_cache_size", "prepared_statement_cache_size"), "prisma": ("pgbouncer",)}
    prepares = reader in caches and not any(reading.value(key) in ("0", "true") for key in caches[reader])
    message = f"Port {port} is {_POOLER_PORTS[port]}: session settings, LISTEN and named prepared statements do not hold there"
    message += f", and {'Prisma' if reader == 'prisma' else 'asyncpg'} prepares by name unless told not to." if prepares else "."
    switch = "pgbouncer=true" if reader == "prisma" else "statement_cache_size=0"
    remedy = switch if prepares else "Migrations and advisory locks need the direct port or session mode."
    yield _found("pooler_ports", "capacity and performance", "warning" if prepares else "info", message, remedy)


def _tls(subject: Subject) -> Iterator[DsnFinding]:
    reading = subject.reading
    mode = reading.value("sslmode") if reading.has("sslmode") else reading.value("ssl")
    if mode is not None and reading.has("sslmode") and mode not in (*SSLMODES, "no-verify"):
        message = f"{visible(mode or 'What stands there')} is no sslmode."
        yield _found("unknown_sslmodes", "configuration", "critical", message, f"One of {', '.join(SSLMODES)}.")
        return
    if mode == "no-verify" and reading.has("sslmode") and subject.reader != "node":
        message = f"sslmode=no-verify is node-postgres's own; {subject.consumer.title} refuses it."
        yield _found("unknown_sslmodes", "configuration", subject.strictly, message, "sslmode=require encrypts without checking.")
    if reading.socket:
        if mode is not None and mode != "disable":
            message = "sslmode has no meaning on a Unix socket: libpq ignores it, and some drivers fail on it."
            yield _found("socket_sslmodes", "configuration", "warning", message, "Leave it out.")
        return
    yield from _weak(reading.hosts, mode)
    if mode in ("verify-ca", "verify-full") and subject.reader in LIBPQ_READERS and not reading.has("sslrootcert"):
        message = f"sslmode={mode} needs a root certificate, and none is named: libpq looks for ~/.postgresql/root.crt alone."
        remedy = "Name it: sslrootcert=FILE, or sslrootcert=system (libpq 16) where a public authority signed the server's."
        yield _found("unnamed_root_certificates", "configuration", "info", message, remedy)


def _weak(hosts: tuple[str, ...], mode: str | None) -> Iterator[DsnFinding]:
    public = [host for host in hosts if _is_public(host)]
    if not public:
        return
    if mode in (None, "disable", "allow", "prefer", "false", "0"):
        said = f"sslmode={mode}" if mode else "No sslmode is given, so the connection"
        message = f"{said} may go unencrypted to a public address ({visible(public[0])}), for others to read."
        yield _found(
            "weak_sslmodes", "configuration", "warning", message, "sslmode=verify-full with the provider's root certificate."
        )
    elif mode in ("require", "no-verify", "true", "1"):
        message = f"sslmode={mode} encrypts, and does not check who answers at {visible(public[0])}."
        yield _found(
            "weak_sslmodes", "configuration", "info", message, "sslmode=verify-full with the provider's root certificate."
        )


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return bool(_PROVIDERS.search(host))
