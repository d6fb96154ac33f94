"""What may be told of an environment variable's value: its invisible characters, its shape, and a short fingerprint.

The value itself is never told. A connection string keeps its scheme, user, host, port, database and harmless options,
byte by byte, so that `kit.analyze.dsn` can examine it further; everything else of it becomes `***`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from kit.evidence.instances import instance_of

Shape = Literal["connection string", "url", "instance name", "socket path", "IAM user", "address"]

MASK = "***"
_NAMED = {
    "\r": "carriage return",
    "\n": "line feed",
    "\t": "tab",
    " ": "space",
    "\ufeff": "byte order mark",
    "\u00a0": "no-break space",
    **dict.fromkeys("\u200b\u200c\u200d\u2060", "zero-width character"),
}
_QUOTES = ("'", '"', "`")
_DATABASES = re.compile(
    r"(?:jdbc:)?(?:postgres|postgresql|mysql|mariadb|sqlite|mssql|sqlserver|oracle|cockroachdb|prisma)(?:\+\w+)?:", re.I
)
_URL = re.compile(r"(?P<scheme>(?:jdbc:)?[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.I | re.DOTALL)
_KEYWORD = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'|\S*)", re.ASCII)
_SOCKET = re.compile(r"/cloudsql/[^\s=@?&]+")
_IAM_USER = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.iam(?:\.gserviceaccount\.com)?")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?", re.ASCII)
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|credential|private|salt|signature|auth|cookie|session", re.I)
# What a connection string may show: where it leads and how, and never with what.
_SHOWN = frozenset(
    """host hostaddr port dbname database user sslmode ssl sslrootcert schema connection_limit pool_timeout connect_timeout
    target_session_attrs unix_sock unix_socket unixsocketpath socket cloudsqlinstance socketfactory pgbouncer
    application_name channel_binding gssencmode enableiamauth iptypes""".split()
)


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """What is told of a value. `shown` is the value without its secrets, where its shape says that it may be shown."""

    fingerprint: str | None
    flags: tuple[str, ...]
    shape: str | None
    shown: str | None


def value_facts(name: str, value: str) -> ValueFacts:
    """Return what may be told of the value of the environment variable `name`.

    >>> value_facts("DATABASE_URL", "postgresql://app:hunter2@/shop?host=/cloudsql/a:us-east1:b\\r").shown
    'postgresql://app:***@/shop?host=/cloudsql/a:us-east1:b\\r'
    >>> value_facts("API_TOKEN", "hunter2\\n")
    ValueFacts(fingerprint=None, flags=('line feed at the end',), shape=None, shown=None)
    """
    shape = shape_of(value)
    shown = _shown(shape, value)
    return ValueFacts(_fingerprint(name, value, shape, shown), tuple(value_flags(value)), shape, shown)


def value_flags(value: str) -> list[str]:
    """Return what cannot be seen in a value and changes it, with its place: `carriage return at the end`.

    A space inside is ordinary, and so is a line feed inside a longer text.
    """
    core = value.strip("".join(_NAMED) + "\0\v\f")
    start = value.index(core)
    places = (("at the start", value[:start]), ("at the end", value[start + len(core) :]), ("inside", core))
    told = [f"{_word(c)} {place}" for place, text in places for c in text if _counts(c, place)]
    if "\n" in core:
        # A text of several lines, such as a key, ends with a line end as it should.
        told = [flag for flag in told if flag != "line feed at the end"]
    if len(core) > 1 and core[0] == core[-1] and core[0] in _QUOTES:
        told.append("quotes around it")
    return list(dict.fromkeys(told))


def shape_of(value: str) -> Shape | None:
    """Return what a value looks like, its ends left out; None where it looks like nothing that may be shown."""
    core = value.strip("".join(_NAMED)).strip("".join(_QUOTES))
    if _DATABASES.match(core) or _is_keyword_string(core):
        return "connection string"
    if _URL.fullmatch(core):
        return "url"
    named = instance_of(core)
    if named and (named.has_region or named.region_of_zone):
        return "instance name"
    return next((shape for pattern, shape in _PATTERNS if pattern.fullmatch(core)), None)


_PATTERNS: tuple[tuple[re.Pattern[str], Shape], ...] = (
    (_SOCKET, "socket path"),
    (_IAM_USER, "IAM user"),
    (_ADDRESS, "address"),
)


def masked_connection_string(value: str) -> str | None:
    """Return a connection string with everything masked that might be a secret; None where it cannot be read."""
    url = _URL.search(value)
    if url is None:
        return _masked_keywords(value)
    # The last @ of all: a password may hold any number of them, unescaped, and any other sign.
    user_part, at, rest = url["rest"].rpartition("@")
    user, colon, _ = user_part.partition(":")
    place, question, query = rest.partition("?")
    # An @ in a query would put all after it in the place of the host.
    is_doubtful = re.search(r"[?/=&#\s]", user) or re.search(r"[=&;#]", place)
    if is_doubtful or (not at and not _is_host(rest)):
        return None
    before = value[: url.start()] + url["scheme"] + "://"
    who = f"{user}{colon}{MASK if colon else ''}{at}"
    return f"{before}{who}{place}{question}{_masked_query(query)}"


def _counts(character: str, place: str) -> bool:
    if place == "inside":
        return character not in "\n\t " and _is_invisible(character)
    return True


def _is_invisible(character: str) -> bool:
    return character in _NAMED or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")


def _word(character: str) -> str:
    return _NAMED.get(character) or f"character U+{ord(character):04X}"


def _is_keyword_string(text: str) -> bool:
    keys = {key.lower() for key, _ in _KEYWORD.findall(text)}
    return bool(keys & {"host", "hostaddr", "dbname"}) and "://" not in text


def _shown(shape: Shape | None, value: str) -> str | None:
    if shape == "connection string":
        return masked_connection_string(value)
    if shape == "url":
        return _origin(value)
    return value if shape else None


def _origin(value: str) -> str | None:
    """Return scheme, host and port of a URL; a path or a query may be a token."""
    url = _URL.search(value)
    before, _, rest = (url["rest"] if url else "").rpartition("@")
    # Behind a question mark an @ belongs to the query as likely as to a password.
    if re.search(r"[?#=]", before):
        return None
    host = re.match(r"[^/?#]*", rest)
    return f"{url['scheme']}://{host[0]}" if url and host and _is_host(host[0]) else None


def _is_host(rest: str) -> bool:
    """Return whether what follows `//` begins with a host and not with `user:password`."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return re.fullmatch(r"(?:[\w.,-]*|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?\s*", authority) is not None


def _masked_query(query: str) -> str:
    return "&".join(_masked_pair(*pair.partition("=")) for pair in query.split("&")) if query else ""


def _masked_pair(key: str, equals: str, value: str) -> str:
    if not equals or not re.fullmatch(r"\w+", key, re.ASCII):
        return MASK
    return f"{key}={value if key.lower() in _SHOWN else MASK}"


def _masked_keywords(value: str) -> str | None:
    if _KEYWORD.sub("", value).strip().strip("".join(_QUOTES)):
        return None
    return _KEYWORD.sub(lambda pair: pair[0] if pair[1].lower() in _SHOWN else f"{pair[1]}={MASK}", value)


def _fingerprint(name: str, value: str, shape: Shape | None, shown: str | None) -> str | None:
    if shape is None and _SECRET_NAME.search(name):
        return None
    if shape in ("connection string", "url") and (shown is None or (shape == "url" and "@" in value)):
        return None
    compared = shown if shape == "connection string" and shown else value
    # Short on purpose: enough to tell two values apart, too little to confirm a guess out of a long list.
    return hashlib.sha256(b"incident-kit environment value\0" + compared.encode("utf-8", "replace")).hexdigest()[:5]
