"""Real failing connections, each named right: layer, cause, and within the time that an attempt may take."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kit.analyze.connection.causes import LAYERS
from kit.analyze.connection.failures import cause_of, failure_in, kind_of
from kit.analyze.connection.refusals import CAUSES
from kit.analyze.verdict import ladder
from kit.collect.attempt import ATTEMPT_SECONDS, attempt
from kit.collect.rows import connection_evidence
from kit.sandbox import server as sandbox
from kit.sandbox.binaries import Binaries
from kit.sandbox.server import Server
from tests import failing
from tests.failing import CHECKS, SECRET, Certificates, Observed, judged, listener, observed, pooler, until

WITH_TLS = Path("/usr/lib/postgresql/15/bin")
needs_pgbouncer = pytest.mark.skipif(not failing.PGBOUNCER.exists(), reason="PgBouncer is not installed: NOT tested")
needs_tls = pytest.mark.skipif(
    not (WITH_TLS / "postgres").exists() or shutil.which("openssl") is None,
    reason="no PostgreSQL with TLS or no openssl: TLS is NOT tested",
)
needs_linux = pytest.mark.skipif(platform.system() != "Linux", reason="Linux alone behaves in this way on its loopback")
HBA = (
    "local all peer_role peer",
    "local all all trust",
    "host all trusted 127.0.0.0/8 trust",
    "host all rejected 127.0.0.0/8 reject",
    "host all nobody_known_here 127.0.0.0/8 scram-sha-256",
    "host all old_role 127.0.0.0/8 md5",
    "host all secured 127.0.0.0/8 scram-sha-256",
    "host guarded all 127.0.0.0/8 trust",
)
ROLES = """
    create role trusted login; create role rejected login; create role peer_role login;
    create role secured login password '{secret}'; create role outside login; create role a_group nologin;
    create role narrow login connection limit 1; create database closed allow_connections false;
    create database guarded; revoke connect on database guarded from public;
    create database small connection limit 0; create role reading login;
    alter role reading set default_transaction_read_only = on;
