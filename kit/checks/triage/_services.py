"""What the checks of services share: where a probe died, who a 503 blames, and words for both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kit.analyze.cloud_scope import Row, rows_of
from kit.checks.triage._sessions import shown_seconds
from kit.evidence.model import Frames

EVIDENCE = "service_probes"
# What a service that does not answer may look like to those who wait for it, and no error of a statement.
EXPLAINS = ("08000", "08001", "08003", "08004", "08006", "57014", "57P01", "57P03")
Record = Mapping[str, Any]

_BEFORE_ANSWER = ("name", "tcp", "tls", "answer")
_SHOWN_STEPS = {"name": "the name", "tcp": "TCP", "tls": "TLS"}
_UNWELL = re.compile(
    r"\A(?:un\w+|down|dead|fail\w*|error|critical|fatal|degraded|false|disconnected|refused|time[d -]*out|offline|"
    r"not[ _-](?:connected|ready|ok|healthy|available|reachable))\Z",
    re.IGNORECASE,
)
_STATES = re.compile(r"status|state|health|healthy|ok|ready|live|alive|success|up|connected|available", re.IGNORECASE)
_DATABASE = re.compile(r"database|db|postgres|postgresql|sql|pool", re.IGNORECASE)
# What a service falls back to that was not given its database: it looks alive, and keeps nothing.
_FALLBACK = re.compile(r"(?:in[ _-]?memory|sqlite\w*)", re.IGNORECASE)
_SAYS = 4


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
    if code == "EAI_AGAIN" or (row["died_at"] == "name" and code == "TIMEOUT"):
        return f"no name server answered {row['vantage']}"
    if code in ("ENETUNREACH", "EADDRNOTAVAIL"):
        return f"{row['vantage']} has no route to it: {', '.join(row['addresses'] or ())}"
    if code in ("TLS_UNKNOWN_CA", "TLS_SELF_SIGNED"):
        return "its certificate is of an authority that is not known here, and verification is never switched off"
    return None


def cleared(row: Record) -> str:
    """Return the steps that worked, with their times where they are known: what a request that died later clears."""
    steps = list(_SHOWN_STEPS)[: _BEFORE_ANSWER.index(row["died_at"])]
    is_plain = row["tls_seconds"] is None and not str(row["url"] or "https:").startswith("https:")
    taken = ((_SHOWN_STEPS[step], row[f"{step}_seconds"]) for step in steps if not (is_plain and step == "tls"))
    return ", ".join(words if seconds is None else f"{words} ({shown_time(seconds)})" for words, seconds in taken)


def asked(row: Record) -> str:
    """Return what was asked, and from where."""
    what = f"{row['method']} {row['url']}" if row["url"] else "the recorded URL"
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
    named = [field for field in row["body_fields"] or () if _DATABASE.search(field.partition(": ")[0])]
    well = [field for field in named if not _is_unwell(*field.partition(": ")[::2])]
    return well[0] if well and not unwell(row) and row["http_status"] == 200 else None


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
    named = [by_name[name] for name in row["mentioned_services"] or () if name in by_name and name != row["service_name"]]
    return next((other for other in named if is_unanswered(other) or (other["http_status"] or 0) >= 500), None)


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
