"""Who asked and where: the connection, the server that answered, and whether it started anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kit.analyze.connection.failures import failures
from kit.analyze.differences.model import Difference, Found, both
from kit.analyze.findings import Layer, quoted
from kit.evidence.model import Frames
from kit.evidence.records import records

Row = Mapping[str, Any]
OTHER_TARGET = "what any two targets differ in: address, port, start"
_PER_MAJOR = 10_000


def compare_places(a: Frames, b: Frames, *, same_target: bool) -> Found:
    """Return in what the connections and the servers behind them differ; of two targets the address is left out."""
    found = Found()
    _connection(found, a, b)
    if "connection" in a and "connection" in b:
        rows = [records(frames["connection"])[-1:] for frames in (a, b)]
        if rows[0] and rows[1]:
            _fields(found, rows[0][0], rows[1][0], _ASKED, same_target)
    sessions = [records(frames["session"]) if "session" in frames else [] for frames in (a, b)]
    if sessions[0] and sessions[1]:
        _fields(found, sessions[0][0], sessions[1][0], _ANSWERED, same_target)
    elif "session" in a or "session" in b or "session" in a.gaps or "session" in b.gaps:
        found.not_compared += [("database identity", "which server and database answered")]
    return found


def _connection(found: Found, a: Frames, b: Frames) -> None:
    told = [failures(frames) if "connection" in frames else None for frames in (a, b)]
    if None in told:
        return
    last = [side[-1] if side else None for side in told if side is not None]
    words = both(lambda one: "connected" if one is None else f"{one.cause.name}: {one.cause.meaning}", *last)
    failed = next((one for one in last if one is not None), None)
    layer: Layer = failed.layer if failed else "reachability"
    if words[0] != words[1]:
        why = "without a connection nothing above can work"
        found.differences.append(Difference(layer, "connection", "attempt to connect", *words, why))
    elif failed is None:
        found.equal["reachability", "connections made"] += 1
        found.equal["authentication", "logins"] += 1
    else:
        found.not_compared.append((layer, f"what lies behind the connection: both fail alike, {words[0].rstrip('.')}"))


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _name(value: Any) -> str:
    return "none" if value is None else quoted(str(value))


def _recovery(value: Any) -> str:
    return "a standby, in recovery" if value else "no standby"


def _version(value: Any) -> str:
    return f"PostgreSQL {value // _PER_MAJOR}.{value % _PER_MAJOR}" if value else "not known"


def _moment(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else "not known"


# Column, layer, what it is called, its words, whether it differs between any two targets, why it can matter.
_Field = tuple[str, Layer, str, Callable[[Any], str], bool, str]
_ASKED: tuple[_Field, ...] = (
    ("host", "configuration", "host", _text, True, "another host is another server"),
    ("port", "configuration", "port", _text, True, "another port is another server, or a pooler"),
)
_ANSWERED: tuple[_Field, ...] = (
    ("session_user_name", "authentication", "user", _name, False, "another user has other privileges, settings and search_path"),
    ("database_name", "database identity", "database", _name, False, "catalogs are per database: the tables may be next door"),
    ("is_in_recovery", "database identity", "recovery", _recovery, False, "a standby refuses writes, and may lag behind"),
    ("server_version_number", "database identity", "version", _version, False, "another version knows other statements"),
    ("server_address", "database identity", "server address", _text, True, "another address is another server"),
    ("server_port", "database identity", "server port", _text, True, "another port is another server"),
    ("server_started_at", "change", "start of the server", _moment, True, "a restart puts settings in force and ends sessions"),
)


def _fields(found: Found, a: Row, b: Row, fields: tuple[_Field, ...], same_target: bool) -> None:
    for column, layer, name, words, is_of_target, why in fields:
        if a.get(column) == b.get(column):
            found.equal[layer, name] += 1
        elif is_of_target and not same_target:
            found.left_out[OTHER_TARGET] += 1
        else:
            sides = both(words, a.get(column), b.get(column))
            found.differences.append(Difference(layer, "session", name, *sides, why))