"""


@pytest.fixture(scope="module")
def address() -> str:
    return failing.loopback() if platform.system() == "Linux" else "127.0.0.1"


@pytest.fixture(scope="module")
def tcp(address: str) -> Iterator[Server]:
    """A server on the loopback, with a line of pg_hba.conf for each kind of login."""
    settings = {"listen_addresses": address, "max_connections": "30"}
    with sandbox.running(settings=settings, hba=HBA) as server:
        for statement in ROLES.format(secret=SECRET).split(";"):
            server.execute(statement)
        yield server


def by_tcp(address: str, user: str, database: str = "postgres", **more: str) -> str:
    return " ".join([f"host={address} port=5432 user={user} dbname={database}", *(f"{k}='{v}'" for k, v in more.items())])


def holds(found: Observed, layer: str, cause: str, step: str | None = None, code: str | None = None) -> None:
    """The cause is named, one check alone tells it, the time was kept, and no secret is in what was written."""
    assert found.named == (layer, cause)
    assert found.failure is not None
    assert found.fired == [CHECKS[found.failure.kind]]
    assert found.steps.provenance.seconds <= ATTEMPT_SECONDS + 0.5
    written = found.steps.frame.to_json() + found.connection.frame.to_json() + found.failure.words
    assert "correct-horse" not in written
    if step is not None:
        assert (found.row(step)["status"], found.failure.step) == ("failed", step)
    if code is not None:
        assert found.failure.code == code


# Authentication


@pytest.mark.parametrize("user", ["secured", "nobody_known_here"])
def test_a_wrong_password_and_an_unknown_role_are_one_answer_and_said_to_be(tcp: Server, address: str, user: str) -> None:
    found = observed(by_tcp(address, user, password=f"not {SECRET}"))

    holds(found, "authentication", "password refused", "authentication")
    assert found.failure is not None
    assert "get the same answer, on purpose" in found.failure.words
    assert "SCRAM" in str(found.row("authentication method")["message"])


def test_a_refused_password_is_sent_once_only(tcp: Server, address: str) -> None:
    conninfo = by_tcp(address, "secured", password="wrong")
    refused = "authentication failed for user"
    before = tcp.log_file.read_text().count(refused)

    observed(conninfo)

    assert tcp.log_file.read_text().count(refused) == before + 1


def test_without_an_ordinary_attempt_before_it_libpq_tries_once(tcp: Server, address: str) -> None:
    frame = attempt(by_tcp(address, "secured", password="wrong")).frame.set_index("step")
    assert frame.loc["authentication", "status"] == "failed"

    frame = attempt(by_tcp(address, "secured", password=SECRET)).frame
    assert set(frame["status"]) == {"ok", "skipped"}
    assert frame["message"].iloc[-1] == "the server is not in recovery"


def test_of_several_hosts_none_gets_a_password_that_another_refused(tcp: Server, address: str) -> None:
    given = by_tcp(f"{address},{address},{address}", "secured", password=f"not-{SECRET}")

    before = refused_passwords(tcp)
    holds(observed(given), "authentication", "password refused", "authentication")
    assert refused_passwords(tcp) - before == 1
    attempt(given)
    assert refused_passwords(tcp) - before == 2
    assert observed(by_tcp(f"{address},{address}", "secured", password=SECRET)).failure is None


def test_several_hosts_that_do_not_answer_are_left_in_time() -> None:
    with failing.full_backlog() as port:
        found = observed(f"host=127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1 port={port} user=a dbname=b")

    holds(found, "reachability", "connect timeout", "tcp", "TIMEOUT")
    assert found.connection.frame["seconds"].iloc[0] < 11


def test_a_password_file_that_others_may_read(tcp: Server, address: str, tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:*:{SECRET}\n", "utf-8")
    file.chmod(0o644)

    found = observed(by_tcp(address, "secured", passfile=str(file)))

    holds(found, "authentication", "no password given", "authentication")
    assert f"libpq passes over the password file {file}: others may read it (mode 0644, wanted 0600)" in found.failure.words


def test_a_password_that_has_expired(tcp: Server, address: str) -> None:
    tcp.execute("alter role secured valid until '2020-01-01'")
    try:
        holds(observed(by_tcp(address, "secured", password=SECRET)), "authentication", "password refused", "authentication")
    finally:
        tcp.execute("alter role secured valid until 'infinity'")


def test_channel_binding_that_is_demanded_without_tls(tcp: Server, address: str) -> None:
    found = observed(by_tcp(address, "secured", password=SECRET, channel_binding="require"))

    holds(found, "authentication", "client's own demand", "authentication")


def test_encryption_by_kerberos_that_is_demanded(tcp: Server, address: str) -> None:
    assert observed(by_tcp(address, "trusted", gssencmode="require")).named == ("authentication", "client's own demand")


@pytest.mark.parametrize("variable", ["PGPORT", "PGSSLMODE", "PGSERVICE", "PGTARGETSESSIONATTRS"])
def test_a_variable_of_the_environment_that_libpq_refuses(address: str, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "nowhere")

    found = observed(f"host={address} user=trusted dbname=postgres")

    holds(found, "configuration", "connection string refused", "options", "OPTION")


def test_a_service_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nonexistent/pg_service.conf")

    holds(observed("service=shop"), "configuration", "connection string refused", "options", "OPTION")


def test_no_password_at_all(tcp: Server, address: str) -> None:
    holds(observed(by_tcp(address, "secured")), "authentication", "no password given")


def test_no_entry_in_pg_hba_conf(tcp: Server, address: str) -> None:
    found = observed(by_tcp(address, "outside"))

    holds(found, "authentication", "pg_hba.conf wants TLS", "authentication method", "28000")


def test_a_line_that_rejects(tcp: Server, address: str) -> None:
    holds(observed(by_tcp(address, "rejected")), "authentication", "no pg_hba.conf entry", "authentication method", "28000")


def test_a_role_that_may_not_log_in(tcp: Server) -> None:
    holds(observed(tcp.dsn(user="a_group")), "authentication", "role without login", "database", "28000")


def test_a_role_that_is_not_there_where_no_password_is_wanted(tcp: Server) -> None:
    holds(observed(tcp.dsn(user="no_such_role")), "authentication", "no such role", "database", "28000")


def test_the_operating_systems_user_is_another(tcp: Server) -> None:
    holds(observed(tcp.dsn(user="peer_role")), "authentication", "operating system's user", "authentication method", "28000")


def test_no_privilege_to_connect(tcp: Server) -> None:
    holds(observed(tcp.dsn("guarded", "trusted")), "authentication", "no CONNECT privilege", "database", "42501")


# Database, and what kind of server it is


def test_a_database_that_is_not_there(tcp: Server, address: str) -> None:
    holds(observed(by_tcp(address, "trusted", "no_such_database")), "database identity", "no such database", "database", "3D000")
    behind_a_password = observed(by_tcp(address, "secured", "no_such_database", password=SECRET))
    holds(behind_a_password, "database identity", "no such database", "database")


def test_a_database_whose_name_says_something_else(tcp: Server, address: str) -> None:
    name = "password authentication failed, too many clients already"
    found = observed(f"host={address} port=5432 user=trusted dbname='{name}'")

    holds(found, "database identity", "no such database", "database", "3D000")


def test_a_database_that_takes_no_sessions(tcp: Server) -> None:
    holds(observed(tcp.dsn("closed", "trusted")), "database identity", "database closed", "database", "55000")


def test_sessions_that_are_read_only_where_writing_is_demanded(tcp: Server) -> None:
    found = observed(f"{tcp.dsn(user='reading')}&target_session_attrs=read-write")

    assert found.named == ("database identity", "read-only server")
    assert found.fired == ["unsuitable_servers"]
    assert found.failure.message.endswith("session is read-only (the server is not in recovery)")


def test_a_standby_where_a_primary_is_demanded() -> None:
    with sandbox.running() as server:
        server._cluster.halt("fast")
        (server.data_folder / "standby.signal").touch()
        server._cluster.launch()
        until(lambda: server.execute("select pg_is_in_recovery()") == [(True,)])

        found = observed(f"{server.dsn()}&target_session_attrs=primary")

        assert found.named == ("database identity", "read-only server")
        assert found.row("query")["message"] == "the server is in recovery: a standby, read-only"


# Slots


def test_no_slot_is_left_for_anybody() -> None:
    with full_server() as server, contextlib.ExitStack() as held:
        for _ in range(6):
            held.enter_context(server.connect())

        found = observed(server.dsn())

        holds(found, "capacity and performance", "too many clients", "authentication method", "53300")


def test_what_is_left_is_reserved() -> None:
    with full_server() as server, contextlib.ExitStack() as held:
        server.execute("create role ordinary login")
        for _ in range(4):
            held.enter_context(server.connect(user="ordinary"))

        found = observed(server.dsn(user="ordinary"))

        holds(found, "capacity and performance", "reserved slots", code="53300")


@contextlib.contextmanager
def full_server() -> Iterator[Server]:
    slots = {"max_connections": "6", "superuser_reserved_connections": "2", "max_wal_senders": "0"}
    with sandbox.running(settings=slots, preload=()) as server:
        yield server


def test_the_limits_of_a_role_and_of_a_database(tcp: Server) -> None:
    with tcp.connect(user="narrow"):
        holds(observed(tcp.dsn(user="narrow")), "capacity and performance", "limit of the role", "database", "53300")
    found = observed(tcp.dsn("small", "trusted"))
    holds(found, "capacity and performance", "limit of the database", "database", "53300")


# Settings


def test_a_setting_that_the_server_does_not_know(tcp: Server) -> None:
    found = observed(f"{tcp.dsn(user='trusted')}&options=-c%20no_such_setting%3D1")

    holds(found, "configuration", "setting refused", "database", "42704")


def test_an_option_that_libpq_refuses(tcp: Server) -> None:
    for conninfo in ("host=db sslmode=sometimes", "service=not_defined_anywhere", "host=db port=70000"):
        holds(observed(conninfo), "configuration", "connection string refused", "options", "OPTION")


# A server that is starting, stopping, recovering, stopped or locked


def test_starting_up() -> None:
    with sandbox.running() as server:
        waits = ["restore_command = 'sleep 60'"]
        with failing.stuck(server, "recovery.signal", waits):
            holds(observed(server.dsn()), "reachability", "starting up", "authentication method", "57P03")
        (server.data_folder / "recovery.signal").unlink()


def test_a_standby_that_takes_no_sessions() -> None:
    with sandbox.running() as server, failing.stuck(server, "standby.signal", ["hot_standby = off"]):
        until(lambda: "consistent recovery state reached" in server.log_file.read_text())

        holds(observed(server.dsn()), "reachability", "hot standby off", "authentication method", "57P03")


def test_shutting_down() -> None:
    with sandbox.running() as server, server.connect():
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: "smart shutdown" in server.log_file.read_text())

        holds(observed(server.dsn()), "reachability", "shutting down", "authentication method", "57P03")


def test_a_server_that_hangs(address: str) -> None:
    other = failing.loopback() if platform.system() == "Linux" else address
    with sandbox.running(settings={"listen_addresses": other}, hba=HBA) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            found = observed(by_tcp(other, "postgres", connect_timeout="2"))
        finally:
            os.kill(server.pid, signal.SIGCONT)

    holds(found, "reachability", "silent listener", "greeting", "TIMEOUT")


def test_a_catalog_that_is_locked(tcp: Server) -> None:
    with tcp.connect(autocommit=False) as locking:
        locking.execute("lock pg_authid in access exclusive mode")

        found = observed(f"{tcp.dsn(user='trusted')}&connect_timeout=2")

        locking.rollback()
    holds(found, "reachability", "silent server", "authentication method", "TIMEOUT")


# Sockets


def test_a_socket_file_that_is_dead(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(tmp_path / ".s.PGSQL.5432"))

    holds(observed(f"host={tmp_path} user=app"), "reachability", "dead socket", "socket connection", "ECONNREFUSED")


def test_a_socket_folder_that_one_may_not_enter(tcp: Server) -> None:
    with failing.ordinary_user():
        found = observed(tcp.dsn(user="trusted"))

    holds(found, "reachability", "socket not permitted", "socket folder", "EACCES")
    assert "mode 0700: nobody may not enter it" in str(found.row("socket folder")["message"])


def test_a_socket_of_another_port_is_pointed_out(tcp: Server) -> None:
    found = observed(f"host={tcp.socket_folder} port=6432 user=trusted")

    holds(found, "reachability", "no socket", "socket file", "ENOENT")
    assert "but .s.PGSQL.5432 there" in str(found.row("socket file")["message"])


def test_the_file_given_as_host(tcp: Server) -> None:
    found = observed(f"host={tcp.socket_folder}/.s.PGSQL.5432 user=trusted")

    holds(found, "reachability", "socket file in the host", "socket folder", "ENOTDIR")


def test_a_path_that_is_too_long() -> None:
    host = f"/cloudsql/{'long-project' * 9}:us-central1:db"

    holds(observed(f"host={host} user=app"), "reachability", "socket path too long", "socket folder", "ENAMETOOLONG")


CLOUDSQL = "host=/cloudsql/shop-prod:us-central1:main user=app dbname=shop"


@pytest.mark.skipif(Path("/cloudsql").exists(), reason="this machine has a /cloudsql of its own")
def test_a_missing_cloudsql_folder_says_nothing_about_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = observed(CLOUDSQL)

    assert found.named == ("reachability", "no socket")
    assert found.fired == []
    [unseen] = found.results["unreachable_servers"].not_examined
    assert "only the service's own runtime has" in unseen.reason
    layers = {entry.layer: entry.status for entry in ladder(list(found.results.values()), None)}
    assert layers["reachability"] == "not examined"


@pytest.mark.skipif(Path("/cloudsql").exists(), reason="this machine has a /cloudsql of its own")
def test_a_missing_cloudsql_folder_in_the_services_own_runtime_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "shop-api")

    holds(observed(CLOUDSQL), "reachability", "no socket", "socket folder", "ENOENT")


def test_a_carriage_return_in_the_host_is_a_fault_wherever_one_asks() -> None:
    found = observed("host='/cloudsql/shop-prod:us-central1:main\r' user=app")

    assert found.fired == ["unreachable_servers"]
    assert "carriage return" in found.results["unreachable_servers"].findings[0].message


# Names, routes, ports


def test_a_name_that_cannot_be_resolved() -> None:
    found = observed("host=no-such-host.invalid user=app connect_timeout=2")

    assert found.failure is not None
    assert found.failure.step == "name resolution"
    assert found.named in {("reachability", "unknown name"), ("reachability", "name servers silent")}


def test_a_text_that_is_no_name() -> None:
    holds(observed(f"host={'x' * 70}.example user=app connect_timeout=2"), "reachability", "unknown name", "name resolution")


@needs_linux
def test_an_address_without_a_route() -> None:
    holds(observed("host=224.0.0.1 user=app connect_timeout=2"), "reachability", "no route", "tcp", "ENETUNREACH")


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs unshare and root: NOT tested")
def test_an_ipv6_address_where_there_is_no_ipv6() -> None:
    script = (
        "from tests.failing import observed; f = observed('host=2a05:d014::1 user=app connect_timeout=2');"
        "print(*f.named, f.failure.code, sep='|')"
    )
    asked = subprocess.run(["unshare", "--net", sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert asked.stdout.strip() in {f"reachability|no route|{code}" for code in ("ENETUNREACH", "EADDRNOTAVAIL")}, asked.stderr


def test_a_port_where_nobody_listens() -> None:
    with listener(None) as port:
        pass

    holds(observed(f"host=127.0.0.1 port={port} user=app"), "reachability", "refused", "tcp", "ECONNREFUSED")


@needs_linux
def test_packets_that_are_dropped() -> None:
    with failing.full_backlog() as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    holds(found, "reachability", "connect timeout", "tcp", "TIMEOUT")


def test_of_several_hosts_the_one_that_came_furthest_is_told(tcp: Server, address: str) -> None:
    with listener(None) as port:
        pass
    found = observed(f"host=127.0.0.1,{address} port={port},5432 user=trusted dbname=no_such_database")

    holds(found, "database identity", "no such database", code="3D000")
    assert {"ECONNREFUSED", "3D000"} <= set(found.steps.frame["error_code"].dropna())


# Something else listens there

MYSQL = b"\0\0\0\n8.0.36-0ubuntu0.22.04.1\0\x08\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15" + b"\0" * 32


def test_a_listener_that_says_nothing() -> None:
    with listener(None) as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    holds(found, "reachability", "silent listener", "greeting", "TIMEOUT")


def test_a_listener_that_closes_at_once() -> None:
    with listener(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    holds(found, "reachability", "closed at once", "greeting")


@pytest.mark.parametrize(
    ("greeting", "cause", "words"),
    [
        # The first byte is the length: it may be an E, N or S, with which PostgreSQL answers too.
        (b"J" + MYSQL, "not PostgreSQL: MySQL", "8.0.36"),
        (b"N" + MYSQL, "not PostgreSQL: MySQL", "8.0.36"),
        (b"S" + MYSQL, "not PostgreSQL: MySQL", "8.0.36"),
        (b"E\0\0\0\xffj\x04Host '10.0.0.7' is not allowed to connect", "not PostgreSQL: MySQL", "MySQL"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not PostgreSQL", "SSH"),
        (b"220 mail.example ESMTP\r\n", "not PostgreSQL", "bytes 32 32 30"),
        (b"-ERR unknown command\r\n", "not PostgreSQL", "no PostgreSQL server sends"),
    ],
)
def test_a_server_of_another_kind(greeting: bytes, cause: str, words: str) -> None:
    with listener(lambda connection: (connection.sendall(greeting), connection.recv(100))) as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    holds(found, "reachability", cause, "greeting")
    assert words in str(found.row("greeting")["message"])


def test_a_web_server() -> None:
    with failing.web_server() as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    holds(found, "reachability", "not PostgreSQL: HTTP", "greeting", "HTTP")


# Whoever answers, and whatever: the attempt ends in time, and in order


@given(
    before=st.sampled_from([b"", b"N", b"S", b"E", b"NR", b"NE", b"N" + struct.pack("!cI", b"R", 8)]), data=st.binary(max_size=80)
)
@example(before=b"N", data=struct.pack("!cI", b"R", 4))
@example(before=b"N", data=struct.pack("!cI", b"R", 2**31))
@example(before=b"N", data=struct.pack("!cIIcI", b"R", 8, 0, b"E", 4))
@settings(max_examples=60, deadline=None)
def test_no_answer_breaks_the_attempt(before: bytes, data: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(before + data)
        connection.shutdown(socket.SHUT_WR)

    with listener(speak) as port:
        frame = attempt(f"host=127.0.0.1 port={port} user=app").frame

    found = failure_in(frame)
    assert found is not None
    assert found.kind in CHECKS


def test_a_server_that_sends_for_ever_is_left_in_time() -> None:
    notice, waiting = struct.pack("!cI", b"N", 4), threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"N")
        connection.recv(512)
        while True:
            connection.sendall(notice)
            waiting.wait(0.02)

    with listener(speak) as port:
        steps = attempt(f"host=127.0.0.1 port={port} user=app")

    assert steps.provenance.seconds <= ATTEMPT_SECONDS
    found = failure_in(steps.frame)
    assert found is not None
    assert (found.cause.name, found.step, found.code) == ("silent server", "authentication method", "TIMEOUT")


# TLS

TLS_HBA = (
    "local all all trust",
    "host all from_ldap 127.0.0.0/8 ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn=",
    "host all secured 127.0.0.0/8 scram-sha-256",
    "hostssl all all 127.0.0.0/8 trust",
)
TLS_SETTINGS = """
ssl = on
ssl_cert_file = 'served.pem'
ssl_key_file = 'served.pem'
ssl_ca_file = 'ca.pem'
ssl_min_protocol_version = 'TLSv1.3'
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def encrypted(certificates: Certificates) -> Iterator[tuple[Server, str]]:
    """A server with TLS, and its address; `with_certificate` gives it another certificate."""
    address = failing.loopback() if platform.system() == "Linux" else "127.0.0.1"
    settings = {"listen_addresses": address}
    with sandbox.running(Binaries(WITH_TLS), settings, hba=TLS_HBA) as server:
        with (server.data_folder / "postgresql.conf").open("a") as file:
            file.write(TLS_SETTINGS)
        # A server without TLS refuses this line, and it begins as one.
        rules = server.data_folder / "pg_hba.conf"
        rules.write_text(f"hostssl all carded 127.0.0.0/8 cert\n{rules.read_text()}")
        place(certificates.root, server.data_folder / "ca.pem")
        for role in ("carded", "from_ldap", f"secured login password '{SECRET}'"):
            server.execute(f"create role {role}{'' if ' ' in role else ' login'}")
        with_certificate(server, certificates.signed("good", "localhost"))
        yield server, address


