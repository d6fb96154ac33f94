"""What the checks of services share: where a probe died, who a 503 blames, and words for both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from kit.analyze.cloud.scope import Row, rows_of
from kit.checks.triage._sessions import shown_seconds
from kit.evidence.model import Frames

EVIDENCE = "service_probes"
# What a service that does not answer may look like to those who wait for it, and no error of a statement.
EXPLAINS = ("08000", "08001", "08003", "08004", "08006", "57014", "57P01", "57P03")
Record = Mapping[str, Any]

_BEFORE_ANSWER = ("name", "tcp", "tls", "answer")
_SHOWN_STEPS = {"name": "the name", "tcp": "TCP", "tls": "TLS"}
_UNWELL = re.compile(
    r"\A(?:un(?:healthy|available|reachable|ready|well|able|stable|responsive|connected|known)|"
    r"down|dead|fail\w*|error|critical|fatal|degraded|false|disconnected|refused|time[d -]*out|offline|"
    r"not[ _-](?:connected|ready|ok|healthy|available|reachable))\Z",
    re.IGNORECASE,
)
_STATES = re.compile(r"status|state|health|healthy|ok|ready|live|alive|success|up|connected|available", re.IGNORECASE)
_WELL = re.compile(
    r"\A(?:ok|okay|up|true|yes|well|healthy|connected|reachable|available|alive|online|ready|running|pass(?:ed|ing)?|success)\Z",
    re.IGNORECASE,
)
_DATABASE = re.compile(r"database|db|postgres|postgresql|sql|pool", re.IGNORECASE)
# What a service falls back to that was not given its database: it looks alive, and keeps nothing.
_FALLBACK = re.compile(r"(?:in[ _-]?memory|sqlite\w*)", re.IGNORECASE)
_SAYS = 4
# Names that only the network which they belong to knows.
_INTERNAL = re.compile(r"[^.:]+|.*\.(?:internal|local|lan|intranet|corp|consul|svc|home\.arpa)", re.IGNORECASE)
# What a name server says of the name; any other code speaks of the name server, or of the machine that asked.
_NO_NAME = ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
_NO_WAY = ("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EPERM", "EACCES", "EMFILE", "ENFILE")
_SAME_MOMENT = timedelta(minutes=1)


def probed(frames: Frames) -> list[Row]:
    """Return the probes with their positions."""
    return rows_of(frames, EVIDENCE)


def is_unanswered(row: Record) -> bool:
    """Return whether no status came back."""
    return row["died_at"] in _BEFORE_ANSWER


def is_unexamined(row: Record) -> str | None:
    """Return why a probe that died says nothing of the service, but only of where it was asked; None where it does."""
    code = row["error_code"]
    if row["ignores_proxy"] and row["died_at"] != "answer":
        return "the environment names a proxy, which the probe did not use: by it the service may be reached"
    if row["died_at"] == "name" and code and code not in _NO_NAME:
        return f"no name server answered, asked from {row['vantage']} ({code})"
    if row["died_at"] == "name" and _INTERNAL.fullmatch(host(row)):
        return f"its name is one of an internal network, and not known where it was asked ({row['vantage']})"
    if code in _NO_WAY:
        return f"there is no way to it from {row['vantage']}: {', '.join(row['addresses'] or ()) or code}"
    if code == "TIMEOUT" and row["died_at"] == "tcp" and _is_private(host(row), row["addresses"] or ()):
        return f"its address is one of a private network, and did not answer {row['vantage']}: a missing route looks the same"
    if code == "TLS_CLIENT_CERTIFICATE":
        return "it wants a certificate of who asks, and a probe has none"
    if code == "INVALID":
        return f"the probe itself could not go on: {row['message'] or 'the record does not say why'}"
    if code in ("TLS_UNKNOWN_CA", "TLS_SELF_SIGNED"):
        return "its certificate is of an authority that is not known here, and verification is never switched off"
    return None


def host(row: Record) -> str:
    """Return the host that was asked, empty where the record does not say."""
    try:
        return urlsplit(row["url"] or "").hostname or ""
    except ValueError:
        return ""


def _is_private(named: str, addresses: Sequence[str]) -> bool:
    tried = [address.partition(" ")[0] for address in addresses] or [named]
    return all(_is_address(place) and ip_address(place).is_private and not ip_address(place).is_loopback for place in tried)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def cleared(row: Record) -> str:
    """Return the steps that worked, with their times where they are known: what a request that died later clears."""
    first = 1 if _is_address(host(row)) else 0
    steps = list(_SHOWN_STEPS)[first : _BEFORE_ANSWER.index(row["died_at"])]
    is_plain = row["tls_seconds"] is None and not str(row["url"] or "https:").startswith("https:")
    taken = ((_SHOWN_STEPS[step], row[f"{step}_seconds"]) for step in steps if not (is_plain and step == "tls"))
    return ", ".join(words if seconds is None else f"{words} ({shown_time(seconds)})" for words, seconds in taken)


def asked(row: Record) -> str:
    """Return what was asked, and from where."""
    what = " ".join(word for word in (row["method"], row["url"]) if word) if row["url"] else "the recorded URL"
    return f"{what}, asked from {row['vantage']}"


def says(row: Record) -> str:
    """Return the first fields of what the service says of itself, or nothing."""
    fields = list(row["body_fields"] or ())[:_SAYS]
    return f" ({'; '.join(fields)})" if fields else ""


def unwell(row: Record) -> list[str]:
    """Return the fields by which a service calls itself, its database or another part unwell."""
    return [field for field in row["body_fields"] or () if _is_unwell(*field.partition(": ")[::2])]


def calls_database_well(row: Record) -> str | None:
    """Return the field by which an answering service calls its database well, or None."""
    named = [field.partition(": ") for field in row["body_fields"] or ()]
    well = ["".join(parts) for parts in named if _DATABASE.search(parts[0]) and _WELL.match(parts[2].strip())]
    return well[0] if well and not unwell(row) and row["http_status"] == 200 else None


def at_the_same_time(row: Record, other: Record) -> bool:
    """Return whether both were asked within a minute, as far as the records tell."""
    return bool(row["at"] and other["at"]) and abs(row["at"] - other["at"]) <= _SAME_MOMENT


def root(row: Record, rows: Sequence[Row]) -> Record | None:
    """Return the ailing service at the end of the chain of those that are blamed; None where none is, or they blame in a ring."""
    by_name = {other["service_name"]: other for _, other in rows}
    seen, current = {row["service_name"]}, row
    while blamed := _blamed(current, by_name):
        if blamed["service_name"] in seen:
            return None
        seen.add(blamed["service_name"])
        current = blamed
    return None if current is row else current


def _blamed(row: Record, by_name: Mapping[str, Record]) -> Record | None:
    if is_unanswered(row):
        return None
    names = (name for name in row["mentioned_services"] or () if name != row["service_name"] and not _calls_well(row, name))
    return next((by_name[name] for name in names if name in by_name and _ails(by_name[name])), None)


def _ails(row: Record) -> bool:
    if is_unanswered(row):
        return is_unexamined(row) is None
    return (row["http_status"] or 0) >= 500


def _calls_well(row: Record, name: str) -> bool:
    """Return whether the service calls the other one well: then it is named, and not blamed."""
    fields = [field.partition(": ") for field in row["body_fields"] or ()]
    about = [parts[2].strip() for parts in fields if name in parts[0].lower().split(".")]
    return bool(about) and all(_WELL.match(value) for value in about)


def _is_unwell(path: str, value: str) -> bool:
    key = path.rpartition(".")[2]
    if _FALLBACK.fullmatch(value.strip()) and _DATABASE.search(path):
        return True
    if value.lower() == "false":
        return bool(_STATES.fullmatch(key))
    return bool(_UNWELL.match(value.strip())) and not re.search(r"message|error|detail|title|version", key, re.IGNORECASE)


def shown_time(seconds: float) -> str:
    """Return the seconds, or milliseconds where they are few."""
    if seconds >= 0.1:
        return shown_seconds(seconds)
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "under 1 ms"
