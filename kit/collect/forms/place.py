"""Where the server is, by the words of a connection string, and what is said of a failure on the way: never a secret.

Printed before the client of the protocol: Python 3.8, the standard library alone.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
import stat
from pathlib import Path
from urllib.parse import parse_qsl, unquote

CERTIFICATE_CODES = {9: "TLS_NOT_YET_VALID", 10: "TLS_EXPIRED", 18: "TLS_SELF_SIGNED", 62: "TLS_NAME", 64: "TLS_NAME"}
CERTIFICATE_CODES.update(dict.fromkeys((19, 20, 21), "TLS_UNKNOWN_CA"))
UNREADABLE = "the connection string cannot be read: percent-encode @ / # ? : and % in user and password"


class Refused(Exception):
    """What the server, or the way to it, answered: a SQLSTATE or a code where there is one, and words without any secret.

    `step` is how far a connection had come.
    """

    def __init__(self, words: str, sqlstate: str = "", code: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.sqlstate = sqlstate
        self.code = code
        self.step = "options"


def parameters(text: str) -> dict[str, str]:
    """Return the parts of a connection string by libpq's keywords, what it leaves out from PGHOST and its like.

    Of several hosts the first. Raises Refused where the parts cannot be told apart: one of them might be a password's.
    """
    found = stated(text)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    names.update({"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"})
    given = {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}
    given.update({key: value for key, value in found.items() if value})
    given.setdefault("port", "5432")
    given.setdefault("host", "/var/run/postgresql" if Path("/var/run/postgresql").is_dir() else "localhost")
    given.setdefault("dbname", given.get("user", ""))
    return given


def stated(text: str) -> dict[str, str]:
    """Return the parts that the connection string itself names."""
    found = _of_url(text) if "://" in text else _of_keywords(text)
    return {**found, **{key: found[key].split(",")[0] for key in ("host", "port") if key in found}}


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


def words_of(error: Exception) -> str:
    """Return an error of the network in words: never what was sent."""
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


def code_of(error: Exception) -> str:
    """Return a short name for an error of the network: its errno's, or one of the kit's own."""
    if isinstance(error, socket.timeout) or getattr(error, "errno", None) == errno.ETIMEDOUT:
        return "TIMEOUT"
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE_CODES.get(error.verify_code, "TLS_REFUSED")
    if isinstance(error, ssl.SSLError):
        return "TLS_HANDSHAKE"
    if isinstance(error, socket.gaierror):
        names = [name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == error.errno]
        return names[0] if names else "EAI_FAIL"
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, "OSERROR") if number else "INVALID"


def socket_path(given: dict[str, str]) -> str:
    """Return the socket's file."""
    return f"{given['host']}/.s.PGSQL.{given['port']}"


def kind_of(mode: int) -> str:
    """Return what a file is."""
    kinds = ((stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"), (stat.S_ISREG, "file"))
    return next((word for test, word in kinds if test(mode)), "other")