def with_certificate(server: Server, certificate: Path) -> None:
    place(certificate, server.data_folder / "served.pem")
    server.restart()


def place(certificate: Path, served: Path) -> None:
    shutil.copy(certificate, served)
    owner = served.parent.stat()
    os.chown(served, owner.st_uid, owner.st_gid)
    served.chmod(0o600)


def refused_passwords(server: Server) -> int:
    """How often the server's log says that a password was refused."""
    return (server.data_folder.parent / "server.log").read_text("utf-8", "replace").count("password authentication failed")


def tls(address: str, sslmode: str, root: Path | None = None) -> str:
    rooted = f" sslrootcert={root}" if root else ""
    return f"host=localhost hostaddr={address} port=5432 user=postgres dbname=postgres sslmode={sslmode}{rooted}"


@needs_tls
def test_a_certificate_that_is_right_is_described(encrypted: tuple[Server, str], certificates: Certificates) -> None:
    server, address = encrypted
    with_certificate(server, certificates.signed("right", "localhost"))

    found = observed(tls(address, "verify-full", certificates.root))

    assert found.failure is None
    assert "TLSv1.3, certificate for localhost, valid " in str(found.row("tls")["message"])
    assert str(found.row("tls")["message"]).endswith("issued by Kit Test CA")


@needs_tls
@pytest.mark.parametrize(
    ("kind", "sslmode", "cause", "code"),
    [
        ("expired", "verify-full", "certificate expired", "TLS_EXPIRED"),
        ("self-signed", "verify-full", "certificate not trusted", "TLS_SELF_SIGNED"),
        ("another", "verify-full", "certificate of another name", "TLS_NAME"),
        ("unknown", "verify-ca", "certificate not trusted", "TLS_UNKNOWN_CA"),
        ("no root", "verify-full", "no root certificate", "TLS_NO_ROOT"),
    ],
)
def test_a_certificate_that_is_refused(
    encrypted: tuple[Server, str], certificates: Certificates, kind: str, sslmode: str, cause: str, code: str
) -> None:
    server, address = encrypted
    root = {"unknown": certificates.folder / "other-ca.crt", "no root": certificates.folder / "nothing.crt"}
    made = {
        "expired": lambda: certificates.signed("expired", "localhost", days=-1),
        "self-signed": lambda: certificates.self_signed("alone", "localhost"),
        "another": lambda: certificates.signed("another", "db.internal"),
    }
    with_certificate(server, made.get(kind, lambda: certificates.signed("plain", "localhost"))())

    found = observed(tls(address, sslmode, root.get(kind, certificates.root)))

    holds(found, "reachability", cause, "tls", code)
    if kind == "another":
        assert "certificate for db.internal" in str(found.row("tls")["message"])


