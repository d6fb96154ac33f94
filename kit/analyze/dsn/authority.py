"""Where the authority of a URL ends, when its password may hold any character: userinfo, hosts and ports."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

from kit.analyze.dsn.plausible import is_no_host, is_run_together
from kit.analyze.dsn.reading import Notes
from kit.analyze.dsn.vocabulary import KNOWN, SECRET

_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:@?#'\"\\`]*", re.ASCII)
_PLAIN_HOST = re.compile(r"[\w.\-:,\[\]%]*", re.ASCII)
_USER = re.compile(r"[^:/?#\[\]\s]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
TEMPLATE = re.compile(r"\[[^\]]*\]|<[^>]*>|\$?\{\w+\}|\$\(\w+\)|\$?\{\{.*\}\}|\$\w+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Userinfo:
    """Who connects, as the URL says; the password's presence only."""

    user: str | None = None
    has_password: bool = False
    is_password_template: bool = False


def userinfo_end(rest: str) -> int | None:
    """Return where the `@` stands that ends the userinfo, or None where there is none.

    The last one: what a password's unescaped signs would make look like a path or a query stays hidden so. Unless an
    `@` stands only in the query, and everything before it is plainly a host and parameters that are known.
    """
    last = rest.rfind("@")
    if last < 0:
        return None
    end = re.search(r"[/?#]", rest)
    if end is None or last < end.start():
        return last
    before = rest.rfind("@", 0, end.start())
    return (before if before >= 0 else None) if _is_plain(rest, before + 1) else last


def _is_plain(rest: str, start: int) -> bool:
    """Return whether hosts, one path without `@` and known parameters stand after the start."""
    authority, _, query = rest[start:].partition("?")
    hosts, _, path = authority.partition("/")
    keys = [piece.partition("=") for piece in query.split("&")]
    is_known = all(equals and unquote(key) in KNOWN | SECRET for key, equals, _ in keys)
    ports_are_numbers = all(re.fullmatch(r"(\[.*\]|[^:]*)(:\d*)?", host) for host in hosts.split(","))
    return bool(query) and is_known and ports_are_numbers and bool(_PLAIN_HOST.fullmatch(hosts)) and not re.search(r"[@#]", path)


def read_userinfo(text: str, start: int, end: int, notes: Notes) -> Userinfo:
    """Read `user:password` in `text[start:end]`; the password is named and hidden, its unescaped signs are faults."""
    user, colon, password = text[start:end].partition(":")
    user_end = start + len(user)
    is_user = bool(_USER.fullmatch(user)) and not is_run_together(user)
    notes.show(start, user_end, "user") if is_user else notes.hide(start, user_end, "user")
    _judge_user(user, is_user, notes)
    if not colon:
        return Userinfo(unquote(user) if is_user else None)
    notes.show(user_end, user_end + 1)
    notes.hide(user_end + 1, end, "password")
    unescaped = "".join(sign for sign in "@/?#[]&" if sign in password)
    if unescaped:
        notes.fault("unescaped_passwords", unescaped)
    if _STRAY_PERCENT.search(password):
        notes.fault("stray_percent_signs", "the password")
    return Userinfo(unquote(user) if is_user else None, bool(password), bool(TEMPLATE.fullmatch(password)))


def _judge_user(user: str, is_user: bool, notes: Notes) -> None:
    if is_run_together(user):
        notes.fault("run_together_values", "user")
    elif not is_user or "@" in user:
        notes.fault("unescaped_users", "@" if is_user else "")
    if _STRAY_PERCENT.search(user):
        notes.fault("stray_percent_signs", "the user name")


def read_hosts(text: str, start: int, end: int, notes: Notes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read `host:port,host:port` in `text[start:end]`; a port that is no number is hidden, as it may be half a password."""
    hosts, ports = [], []
    for piece_start, piece_end in _pieces(text, start, end, ","):
        match = _HOST.match(text, piece_start, piece_end)
        host_end = match.end() if match else piece_start
        rest = text[host_end:piece_end]
        host = _shown_host(text, piece_start, host_end, notes)
        if _STRAY_PERCENT.search(text[piece_start:host_end]):
            notes.fault("stray_percent_signs", "the host")
        if address := _bare_address(text, piece_start, piece_end, notes):
            host, rest = address, ""
        hosts.append(host)
        ports.append(_port(rest, host_end, piece_end, notes))
        if piece_end < end:
            notes.show(piece_end, piece_end + 1)
    return (tuple(hosts), tuple(ports)) if hosts != [""] or any(ports) else ((), ())


def _shown_host(text: str, start: int, end: int, notes: Notes) -> str:
    """Return the host; one that can be none, and no template's variable either, may be half a password and is hidden."""
    host = unquote(text[start:end]).strip("[]")
    if is_no_host(host) and not TEMPLATE.fullmatch(host):
        notes.hide(start, end, "host")
        notes.fault("malformed_hosts", "")
        return ""
    notes.show(start, end, "host")
    return host


def _bare_address(text: str, start: int, end: int, notes: Notes) -> str:
    """Return an IPv6 address that stands without its brackets; only after an @, as before it may stand a password."""
    piece = text[start:end]
    if text[start - 1 : start] != "@" or piece.count(":") < 2 or not _is_ipv6(piece):
        return ""
    notes.show(start, end, "host")
    notes.fault("bare_ipv6_addresses", "")
    return piece


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(rest: str, start: int, end: int, notes: Notes) -> str:
    if re.fullmatch(r":\d{0,7} *", rest, re.ASCII):
        notes.show(start, end, "port")
        return rest[1:].strip()
    if rest:
        notes.hide(start + rest.startswith(":"), end, "port")
        notes.show(start, start + rest.startswith(":"))
        notes.fault("bad_ports" if rest.startswith(":") else "malformed_hosts", "")
    return ""


def _pieces(text: str, start: int, end: int, separator: str) -> list[tuple[int, int]]:
    spans, at = [], start
    for piece in text[start:end].split(separator):
        spans.append((at, at + len(piece)))
        at += len(piece) + len(separator)
    return spans
