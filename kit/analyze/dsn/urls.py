"""Reading the URL forms: PostgreSQL's own, SQLAlchemy's, Prisma's and JDBC's, and those of other databases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from kit.analyze.dsn.authority import Userinfo, read_hosts, read_userinfo, userinfo_end
from kit.analyze.dsn.plausible import holds_secret_parameter, is_run_together
from kit.analyze.dsn.reading import Form, Notes, Option, Reading
from kit.analyze.dsn.vocabulary import CLOSED, DATABASE_SCHEMES, KNOWN, SECRET

_SCHEME = re.compile(r"(?P<jdbc>jdbc:)?(?P<scheme>[A-Za-z][A-Za-z0-9.\-]*)(?:\+(?P<driver>[\w+.\-]*))?:(?P<slashes>//)?", re.I)
# With dashes, as sqlx has them.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,40}", re.ASCII)
_SECOND_SCHEME = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://", re.I)
OPEN_SETTINGS = re.compile(
    r"(?:(?:-c\s*|--)?(?:search_path|statement_timeout|lock_timeout|timezone|role|endpoint|project|reference)=[\w,.$\"-]*\s*)+",
    re.ASCII | re.IGNORECASE,
)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLACES = {"host": "host", "port": "port", "user": "user", "dbname": "database", "database": "database"}
# libpq's keywords of JDBC and of Cloud SQL's socket factory, by which the same place is known.
_SOCKET_FACTORY = "cloudSqlInstance"


@dataclass(slots=True)
class _Query:
    """What the query string says."""

    places: dict[str, str]
    options: list[Option]
    has_password: bool = False


def read_url(text: str, form: Form = "url") -> Reading | None:
    """Return the reading of a URL, or None where the text begins with no scheme."""
    match = _SCHEME.match(text)
    if not match or (not match["slashes"] and not match["jdbc"]):
        return None
    notes = Notes()
    notes.show(0, match.end())
    start = _beginning(text, match, notes)
    info, start = _userinfo(text, start, notes) if match["slashes"] else (None, start)
    stop = _end(text, start, "/?#") if match["slashes"] else start
    hosts, ports = read_hosts(text, start, stop, notes)
    if text[max(start, stop - 1) : stop + 2] == "://":
        notes.fault("malformed_hosts", "")
    path_end = _end(text, stop, "?#")
    # A web address may be a secret by itself, as a webhook's is.
    is_database = match["scheme"].lower() in DATABASE_SCHEMES
    database = _database(text, stop, path_end, notes) if is_database else None
    query = _read_query(text, path_end, notes)
    found = info or Userinfo()
    return _assembled(text, match, found, hosts, ports, database, query, notes, has_userinfo=info is not None)


def _beginning(text: str, match: re.Match[str], notes: Notes) -> int:
    """Return where the authority begins: after a second scheme, and after a slash too many before a user."""
    start = match.end()
    if not match["slashes"]:
        return start
    if second := _SECOND_SCHEME.match(text, start):
        notes.show(start, second.end())
        notes.fault("repeated_schemes", "")
        start = second.end()
    after = start + len(text[start:]) - len(text[start:].lstrip("/"))
    if after > start and userinfo_end(text[start:]) is not None and re.match(r"[\w.%-]+:[^/]", text[after:]):
        notes.show(start, after)
        notes.fault("extra_slashes", "")
        return after
    return start


def _assembled(
    text: str,
    match: re.Match[str],
    info: Userinfo,
    hosts: tuple[str, ...],
    ports: tuple[str, ...],
    database: str | None,
    query: _Query,
    notes: Notes,
    *,
    has_userinfo: bool,
) -> Reading:
    """The query's parts outrank those before it, as libpq has it."""
    places = query.places
    instance = next((option.value for option in query.options if option.key == _SOCKET_FACTORY), None)
    told = (f"/cloudsql/{instance}",) if instance else _split(places.get("host"))
    return Reading(
        form="jdbc" if match["jdbc"] else "url",
        scheme=match["scheme"],
        driver=match["driver"],
        user=places.get("user") or info.user or None,
        has_password=info.has_password or query.has_password,
        password_in_query=query.has_password,
        is_password_template=info.is_password_template,
        hosts=told or hosts,
        ports=_split(places.get("port")) or ports,
        database=places.get("database") or database or None,
        options=tuple(query.options),
        authority_hosts=hosts,
        has_userinfo=has_userinfo,
        is_host_encoded=bool(hosts) and "%" in text[match.end() :].rpartition("@")[2].partition("/")[0],
        contradictions=tuple(_contradictions(info, database, places)),
        faults=tuple(notes.faults),
        shown=tuple(notes.spans),
        regions=tuple(notes.regions),
    )


def _contradictions(info: Userinfo, database: str | None, places: dict[str, str]) -> list[str]:
    said = {"user": info.user, "database": database}
    return [name for name, value in said.items() if value and places.get(name, value) != value]


