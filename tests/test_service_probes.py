"""Probes of services: real little servers and sockets on the loopback, where each request dies, and what the checks say."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from kit import checks
from kit.analyze.findings import Finding, Result
from kit.analyze.symptom import parse_symptom, symptom_evidence
from kit.case.judging import Question, judged
from kit.case.showing import records
from kit.case.showing import shown as table_shown
from kit.collect.attempt.records import Row as Tried
from kit.collect.secrecy import Secrecy
from kit.collect.services import NAME, collect_services
from kit.collect.services.addresses import shown_url
from kit.collect.services.body import body_fields
from kit.collect.services.probe import _telling
from kit.collect.services.wire import MOST_BODY_BYTES, read_body
from kit.errors import TargetError
from kit.evidence import bundle
from kit.evidence.model import Capture, Cost, Source
from kit.report.running import exit_status
from kit.sandbox.little_services import (
    UPTIME_SECONDS,
    Authority,
    LittleService,
    answer_json,
    authority,
    dead_after_handshake,
    healthy,
    serving,
    three_services,
    unavailable,
)
from kit.target import resolve
from kit.target.services import Services, ServiceUrl, services_of
from tests.failing import full_backlog, listener
from tests.run_support import kit

SECONDS = 1.5
KEY = "Zx81-Qq7-secret-key"
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def signed() -> Iterator[Authority]:
    with authority() as made:
        yield made


def asked(*urls: str, ca: Path | None = None, method: str = "GET", seconds: float = SECONDS) -> Source:
    named = tuple(ServiceUrl(f"service{number}", url, method) for number, url in enumerate(urls, 1))  # type: ignore[arg-type]
    return collect_services(Services(named, ca=ca, seconds=seconds, vantage="laptop"))


def row(*urls: str, **options: Any) -> Row:
    return rows(asked(*urls, **options))[0]


def rows(source: Source) -> list[Row]:
    return records(source.evidence[NAME].frame)


def captured(source: Source) -> Capture:
    at = datetime.now(UTC)
    return Capture("t", at, at, "0", (source,), Cost())


def results(source: Source, symptom: str | None = None, **thresholds: float) -> dict[str, Result]:
    extra = {"symptom": symptom_evidence(parse_symptom(symptom), datetime.now(UTC))}
    found = checks.judge(captured(source), {key.replace("__", "."): value for key, value in thresholds.items()}, extra)
    assert not [result for result in found if result.status == "failed"]
    return {result.check: result for result in found if result.source == "services"}


def found(source: Source, check: str) -> list[Finding]:
    return list(results(source)[check].findings)


def answering(status: int = 200, body: bytes = b"{}", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    return answer


def speaking(answer: bytes) -> Callable[[socket.socket], object]:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return speak


def times(found: Row) -> list[str]:
    return [step for step in ("name", "tcp", "tls", "answer", "body") if found[f"{step}_seconds"] is not None]


# What a probe sees


def test_a_healthy_service_is_seen_step_by_step(signed: Authority) -> None:
    with healthy("auth", signed) as service:
        found = row(service.url, ca=signed.root)
    assert (found["died_at"], found["http_status"], found["vantage"]) == (None, 200, "laptop")
    assert found["body_fields"] == ["status: healthy", "database: connected", f"uptime: {UPTIME_SECONDS}"]
    assert times(found) == ["name", "tcp", "tls", "answer", "body"]
    assert found["tls"].startswith("TLSv1.")
    assert "certificate for localhost" in found["tls"]
    assert service.requests == ["GET /health"]


def test_a_service_that_is_dead_after_the_handshake(signed: Authority) -> None:
    with dead_after_handshake("backend", signed) as service:
        found = row(service.url, ca=signed.root)
        assert service.requests == ["GET /health"]
    assert (found["died_at"], found["error_code"], found["http_status"]) == ("answer", "TIMEOUT", None)
    assert times(found) == ["name", "tcp", "tls", "answer"]
    # A time-out fires at its time or a little after it, never before.
    assert SECONDS * 0.8 < found["answer_seconds"] < SECONDS + 0.25


def test_a_service_that_is_unavailable_names_what_it_waits_for() -> None:
    with healthy() as well, unavailable("websocket", "service1") as service:
        found = rows(asked(well.url, service.url))[1]
    assert (found["died_at"], found["http_status"]) == (None, 503)
    assert "dependencies.service1: unreachable" in found["body_fields"]
    assert found["mentioned_services"] == ["service1"]
    assert times(found) == ["name", "tcp", "answer", "body"]


def test_head_asks_for_no_body() -> None:
    with healthy() as service:
        found = row(service.url, method="HEAD")
    assert (found["http_status"], found["body_bytes"], found["body_fields"], service.requests) == (200, 0, [], ["HEAD /health"])


def test_a_name_that_is_none_is_not_reached() -> None:
    found = row(f"https://{'a' * 64}/health")
    assert (found["died_at"], found["error_code"], times(found)) == ("name", "EAI_NONAME", ["name"])


def test_a_port_that_nobody_listens_on_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = row(f"http://127.0.0.1:{port}/health")
    assert (found["died_at"], found["error_code"], times(found)) == ("tcp", "ECONNREFUSED", ["name", "tcp"])
    assert found["addresses"] == ["127.0.0.1 ECONNREFUSED"]


def test_a_port_that_drops_every_packet_is_given_up() -> None:
    with full_backlog() as port:
        found = row(f"http://127.0.0.1:{port}/health")
    assert (found["died_at"], found["error_code"]) == ("tcp", "TIMEOUT")


def test_a_certificate_that_is_not_trusted_is_an_outcome(signed: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "A stranger")
    cases = {
        "TLS_UNKNOWN_CA": (signed.certificate(), stranger.root),
        "TLS_EXPIRED": (signed.certificate(days=-1), signed.root),
        "TLS_NAME": (signed.certificate("other.example"), signed.root),
    }
    for code, (certificate, ca) in cases.items():
        with serving("service", answering(), certificate) as service:
            found = row(service.url, ca=ca)
            assert (found["died_at"], found["error_code"], times(found)) == ("tls", code, ["name", "tcp", "tls"])
            assert not service.requests, "nothing is asked of a server that is not trusted"


def test_the_authorities_of_the_environment_are_honoured(signed: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with healthy("auth", signed) as service:
        assert row(service.url)["died_at"] == "tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(signed.root))
        assert row(service.url)["http_status"] == 200


def test_plain_http_and_tls_taken_for_each_other(signed: Authority) -> None:
    with healthy("auth", signed) as service:
        found = row(service.url.replace("https:", "http:"))
    assert (found["died_at"], found["http_status"]) == ("answer", None)
    with listener(speaking(b"\x15\x03\x01\x00\x02\x02\x46")) as port:
        found = row(f"http://127.0.0.1:{port}/")
    assert (found["error_code"], "https is meant" in found["message"]) == ("NOT_HTTP", True)
    with listener(speaking(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) as port:
        found = row(f"https://127.0.0.1:{port}/")
    assert (found["died_at"], found["error_code"]) == ("tls", "NOT_TLS")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "CLOSED"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "NOT_HTTP"),
        (b"HTTP/1.1 banana\r\n\r\n", "NOT_HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "NOT_HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "NOT_HTTP"),
    ],
)
def test_what_is_no_answer(answer: bytes, code: str) -> None:
    with listener(speaking(answer)) as port:
        found = row(f"http://127.0.0.1:{port}/")
    assert (found["died_at"], found["error_code"], found["http_status"]) == ("answer", code, None)


def test_a_redirect_is_recorded_and_not_followed() -> None:
    with healthy() as other:
        elsewhere = other.url.replace("http://", f"http://user:{KEY}@") + f"?token={KEY}"
        with serving("service", answering(302, Location=elsewhere)) as service:
            found = row(service.url)
        assert (found["http_status"], other.requests) == (302, [])
    assert found["location"] == f"{other.url}?token=<masked>"
    with serving("service", answering(308, Location="/login")) as service:
        assert row(service.url)["location"] == service.url.replace("/health", "/login")
        assert len(service.requests) == 1


def test_a_body_of_announced_length_is_whole_though_the_connection_stays_open() -> None:
    released = threading.Event()

    def keep(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"status": "ok"}')
        released.wait(10)

    with listener(keep) as port:
        found = row(f"http://127.0.0.1:{port}/")
        released.set()
    assert (found["died_at"], found["body_fields"]) == (None, ["status: ok"])


def test_the_count_of_an_older_python_is_not_believed() -> None:
    class Older:
        # As read1 of Python 3.11.0: what is left is not counted down.
        length = 4

        def __init__(self) -> None:
            self.pieces = [b"ab", b"cd"]

        def read1(self, _: int) -> bytes:
            return self.pieces.pop(0)

    assert read_body(Older()) == (b"abcd", False, None)


def test_an_endless_body_is_cut() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"{" * 4096)

    with serving("service", endless) as service:
        found = row(service.url)
    assert (found["died_at"], found["body_bytes"], found["body_is_cut"]) == (None, MOST_BODY_BYTES, True)
    assert found["body_fields"] == []


@pytest.mark.parametrize(("start", "died_at", "status"), [(b"HTTP/1.1 200 OK\r\n\r\n", "body", 200), (b"", "answer", None)])
def test_a_slow_drip_ends_at_the_deadline(start: bytes, died_at: str, status: int | None) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(start)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            connection.sendall(b"H")
            time.sleep(0.02)

    with listener(drip) as port:
        clock = time.monotonic()
        found = row(f"http://127.0.0.1:{port}/")
        assert time.monotonic() - clock < SECONDS + 1
    assert (found["died_at"], found["error_code"], found["http_status"]) == (died_at, "UNFINISHED", status)


def test_a_slow_drip_through_tls_ends_too(signed: Authority) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        end = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                handler.wfile.write(b"H")
                time.sleep(0.02)

    with serving("service", drip, signed.certificate()) as service:
        clock = time.monotonic()
        found = row(service.url, ca=signed.root)
        assert time.monotonic() - clock < SECONDS + 1
    assert (found["died_at"], found["error_code"]) == ("answer", "UNFINISHED")


def test_a_handshake_that_never_ends() -> None:
    released = threading.Event()
    with listener(lambda _: released.wait(10)) as port:
        source = asked(f"https://127.0.0.1:{port}/")
        released.set()
    assert (rows(source)[0]["died_at"], rows(source)[0]["error_code"]) == ("tls", "TIMEOUT")
    [dead] = found(source, "unanswering_services")
    assert dead.message.startswith("service1 came no further than TLS: no answer in time. Before that, there answered: TCP")
    assert "ertificate, for this very name" not in dead.remedy


def test_a_body_that_breaks_off_keeps_its_status() -> None:
    with listener(speaking(b'HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\n{"status"')) as port:
        found = row(f"http://127.0.0.1:{port}/")
    assert (found["died_at"], found["error_code"], found["http_status"], found["body_bytes"]) == ("body", "CLOSED", 503, 9)


def test_all_are_asked_at_once() -> None:
    with contextlib.ExitStack() as running:
        urls = [running.enter_context(dead_after_handshake(f"dead{number}")).url for number in range(12)]
        clock = time.monotonic()
        assert len(rows(asked(*urls))) == 12
        assert time.monotonic() - clock < SECONDS * 2


HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\r\nSet-Cookie: x"


def test_hostile_text_stays_text_in_one_line() -> None:
    body = json.dumps({"status": HOSTILE * 50, HOSTILE: {"status": 1}, "checks": {HOSTILE: HOSTILE}, "version": [[[[[[1]]]]]]})
    with serving("service", answering(200, body.encode(), Content_Type="text/\x1b[31m")) as service:
        found = row(service.url)
    told = json.dumps(found, ensure_ascii=False)
    assert all(letter.isprintable() for letter in told)
    assert all(len(field) < 250 for field in found["body_fields"])
    assert found["body_fields"]


ODD = (b"[" * 60_000, b"1" * 9_000, b'{"status": NaN}', b"\xff\xfe\x00", b"null", b'"x"', b"", b'{"status":"\\ud800"}')


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_odd_bodies_are_no_error(body: bytes) -> None:
    with serving("service", answering(200, body)) as service:
        found = row(service.url)
    assert (found["died_at"], found["http_status"]) == (None, 200)


def test_only_chosen_fields_are_kept() -> None:
    body = {"user": {"email": "a@b.c", "status": "member"}, "data": {"database": {"connected": True}}, "rows": [1, 2], "ok": True}
    assert body_fields(json.dumps(body).encode(), ()) == ["user.status: member", "data.database.connected: true", "ok: true"]


def test_keys_in_a_path_are_never_shown() -> None:
    hook = "XrT81kQq7Zx81Qq7Lm"
    session = "9f8a7b6c5d4e3f2a"
    answer = answering(302, Location=f"/reset/{hook};jsessionid={session}", body=f'{{"status": "no {hook}"}}'.encode())
    with serving("service", answer) as service:
        source = asked(service.url.replace("/health", f"/hooks/{hook}"))
    told = repr(rows(source)) + repr(results(source)) + source.evidence[NAME].provenance.text
    assert [secret for secret in (hook, session) if secret in told] == []
    assert rows(source)[0]["location"].endswith("/reset/<masked>;<masked>")
    assert (
        shown_url("https://a/api/v1/backend-service-v2-healthcheck/2026")
        == "https://a/api/v1/backend-service-v2-healthcheck/2026"
    )


def test_secrets_below_a_key_and_inside_of_words_are_masked() -> None:
    body = {
        "database": {"credentials": {"value": KEY, "status": "ok"}, "password": [KEY], "state": "up"},
        "error": f"Authorization: Bearer {KEY}; cookie: sid={KEY}; passwd={KEY}",
        "message": f"GET https://x/y?sig={KEY} failed with token={KEY}",
    }
    fields = body_fields(json.dumps(body).encode(), ())
    assert KEY not in repr(fields)
    assert {"database.credentials.status: ok", "database.state: up"} <= set(fields)


def test_secrets_in_query_and_body_are_never_shown(tmp_path: Path) -> None:
    body = {
        "status": f"asked with {KEY}",
        "database": {"password": "hunter2-and-more", "url": "x", "error": "postgresql://app:hunter2-and-more@db/shop refused"},
        "checks": {"api_key": "hunter2-and-more", "dsn": "hunter2-and-more", "known": "of-another-source"},
    }
    with serving("service", lambda handler: answer_json(handler, 500, body)) as service:
        url = ServiceUrl("backend", f"{service.url}?key={KEY}&{KEY}")
        assert KEY not in repr(url)
        source = collect_services(Services((url,), seconds=SECONDS), Secrecy(["of-another-source"]))
        assert service.requests == [f"GET /health?key={KEY}&{KEY}"]
    assert rows(source)[0]["url"].endswith("/health?key=<masked>&<masked>")
    bundle.save(captured(source), tmp_path / "b")
    told = repr(rows(bundle.load(tmp_path / "b").sources[0])) + repr(results(source)) + repr(source)
    assert not [secret for secret in (KEY, "hunter2", "of-another-source") if secret in told]


# What the checks make of it


def test_the_three_services_of_an_incident() -> None:
    with three_services() as services:
        urls = tuple(ServiceUrl(name, found.url) for name, found in services.services.items())
        source = collect_services(Services(urls, ca=services.ca, seconds=SECONDS))
        document = judged(captured(source), Question("c", "Staging is down: database timeout"))
    assert (document.verdict.status, document.verdict.layer) == ("broken", "service")
    assert exit_status(document, "critical") == 1
    [dead] = found(source, "unanswering_services")
    assert (dead.severity, dead.fingerprint) == ("critical", "unanswering_services:service:backend")
    assert "TLS (" in dead.message
    assert (
        "the front (or the service itself, where it ends TLS) accepted it, and what stands behind did not answer" in dead.message
    )
    assert "auth, asked in the same moment, answers 200 and says “database: connected”" in dead.message
    [following] = found(source, "failing_services")
    assert (following.severity, following.subject.name) == ("warning", "websocket")
    assert "it names backend, so most likely it follows from backend, which does not answer" in following.message
    [well] = found(source, "answering_services")
    assert (well.severity, well.subject.name, f"uptime: {UPTIME_SECONDS}" in well.message) == ("info", "auth", True)


@pytest.mark.parametrize("check", ["unanswering_services", "failing_services"])
def test_clean_provoked_found_repaired_clean(check: str) -> None:
    defects: dict[str, Callable[[str], contextlib.AbstractContextManager[LittleService]]]
    defects = {"unanswering_services": dead_after_handshake, "failing_services": unavailable}
    with healthy("backend") as service:
        assert results(asked(service.url))[check].status == "clean"
    with defects[check]("backend") as service:
        [found_one] = found(asked(service.url), check)
    assert (found_one.severity, found_one.fingerprint) == ("critical", f"{check}:service:service1")
    assert found_one.remedy
    with healthy("backend") as service:
        assert not results(asked(service.url))[check].findings


def slow(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.3)
    answer_json(handler, 200, {"status": "ok"})


def test_slow_is_a_number_that_can_be_set() -> None:
    with serving("service", slow) as service:
        source = asked(service.url)
    assert [f.severity for f in results(source)["answering_services"].findings] == ["info"]
    late = results(source, answering_services__slow_seconds=0.2)["answering_services"].findings
    assert [(f.severity, f.threshold, f.unit) for f in late] == [("warning", 0.2, "s")]


def test_a_200_clears_nothing_behind_it() -> None:
    with healthy() as service:
        source = asked(service.url)
    without = judged(captured(source), Question("d"))
    assert (without.verdict.status, exit_status(without, "critical")) == ("healthy", 0)
    elsewhere = judged(captured(source), Question("d", "Session creation returns 500; /health returns 200"))
    assert (elsewhere.verdict.status, exit_status(elsewhere, "critical")) == ("open", 3)
    assert results(source)["unanswering_services"].saw == ("service1 answered 200 from laptop",)
    [service_layer] = [layer for layer in elsewhere.layers if layer.layer == "service"]
    assert service_layer.status == "not examined"
    assert "which clears nothing behind it" in service_layer.reason


def test_a_dead_service_does_not_explain_a_missing_table() -> None:
    with dead_after_handshake() as service:
        document = judged(captured(asked(service.url)), Question("a", 'relation "siwe_nonces" does not exist'))
    assert document.verdict.status != "broken"


def test_a_200_that_calls_itself_unwell_is_a_warning() -> None:
    body = {"status": "ok", "database": "disconnected"}
    with serving("service", lambda handler: answer_json(handler, 200, body)) as service:
        [unwell] = found(asked(service.url), "failing_services")
    assert (unwell.severity, "database: disconnected" in unwell.message) == ("warning", True)


def test_two_that_blame_each_other_are_both_at_fault() -> None:
    with unavailable("one", "service2") as one, unavailable("two", "service1") as two:
        both = found(asked(one.url, two.url), "failing_services")
    assert [finding.severity for finding in both] == ["critical", "critical"]


def test_a_chain_ends_at_its_cause() -> None:
    with contextlib.ExitStack() as running:
        chain = [unavailable("one", "service2"), unavailable("two", "service3"), dead_after_handshake("three")]
        services: list[LittleService] = [running.enter_context(link) for link in chain]
        following = found(asked(*(service.url for service in services)), "failing_services")
    assert ["follows from service3" in finding.message for finding in following] == [True, True]


def test_one_that_is_called_well_is_not_blamed() -> None:
    body = {"status": "unhealthy", "dependencies": {"service1": "ok", "queue": "down"}}
    with dead_after_handshake() as dead, serving("b", lambda handler: answer_json(handler, 503, body)) as service:
        [failing] = found(asked(dead.url, service.url), "failing_services")
    assert (failing.severity, "follows" in failing.message) == ("critical", False)


def test_one_that_was_not_examined_is_not_blamed(signed: Authority) -> None:
    with healthy("auth", signed) as unknown, unavailable("websocket", "service1") as service:
        source = asked(unknown.url, service.url)
    [failing] = found(source, "failing_services")
    assert (failing.severity, "does not answer" in failing.message) == ("critical", False)
    assert judged(captured(source), Question("x")).verdict.status == "broken"


def test_a_200_that_calls_itself_unwell_clears_nothing_behind_it_either() -> None:
    body = {"status": "ok", "database": "disconnected"}
    with serving("service", lambda handler: answer_json(handler, 200, body)) as service:
        document = judged(captured(asked(service.url)), Question("d", "Session creation returns 500"))
    assert (document.verdict.status, exit_status(document, "critical")) == ("open", 3)


@pytest.mark.parametrize(
    ("body", "is_well"),
    [
        ({"database": "connected"}, True),
        ({"db": {"ok": True}}, True),
        ({"database": None}, False),
        ({"db": "not configured"}, False),
    ],
)
def test_only_a_database_that_is_called_well_is_compared_with(body: dict[str, Any], is_well: bool) -> None:
    with dead_after_handshake() as dead, serving("b", lambda handler: answer_json(handler, 200, body)) as other:
        [death] = found(asked(dead.url, other.url), "unanswering_services")
    assert ("asked in the same moment" in death.message) == is_well


def test_words_that_begin_like_a_defect_are_none() -> None:
    body = {"status": "ok", "components": {"transport": "unix", "quota": "unlimited"}}
    with serving("service", lambda handler: answer_json(handler, 200, body)) as service:
        assert not found(asked(service.url), "failing_services")


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (401, "GET"), (404, "GET"), (429, "GET"), (501, "HEAD"), (103, "GET"), (999, "GET")]
)
def test_an_answer_that_does_not_say_how_the_service_is(status: int, method: str) -> None:
    with serving("service", answering(status)) as service:
        result = results(asked(service.url, method=method))["failing_services"]
    assert (result.status, result.findings) == ("skipped", ())
    assert ("takes no more requests now" in str(result.reason)) == (status == 429)


def test_a_redirect_is_not_told_as_the_service_s_own_answer() -> None:
    with serving("service", answering(302, Location="https://login.example/")) as service:
        source = asked(service.url)
    [told] = found(source, "answering_services")
    assert "which may be a front before the service" in told.message
    assert "if it is the service's own" in str(results(source)["failing_services"].reason)


RECORDS: tuple[tuple[dict[str, Any], str | None], ...] = (
    ({"died_at": "name", "error_code": "EAI_NONAME", "url": "https://shop.example/"}, "critical"),
    # Known only inside of its network: whether it was asked there nobody but the reader knows.
    ({"died_at": "name", "error_code": "EAI_NONAME", "url": "http://backend:8080/"}, "warning"),
    ({"died_at": "name", "error_code": "EAI_NONAME", "url": "http://backend.internal/"}, "warning"),
    ({"died_at": "name", "error_code": "EAI_FAIL", "url": "https://shop.example/"}, None),
    ({"died_at": "tcp", "error_code": "TIMEOUT", "url": "http://a.example/", "addresses": ["10.0.0.5 TIMEOUT"]}, "warning"),
    ({"died_at": "tcp", "error_code": "TIMEOUT", "url": "http://a.example/", "addresses": ["8.8.8.8 TIMEOUT"]}, "critical"),
    (
        {"died_at": "tcp", "error_code": "ECONNREFUSED", "url": "http://a.example/", "addresses": ["10.0.0.5 ECONNREFUSED"]},
        "critical",
    ),
    ({"died_at": "tcp", "error_code": "EPERM", "url": "http://a.example/"}, None),
    ({"died_at": "answer", "error_code": "TLS_CLIENT_CERTIFICATE", "url": "https://a.example/"}, None),
    ({"died_at": "answer", "error_code": "INVALID", "url": "https://a.example/"}, None),
    ({}, None),
)


@pytest.mark.parametrize(("record", "severity"), RECORDS)
def test_what_speaks_of_the_asker_is_not_said_of_the_service(
    record: dict[str, Any], severity: str | None, tmp_path: Path
) -> None:
    result = results(recorded(tmp_path, [{"service_name": "a", **record}]))["unanswering_services"]
    assert [finding.severity for finding in result.findings] == ([severity] if severity else [])
    assert result.complete == (severity == "critical")
    assert result.saw == ()
    words = [finding.message for finding in result.findings] + [unseen.reason for unseen in result.not_examined]
    assert "None" not in repr(words)


def test_another_address_family_does_not_hide_why_the_service_was_not_reached() -> None:
    tried = [Tried("", "tcp", "failed", error_code=code) for code in ("ECONNREFUSED", "ENETUNREACH")]
    assert _telling(tried).error_code == "ECONNREFUSED"
    assert _telling(tried[1:]).error_code == "ENETUNREACH"


def test_a_record_of_another_day_is_no_comparison_of_a_moment(tmp_path: Path) -> None:
    dead = {"service_name": "a", "died_at": "answer", "error_code": "TIMEOUT", "at": "2026-03-14T10:00:00Z"}
    well = {"service_name": "b", "http_status": 200, "body_fields": ["database: connected"], "at": "2026-03-13T10:00:00Z"}
    [death] = found(recorded(tmp_path, [dead, well]), "unanswering_services")
    assert "b, asked at another time, answers 200" in death.message


def test_a_server_that_wants_a_certificate_of_who_asks_is_not_called_dead(signed: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.certificate())
    context.load_verify_locations(signed.root)
    context.verify_mode = ssl.CERT_REQUIRED

    def refuse(connection: socket.socket) -> None:
        connection.settimeout(5)
        encrypted = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(ssl.SSLError):
            encrypted.do_handshake()
        # Closed only after the request has been read: what is unread would turn the alert into a reset.
        with socket.socket(fileno=encrypted.detach()) as plain:
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass

    with listener(refuse) as port:
        source = asked(f"https://localhost:{port}/", ca=signed.root)
    assert rows(source)[0]["error_code"] == "TLS_CLIENT_CERTIFICATE"
    assert not found(source, "unanswering_services")


def test_an_authority_that_is_not_known_leaves_the_service_unexamined(signed: Authority) -> None:
    with healthy("auth", signed) as service:
        source = asked(service.url)
    result = results(source)["unanswering_services"]
    assert [finding.severity for finding in result.findings] == ["warning"]
    assert not result.complete
    assert judged(captured(source), Question("x")).verdict.status == "open"


def test_a_proxy_that_was_not_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:{KEY}@proxy.example:3128")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    source = asked(f"http://127.0.0.1:{port}/health")
    assert rows(source)[0]["ignores_proxy"] is True
    result = results(source)["unanswering_services"]
    assert (result.findings, "proxy" in (result.reason or "")) == ((), True)
    assert KEY not in repr(source) + repr(result)


# Recorded elsewhere, and kit.toml


def recorded(tmp_path: Path, content: Any) -> Source:
    path = tmp_path / "probes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return collect_services(Services(recorded=path, vantage="laptop"))


def test_probes_recorded_elsewhere_are_judged_alike(tmp_path: Path) -> None:
    with dead_after_handshake() as dead, unavailable("websocket", "service1") as failing:
        live = asked(dead.url, failing.url)
    kept = replace(recorded(tmp_path, rows(live)), vantage="laptop")
    assert rows(kept) == rows(live)
    assert kept.evidence[NAME].provenance.at == min(datetime.fromisoformat(found["at"]) for found in rows(live))
    assert {n: r.findings for n, r in results(kept).items()} == {n: r.findings for n, r in results(live).items()}


def test_a_record_made_by_hand_is_enough(tmp_path: Path) -> None:
    told = [{"service_name": "backend", "died_at": "answer", "error_code": "TIMEOUT", "answer_seconds": 10}]
    [dead] = found(recorded(tmp_path, told), "unanswering_services")
    assert "did not answer in 10.0 s" in dead.message
    assert (
        "there answered: the name, TCP, TLS; so the front (or the service itself, where it ends TLS) accepted it" in dead.message
    )


NO_PROBES = """
{}
[]
[1]
[{"service_name": 1}]
[{"service_name": "a", "x": 1}]
[{"service_name": "a", "died_at": "z"}]
[{"service_name": "a", "http_status": "many"}]
[{"service_name": "a", "http_status": 1e400}]
[{"service_name": "a", "at": "noon"}]
[{"service_name": "a", "body_fields": 7}]
[{"service_name": "a"}, {"service_name": "a"}]
"""


@pytest.mark.parametrize("content", ["", "[" * 99_999, *NO_PROBES.split("\n")[1:-1]])
def test_a_file_that_holds_no_probes_is_a_gap(tmp_path: Path, content: str) -> None:
    source = recorded(tmp_path, content)
    assert list(source.gaps) == [NAME]
    assert {result.status for result in results(source).values()} == {"skipped"}


def test_secrets_and_signs_in_a_record_are_masked_too(tmp_path: Path) -> None:
    told = {"service_name": "a\x1b[31m", "url": f"https://u:{KEY}@h/x?k={KEY}", "body_fields": [f"db.password: {KEY}"]}
    shown = repr(rows(recorded(tmp_path, [told])))
    assert (KEY in shown, "\\x1b" in shown) == (False, False)


UNFIT = (
    "https://u:{}@a/",
    "ftp://a/{}",
    "https://a:99999/{}",
    "https://a/{}\r",
    "https://[::1/{}",
    "https:///{}",
    "a/{}",
    "https://ä/{}",
    "https://a/ {}",
)


@pytest.mark.parametrize(
    "services",
    [
        {},
        7,
        {"backend": 7},
        {"Backend": "https://a/"},
        {"backend": {"url": "https://a/", "method": "POST"}},
        {"backend": {"url": "https://a/", "headers": {}}},
        {"backend": "https://a/", "seconds": 11},
        {"backend": "https://a/", "seconds": True},
        {"backend": "https://a/", "ca": 1},
        {"backend": "https://a/", "ca": f"https://a/?key={KEY}"},
        f"https://a/health?key={KEY}",
        "",
        *({"backend": url.format(KEY)} for url in UNFIT),
        {f"service{number}": "https://a/" for number in range(51)},
    ],
)
def test_what_cannot_be_meant_is_one_sentence_without_the_url(services: Any, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as refused:
        services_of(services, tmp_path, "here", "[targets.shop]")
    assert KEY not in f"{refused.value.message} {refused.value.hint}"
    assert refused.value.hint


def test_a_target_of_services_alone_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "kit.toml"
    monkeypatch.setenv("KIT_CONFIG", str(config))
    config.write_text('[targets.shop]\nvantage = "laptop"\nservices = "probes.json"\n')
    assert resolve("shop").services == Services(recorded=tmp_path / "probes.json", vantage="laptop")
    config.write_text('[targets.shop.services]\na = "https://a/health"\nb = {url = "http://b/", method = "HEAD"}\nseconds = 3\n')
    given = resolve("shop").services
    assert given is not None
    assert ([(s.name, s.url, s.method) for s in given.urls], given.seconds) == (
        [("a", "https://a/health", "GET"), ("b", "http://b/", "HEAD")],
        3.0,
    )


def test_an_authority_that_cannot_be_read_is_a_gap(tmp_path: Path) -> None:
    source = asked("https://localhost/", ca=tmp_path / "missing.pem")
    assert "missing.pem" in source.gaps[NAME].reason


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    told = collect_services(Services(recorded=tmp_path / "pipe"))
    trusted = asked("https://localhost/", ca=tmp_path / "pipe")
    assert "no file" in told.gaps[NAME].reason
    assert "cannot be read" in trusted.gaps[NAME].reason


def test_the_command_line_on_a_target_of_services_alone(tmp_path: Path) -> None:
    quiet = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), None)
    with three_services() as services:
        (tmp_path / "kit.toml").write_text(services.toml("shop", seconds=1))
        taken = kit("capture", "--target", "shop", "--out", "b", cwd=tmp_path, **quiet)
    shown = kit("show", "b", "service_probes", "--json", cwd=tmp_path)
    assert (taken.returncode, shown.returncode) == (0, 0)
    assert [found["died_at"] for found in json.loads(shown.stdout)] == [None, "answer", None]
    (tmp_path / "probes.json").write_text(shown.stdout)
    (tmp_path / "kit.toml").write_text('[targets.shop]\nservices = "probes.json"\n[targets.lost]\nservices = "lost.json"\n')
    run = kit("run", "c", "--target", "shop", "--only", "triage", "--json", cwd=tmp_path)
    lost = kit("capture", "--target", "lost", "--out", "l", cwd=tmp_path)
    assert (run.returncode, json.loads(run.stdout)["verdict"]["layer"]) == (1, "service")
    assert (lost.returncode, "Traceback" in lost.stderr) == (3, False)


def test_showing_asks_the_services_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    with listener(speaking(b"")) as port, healthy() as service:
        dsn = f"postgresql://kit@127.0.0.1:{port}/shop?connect_timeout=2"
        (tmp_path / "kit.toml").write_text(f'[targets.shop]\ndsn = "{dsn}"\n[targets.shop.services]\nauth = "{service.url}"\n')
        assert list(table_shown(["service_probes"], "shop")["http_status"]) == [200]
