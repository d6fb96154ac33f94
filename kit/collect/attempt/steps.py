"""The attempt itself: every step from the name to the first answer, bounded, each with its own time."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from kit.collect import connector
from kit.collect.attempt import network, session, tls, wire
from kit.collect.attempt.options import Endpoint, Options, effective, endpoints, vantage
from kit.collect.attempt.records import SOCKET_STEPS, TCP_STEPS, Budget, Recorder, StepFailed, Stop, as_failure, evidence
from kit.collect.connection import parameters
from kit.collect.secrecy import secrecy_of
from kit.evidence.model import Evidence

ATTEMPT_SECONDS = 8.0
GREETING_SECONDS = 2.0
TLS_SECONDS = 2.0
ANSWER_SECONDS = 3.0
MOST_ENDPOINTS = 4
_THROUGH_GOOGLE = "the steps are not tried: Google's connector makes name, address and TLS by itself"


def attempt(conninfo: str, failure: Exception | None = None, *, seconds: float = ATTEMPT_SECONDS) -> Evidence:
    """Return the evidence `connection_steps`: one row a step, in order, with its status, time, code and words.

    `failure` is what an ordinary attempt ended with: a password is then not sent a second time. Without it libpq tries
    once. TargetError where the connection string cannot be read at all; no other error.
    """
    secrecy = secrecy_of([conninfo])
    at, clock, steps = datetime.now(UTC), time.perf_counter(), Recorder(Budget(seconds))
    steps.add("vantage", "ok", 0.0, None, vantage())
    if connector.is_open(parameters(conninfo).get("host")):
        steps.add("options", "skipped", 0.0, None, _THROUGH_GOOGLE)
        return evidence(steps.rows, at, time.perf_counter() - clock, secrecy)
    with contextlib.suppress(Stop):
        options, places = steps.run("options", lambda: (_read(conninfo), None))
        for found, left in _counted(places):
            share = Recorder(Budget(steps.budget.left / left))
            share.rows, share.endpoint = steps.rows, found.shown
            _examine(share, conninfo, options, found, failure)
            failure = failure or session.refused_login(share)
    return evidence(steps.rows, at, time.perf_counter() - clock, secrecy)


def _read(conninfo: str) -> tuple[Options, list[Endpoint]]:
    options = effective(conninfo)
    return options, endpoints(options)[:MOST_ENDPOINTS]


def _counted(found: list[Endpoint]) -> Iterator[tuple[Endpoint, int]]:
    return ((endpoint, len(found) - position) for position, endpoint in enumerate(found))


def _examine(steps: Recorder, conninfo: str, options: Options, endpoint: Endpoint, failure: Exception | None) -> None:
    with contextlib.suppress(Stop):
        try:
            opened, address = _socket(steps, endpoint) if endpoint.is_socket else _tcp(steps, options, endpoint)
            with opened:
                needs_more = _session(steps, opened, options)
            if needs_more:
                session.through_libpq(steps, conninfo, options, endpoint, address, failure)
        finally:
            steps.finish(SOCKET_STEPS if endpoint.is_socket else TCP_STEPS)


def _socket(steps: Recorder, endpoint: Endpoint) -> tuple[socket.socket, None]:
    steps.address = endpoint.socket_path
    steps.run("socket folder", lambda: network.folder(endpoint))
    steps.run("socket file", lambda: network.file(endpoint))
    seconds = steps.budget.share(network.CONNECT_SECONDS)
    return steps.run("socket connection", lambda: (network.open_socket(endpoint, seconds), None)), None


def _tcp(steps: Recorder, options: Options, endpoint: Endpoint) -> tuple[socket.socket, str]:
    seconds = steps.budget.share(network.RESOLVE_SECONDS)
    addresses = steps.run("name resolution", lambda: network.resolved(endpoint, seconds))
    opened, address = network.connected(steps, addresses)

    def again() -> socket.socket:
        return network.open_address(address, steps.budget.share(GREETING_SECONDS))

    opened = _encrypted(steps, options, endpoint, opened, again)
    return opened, str(address[1][0])


def _encrypted(
    steps: Recorder, options: Options, endpoint: Endpoint, opened: socket.socket, again: Callable[[], socket.socket]
) -> socket.socket:
    """Return the connection on which the session begins: encrypted where libpq would encrypt it."""
    try:
        is_offered = steps.run("greeting", lambda: _greeting(steps, opened, options, again))
        if not is_offered or tls.mode(options) in ("disable", "allow"):
            return _plain(steps, options, opened, again, is_offered)
        opened.settimeout(steps.budget.share(TLS_SECONDS))
        if tls.mode(options) == "prefer":
            return _preferred(steps, options, endpoint, opened, again)
        return steps.run("tls", lambda: _handshake(options, endpoint, opened, again))
    except BaseException:
        opened.close()
        raise


def _greeting(steps: Recorder, opened: socket.socket, options: Options, again: Callable[[], socket.socket]) -> tuple[bool, str]:
    """Return whether the server offers TLS; StepFailed where it is silent, closes, or is not PostgreSQL."""
    if options.get("sslnegotiation") == "direct":
        return True, "left out: sslnegotiation=direct"
    opened.settimeout(steps.budget.share(GREETING_SECONDS))
    try:
        answer = wire.ask_for_tls(opened)
    except TimeoutError:
        raise _silence(again) from None
    except ConnectionError:
        answer = b""
    if answer in (b"S", b"N"):
        return answer == b"S", "a PostgreSQL server, with TLS" if answer == b"S" else "a PostgreSQL server, without TLS"
    if not answer:
        raise StepFailed("CLOSED", "the other side took the connection and closed it without a word")
    whole = answer if len(answer) > 1 else answer + wire.more(opened)
    raise wire.old_refusal(whole[1:]) if answer == b"E" else wire.strange(whole)


def _silence(again: Callable[[], socket.socket]) -> StepFailed:
    """An HTTP server waits for the end of a line before it answers: asked in its own language, it says who it is."""
    with contextlib.suppress(OSError), again() as opened:
        opened.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        answer = wire.more(opened, 1.0)
        if answer:
            return wire.strange(answer)
    return StepFailed("TIMEOUT", "the connection was taken, and then nothing was said")


def _plain(
    steps: Recorder, options: Options, opened: socket.socket, again: Callable[[], socket.socket], is_offered: bool
) -> socket.socket:
    mode = tls.mode(options)
    if mode in tls.WANTED:
        steps.add("tls", "failed", 0.0, "TLS_NOT_OFFERED", f"the server does not offer TLS, and sslmode={mode} wants it")
        raise Stop
    steps.add("tls", "skipped", 0.0, None, f"sslmode={mode}; the server {'offers' if is_offered else 'does not offer'} TLS")
    if not is_offered:
        return opened
    # The server now waits for a handshake on this one.
    opened.close()
    return steps.run("greeting", lambda: (again(), "a second connection, without TLS"))


def _preferred(
    steps: Recorder, options: Options, endpoint: Endpoint, opened: socket.socket, again: Callable[[], socket.socket]
) -> socket.socket:
    """As libpq does: encrypted, and where that fails without a word of it on a new connection."""
    clock = time.perf_counter()
    try:
        encrypted, words = _handshake(options, endpoint, opened, again)
    except (StepFailed, OSError) as error:
        failed = as_failure(error)
        words = f"{failed.words}; sslmode=prefer goes on without TLS"
        steps.add("tls", "skipped", time.perf_counter() - clock, failed.code, words)
        opened.close()
        return steps.run("greeting", lambda: (again(), "a second connection, without TLS"))
    steps.add("tls", "ok", time.perf_counter() - clock, None, words)
    return encrypted


def _handshake(
    options: Options, endpoint: Endpoint, opened: socket.socket, again: Callable[[], socket.socket]
) -> tuple[socket.socket, str]:
    encrypted, shown = tls.handshake(opened, options, endpoint.host)
    if tls.is_verified(options):

        def greeted() -> socket.socket:
            connection = again()
            if options.get("sslnegotiation") != "direct":
                wire.ask_for_tls(connection)
            return connection

        try:
            tls.verify(greeted, options, endpoint.host or endpoint.address or "", shown)
        except BaseException:
            encrypted.close()
            raise
    return encrypted, shown


def _session(steps: Recorder, opened: socket.socket, options: Options) -> bool:
    """Go on as far as it goes without a password; return whether the server wants one."""
    until = time.monotonic() + steps.budget.share(ANSWER_SECONDS)
    needs_more = steps.run("authentication method", lambda: session.begun(opened, options, until))
    if needs_more:
        return True
    steps.add("authentication", "ok")
    steps.run("database", lambda: session.opened(opened, until))
    answered = time.monotonic() + steps.budget.share(session.QUERY_SECONDS)
    steps.run("query", lambda: session.asked(opened, answered))
    wire.leave(opened)
    return False