@needs_tls
def test_a_server_that_wants_tls_and_a_client_that_does_not(encrypted: tuple[Server, str]) -> None:
    found = observed(tls(encrypted[1], "disable"))

    holds(found, "authentication", "pg_hba.conf wants TLS", "authentication method", "28000")
    assert found.row("tls")["message"] == "sslmode=disable; the server offers TLS"


@needs_tls
@pytest.mark.parametrize("mode", ["", " sslmode=prefer", " sslmode=allow", " sslmode=require"])
def test_with_tls_too_a_refused_password_is_sent_once_only(encrypted: tuple[Server, str], mode: str) -> None:
    server, address = encrypted
    given = by_tcp(address, "secured", password=f"not-{SECRET}") + mode

    before = refused_passwords(server)
    holds(observed(given), "authentication", "password refused", "authentication")
    assert refused_passwords(server) - before == 1
    attempt(given)
    assert refused_passwords(server) - before == 2
    assert observed(by_tcp(address, "secured", password=SECRET) + mode).failure is None


@needs_tls
def test_no_common_version_of_tls_is_seen_by_the_steps_too(encrypted: tuple[Server, str]) -> None:
    found = observed(f"{tls(encrypted[1], 'require')} ssl_max_protocol_version=TLSv1.2")

    holds(found, "reachability", "no common TLS version", "tls", "TLS_HANDSHAKE")