def _userinfo(text: str, start: int, notes: Notes) -> tuple[Userinfo | None, int]:
    at = userinfo_end(text[start:])
    if at is not None and holds_secret_parameter(text[start : start + at]):
        # The last @ may stand in that secret, and what follows it be its rest.
        notes.hide(start, len(text), "password")
        notes.fault("unescaped_passwords", "@")
        return Userinfo(None, True), len(text)
    if at is not None:
        info = read_userinfo(text, start, start + at, notes)
        notes.show(start + at, start + at + 1)
        return info, start + at + 1
    return _cut_userinfo(text, start, notes)


def _cut_userinfo(text: str, start: int, notes: Notes) -> tuple[Userinfo | None, int]:
    """A string may end within its password; what follows the first colon and is no port is hidden to the end."""
    name, colon, after = text[start:].partition(":")
    is_ports = re.match(r"\d{0,5}(?:$|[/?#, ])", after, re.ASCII)
    if not colon or is_ports or re.search(r"[\[/?#,]", name) or "." in name or name == "localhost":
        return None, start
    notes.show(start, start + len(name), "user")
    notes.show(start + len(name), start + len(name) + 1)
    notes.hide(start + len(name) + 1, len(text), "password")
    notes.fault("cut_strings", "")
    return Userinfo(unquote(name) or None, True), len(text)


def _end(text: str, start: int, signs: str) -> int:
    found = [place for sign in signs if (place := text.find(sign, start)) >= 0]
    return min(found, default=len(text))


def _database(text: str, start: int, end: int, notes: Notes) -> str | None:
    after_slash = start + (text[start : start + 1] == "/")
    # A port that is none may be the beginning of a password, and a path its rest.
    if any(fault.check in ("bad_ports", "malformed_hosts") for fault in notes.faults):
        notes.hide(start, end, "database")
        return None
    notes.show(start, after_slash)
    if is_run_together(text[after_slash:end]):
        notes.hide(after_slash, end, "database")
        notes.fault("run_together_values", "database")
        return None
    notes.show(after_slash, end, "database")
    if _STRAY_PERCENT.search(text[after_slash:end]):
        notes.fault("stray_percent_signs", "the database name")
    return unquote(text[after_slash:end])


def _read_query(text: str, start: int, notes: Notes) -> _Query:
    query = _Query({}, [])
    fragment = text.find("#", start)
    end = len(text) if fragment < 0 else fragment
    if fragment >= 0:
        notes.fault("fragments", text[fragment - 1 : fragment] if text[fragment - 1 : fragment] == " " else "")
        notes.hide(fragment, len(text), "fragment")
    if start >= end:
        return query
    notes.show(start, start + 1)
    at, after_secret = start + 1, False
    for piece in text[start + 1 : end].split("&"):
        after_secret = _read_parameter(text, at, at + len(piece), after_secret, query, notes)
        at += len(piece) + 1
        if at <= end and not after_secret:
            notes.show(at - 1, at)
    return query


def _read_parameter(text: str, start: int, end: int, after_secret: bool, query: _Query, notes: Notes) -> bool:
    """Read `key=value`; return whether the value is a secret that an unescaped `&` may go on."""
    key, equals, value = text[start:end].partition("=")
    key, begin = unquote(key), start + len(key) + 1
    if after_secret and key not in KNOWN:
        notes.hide(start, end, "password")
        notes.fault("unescaped_passwords", "&")
        return True
    if not equals:
        notes.hide(start, end, "parameters")
        if key:
            notes.fault("malformed_parameters", "")
        return False
    if after_secret:
        notes.show(start - 1, start)
    if not _NAME.fullmatch(key):
        notes.hide(start, end, "parameters")
        notes.fault("malformed_parameters", "")
        return False
    notes.show(start, begin)
    _take(key, value, begin, end, query, notes)
    if _STRAY_PERCENT.search(value):
        notes.fault("stray_percent_signs", "the password" if key.lower() in SECRET else f"parameter {key}")
    return key.lower() in SECRET


def _take(key: str, raw: str, start: int, end: int, query: _Query, notes: Notes) -> None:
    value = unquote(raw)
    if key.lower() in SECRET:
        notes.hide(start, end, "password")
        query.has_password = query.has_password or (key.lower() == "password" and bool(value))
        if key.lower() != "password":
            query.options.append(Option(key, None))
        return
    # What is percent-encoded was meant to stand there.
    is_open = key in KNOWN and is_shown(key, value if key in CLOSED else raw, notes)
    notes.show(start, end, _PLACES.get(key, key)) if is_open else notes.hide(start, end, key)
    if key in _PLACES and is_open:
        query.places[_PLACES[key]] = value
    elif key not in _PLACES:
        query.options.append(Option(key, value if is_open else None))


def is_shown(key: str, value: str, notes: Notes) -> bool:
    """Return whether a known parameter's value may be shown; a fault is noted where another part ran into it."""
    if key in CLOSED:
        return bool(OPEN_SETTINGS.fullmatch(value))
    if is_run_together(value):
        notes.fault("run_together_values", key)
        return False
    return True


def _split(value: str | None) -> tuple[str, ...]:
    return tuple(value.split(",")) if value else ()