@needs_tls
def test_a_negotiation_that_an_older_server_does_not_know(encrypted: tuple[Server, str]) -> None:
    found = observed(f"{tls(encrypted[1], 'require')} sslnegotiation=direct")

    holds(found, "reachability", "no agreement on TLS", "tls")
    assert "sslnegotiation=direct needs a server of PostgreSQL 17 or later" in found.failure.words


@needs_tls
@pytest.mark.parametrize(
    ("kind", "layer", "cause", "step"),
    [
        ("none", "authentication", "client certificate", "authentication method"),
        ("of another role", "authentication", "client certificate", "authentication method"),
        ("readable by others", "reachability", "client's private key", "tls"),
        ("without its key", "reachability", "client's private key", "tls"),
    ],
)
def test_a_certificate_of_the_client(
    encrypted: tuple[Server, str], certificates: Certificates, kind: str, layer: str, cause: str, step: str
) -> None:
    own = certificates.signed("own", "somebody")
    own.chmod(0o644 if kind == "readable by others" else 0o600)
    key = own.with_name("nothing.key") if kind == "without its key" else own
    shown = "" if kind == "none" else f" sslcert={own} sslkey={key}"

    found = observed(f"{tls(encrypted[1], 'require')} user=carded{shown}".replace("user=postgres ", ""))

    holds(found, layer, cause, step)


@needs_tls
def test_a_login_that_the_server_asks_elsewhere(encrypted: tuple[Server, str]) -> None:
    found = observed(by_tcp(encrypted[1], "from_ldap", password=SECRET))

    holds(found, "authentication", "authentication service", "authentication")


@needs_tls
def test_an_authentication_service_that_never_answers() -> None:
    """The server waits for RADIUS for three seconds: it is there, and the network is not at fault."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = failing.loopback() if platform.system() == "Linux" else "127.0.0.1"
        radius = (
            f"host all waiting 127.0.0.0/8 radius radiusservers=127.0.0.1 radiussecrets=x radiusports={silent.getsockname()[1]}"
        )
        with sandbox.running(Binaries(WITH_TLS), {"listen_addresses": address}, hba=("local all all trust", radius)) as server:
            server.execute("create role waiting login")

            holds(
                observed(by_tcp(address, "waiting", password=SECRET)),
                "authentication",
                "authentication service",
                "authentication",
            )


def test_a_server_that_asks_for_a_password_and_says_no_more() -> None:
    def ask(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while len(packet := connection.recv(512)) == 8:
                connection.sendall(b"N")
            if packet:
                connection.sendall(b"R" + struct.pack("!II", 8, 3))
            while connection.recv(512):
                pass

    # The ordinary attempt stays open for as long as its error is held.
    def at_once(connection: socket.socket) -> None:
        threading.Thread(target=ask, args=(connection.dup(),), daemon=True).start()

    with listener(at_once) as port:
        found = observed(f"host=127.0.0.1 port={port} user=shop dbname=shop password='{SECRET}'")

    holds(found, "reachability", "silent server", "authentication", "TIMEOUT")


def test_a_server_that_offers_no_tls_and_a_client_that_wants_it(tcp: Server, address: str) -> None:
    if "OpenSSL" in str(tcp.execute("show ssl_library")):
        assert tcp.execute("show ssl") == [("off",)]

    found = observed(by_tcp(address, "trusted", sslmode="require"))

    holds(found, "reachability", "TLS not offered", "tls", "TLS_NOT_OFFERED")


@needs_tls
def test_a_web_server_with_tls(certificates: Certificates) -> None:
    with failing.web_server(certificates.signed("web", "localhost")) as port:
        found = observed(f"host=127.0.0.1 port={port} user=app connect_timeout=2")

    assert found.named[0] == "reachability"
    assert found.failure is not None
    assert found.failure.cause.name in ("not PostgreSQL", "closed at once")


# Poolers


@needs_pgbouncer
def test_a_pooler_without_that_database(tcp: Server) -> None:
    users = f'"app" "{SECRET}"\n'
    with pooler(f"shop = host={tcp.socket_folder} user=trusted dbname=postgres", "auth_type = scram-sha-256", users) as place:
        found = observed(f"{place} user=app dbname=shop_staging password={SECRET}")

    holds(found, "database identity", "no such database at the pooler")


@needs_pgbouncer
def test_a_pooler_without_that_user(tcp: Server) -> None:
    users, trusting = '"known" ""\n', "auth_type = trust"
    with pooler(f"shop = host={tcp.socket_folder} user=trusted dbname=postgres", trusting, users) as place:
        found = observed(f"{place} user=stranger dbname=shop")

    holds(found, "authentication", "password refused", code="08P01")


@needs_pgbouncer
def test_a_pooler_whose_server_is_gone(tmp_path: Path) -> None:
    settings = "auth_type = any\nserver_login_retry = 1\nserver_connect_timeout = 1\nquery_wait_timeout = 3"
    with pooler(f"shop = host={tmp_path} user=app dbname=shop", settings) as place:
        found = observed(f"{place} user=app dbname=shop connect_timeout=5")

    assert found.named == ("reachability", "pooler without server")


@needs_pgbouncer
def test_a_pooler_that_does_not_pass_on_a_setting(tcp: Server) -> None:
    with pooler(f"shop = host={tcp.socket_folder} user=trusted dbname=postgres") as place:
        found = observed(f"{place} user=app dbname=shop options='-c statement_timeout=5s'")

    holds(found, "configuration", "startup parameter")


@needs_pgbouncer
def test_a_pooler_with_as_many_clients_as_it_allows(tcp: Server) -> None:
    database = f"shop = host={tcp.socket_folder} user=trusted dbname=postgres"
    with pooler(database, "auth_type = any\nmax_client_conn = 1") as place:
        conninfo = f"{place} user=app dbname=shop"
        with contextlib.ExitStack() as held:
            # The knock that found the pooler ready may still count for a moment.
            until(lambda: connects(held, conninfo))
            found = observed(conninfo)

    holds(found, "capacity and performance", "pooler's clients", code="08P01")


def connects(held: contextlib.ExitStack, conninfo: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        held.enter_context(psycopg.connect(conninfo))
        return True
    return False


@needs_pgbouncer
def test_the_words_of_a_server_behind_a_pooler_are_its_own(tcp: Server) -> None:
    with pooler(f"shop = host={tcp.socket_folder} user=trusted dbname=gone_behind_the_pooler") as place:
        found = observed(f"{place} user=app dbname=shop connect_timeout=2")

    assert found.named == ("database identity", "no such database")


def test_a_short_password_leaves_the_words_whole(tcp: Server, address: str) -> None:
    found = observed(by_tcp(address, "secured", password="a"))

    holds(found, "authentication", "password refused")
    assert "masked" not in str(found.connection.frame["message"][0])


@needs_pgbouncer
@pytest.mark.parametrize(("wait", "cause"), [("1", "pool is full"), ("120", "no answer behind the pooler")])
def test_a_pool_that_is_full(tcp: Server, wait: str, cause: str) -> None:
    database = f"shop = host={tcp.socket_folder} user=trusted dbname=postgres"
    settings = f"auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\nquery_wait_timeout = {wait}"
    with pooler(database, settings) as place:
        conninfo = f"{place} user=app dbname=shop"
        with psycopg.connect(conninfo) as holder:
            holder.execute("select 1")
            steps = attempt(conninfo)
            taken = connection_evidence(conninfo, datetime.now(UTC), 0.0, None)
            found = judged(taken, steps, datetime.now(UTC))
            holder.rollback()

    holds(found, "capacity and performance", cause, "query")


# What is healthy, and what comes and goes


def test_what_works_has_only_steps_that_went_well(tcp: Server, address: str) -> None:
    found = observed(by_tcp(address, "trusted"))

    assert found.failure is None
    assert found.fired == []
    assert set(found.steps.frame["status"]) <= {"ok", "skipped"}
    assert found.steps.provenance.seconds < 2


def test_a_failure_that_is_gone_at_the_second_try_is_said_to_come_and_go(tcp: Server, address: str) -> None:
    conninfo = by_tcp(address, "trusted")
    at = datetime.now(UTC)
    refused = psycopg.OperationalError(f'connection to server at "{address}", port 5432 failed: Connection refused')

    found = judged(connection_evidence(conninfo, at, 0.1, refused), attempt(conninfo, refused), at)

    holds(found, "reachability", "refused")
    assert found.failure is not None
    assert "comes and goes" in found.failure.words


# The table of causes


def test_every_cause_is_told_apart_from_the_others_by_its_own_words() -> None:
    names = [(cause.kind, cause.name) for cause in CAUSES]
    assert len(names) == len(set(names))
    assert {cause.kind for cause in CAUSES} == set(LAYERS) == set(CHECKS)
    for cause in CAUSES:
        assert cause.meaning.endswith("."), cause.name
        assert cause.remedy.endswith("."), cause.name


@pytest.mark.parametrize(
    ("message", "code", "cause"),
    [
        ("FATAL: Datenbank »shop« existiert nicht", "3D000", "no such database"),
        ("FATAL: Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen", "28P01", "password refused"),
        ("FATAL: désolé, trop de clients sont déjà connectés", "53300", "too many clients"),
        ("FATAL: das Datenbanksystem startet", "57P03", "starting up"),
    ],
)
def test_in_another_language_the_code_decides(message: str, code: str, cause: str) -> None:
    assert cause_of(message, code).name == cause


def test_a_name_in_a_message_decides_nothing() -> None:
    refused = 'connection to server at "peer authentication failed.example", port 5432 failed: Connection refused'
    assert kind_of(refused) == "unreachable"
    assert cause_of(refused).name == "refused"
