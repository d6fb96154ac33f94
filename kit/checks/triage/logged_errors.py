"""Known errors in the service's log.

What it shows: entries of the log whose words are a known error of the way to the database, with the rung of the ladder that
each belongs to. Critical where the revision that serves, or the latest one, logged it after the last change that could have
mended it; a warning where a later change may have mended it; other errors as information.

Why it matters: the health endpoint may answer 200 while every request fails. What the service wrote when it failed is the
nearest witness, and names the instance, the secret or the table.

What to do: begin with the lowest rung that is named; a higher one may be its consequence.

Known limits: the log's lines are not kept, only which error it is and the name in it. An error that is not known is counted
and not explained. That a log holds no error does not clear a rung.

References: https://cloud.google.com/sql/docs/postgres/debugging-connectivity and
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from kit.analyze.cloud.scope import place, rows_of, serving
from kit.analyze.findings import LADDER, Examined, Finding, Judgement, Layer, Subject
from kit.checks import rows
from kit.evidence.model import Frames
from kit.evidence.records import records

LAYER = "service"
NEEDS = ("log_signatures",)
SEVERITIES = ("critical", "warning", "info")
EXPLAINS = ("08001", "08006", "28P01", "28000", "3D000", "42P01", "42703", "42501", "53300")
WITNESS = True
SOURCE = "cloud"

Record = Mapping[str, Any]
_EVIDENCE_SHOWN = 100
_GRANTS = frozenset({"iam grant", "iam policy", "deploy"})
_DEPLOYS = frozenset({"deploy"})
_DATABASE = frozenset({"deploy", "job run", "database user", "restart", "setting"})
# The rung, what to look at, and the kinds of change that could have mended it since.
_MEANING: Mapping[str, tuple[Layer, str, frozenset[str]]] = {
    "not authorized for Cloud SQL": ("authentication", "Grant roles/cloudsql.client to the service's account.", _GRANTS),
    "instance not reachable": (
        "reachability",
        "Compare the instance's name byte by byte, then its address and network.",
        _DEPLOYS,
    ),
    "instance not found": ("configuration", "Compare the instance's name byte by byte.", _DEPLOYS),
    "no socket file": ("configuration", "Attach the instance under exactly the name of the connection string.", _DEPLOYS),
    "secret not readable": ("authentication", "Grant roles/secretmanager.secretAccessor on the secret.", _GRANTS),
    "secret not found": ("configuration", "Create the secret, or correct its name.", _DEPLOYS | {"secret version", "setting"}),
    "password refused": (
        "authentication",
        "Compare the secret's version with the user's password.",
        _DATABASE | {"secret version"},
    ),
    "IAM login refused": ("authentication", "Look at the flag, the user and roles/cloudsql.instanceUser.", _DATABASE | _GRANTS),
    "no pg_hba entry": ("authentication", "Look at the address, the database and TLS of the connection.", _DATABASE),
    "database missing": ("database identity", "Compare the database's name in the connection string.", _DATABASE),
    "relation missing": ("schema", "Compare the schema with the one that is expected, as the service's role.", _DATABASE),
    "column missing": ("schema", "Compare the schema with the one that is expected: a migration did not run here.", _DATABASE),
    "permission denied": ("privileges", "Ask `kit access` as the service's role.", _DATABASE),
    "no connection slots": ("capacity and performance", "Count the sessions by application.", _DATABASE),
    "SQLite in use": ("configuration", "The service fell back to SQLite: it has no connection string, or another one.", _DEPLOYS),
    "driver not fitting": ("configuration", "Give the consumer the scheme that it reads (`kit dsn`).", _DEPLOYS),
    "connection refused": ("reachability", "Look at the host and port of the connection string.", _DEPLOYS | {"restart"}),
    "connection timed out": ("reachability", "Look at the address and the service's network.", _DEPLOYS | {"restart"}),
    "out of memory": ("service", "Give the service more memory, or find what takes it.", _DEPLOYS),
    "container did not start": ("service", "Read what the revision logged before.", _DEPLOYS),
}


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of one revision that tell the same: the first and the last of them by time."""

    first: Record
    last: Record
    number: int
    positions: tuple[int, ...]


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for each known error of each revision, the lowest rung first."""
    yield Examined(1)
    current = serving(frames)
    changes = [change for _, change in rows_of(frames, "audit_changes")]
    found = _grouped(frames["log_signatures"])
    for entries in sorted(found, key=lambda entries: (_rung(entries.first), str(entries.first["at"]))):
        yield _judge(entries, current, changes)


def _grouped(log: pd.DataFrame) -> Iterator[_Entries]:
    # Not row by row: a log may hold half a million entries.
    by_time = log.reset_index(drop=True).sort_values("at", kind="stable")
    for _, own in by_time.groupby(["service_name", "revision_name", "signature", "subject"], dropna=False, sort=False):
        first, last = records(own.iloc[[0, -1]])
        shown = {own.index[0], *own.index[1 - _EVIDENCE_SHOWN :]}
        yield _Entries(first, last, len(own), tuple(sorted(int(position) for position in shown)))


def _rung(row: Record) -> int:
    return LADDER.index(_MEANING[row["signature"]][0]) if row["signature"] in _MEANING else len(LADDER)


def _judge(entries: _Entries, current: set[str], changes: Iterable[Record]) -> Finding:
    first = entries.first
    if first["signature"] not in _MEANING:
        return _finding("info", entries, "which the kit does not know", "Read the entries themselves.")
    layer, advice, mending = _MEANING[first["signature"]]
    later = _mended(changes, first, mending, entries.last["at"])
    if first["revision_name"] is not None and current and first["revision_name"] not in current:
        return _finding("warning", entries, f"a matter of {layer}; that revision does not serve any more", advice)
    if later:
        return _finding("warning", entries, f"a matter of {layer}; after the last of them: {later}", advice)
    return _finding("critical", entries, f"a matter of {layer}", advice)


def _mended(changes: Iterable[Record], entry: Record, kinds: frozenset[str], last_at: datetime) -> str | None:
    """Return the first change after the last entry that could have mended it, or None."""
    for change in changes:
        fits = change["kind"] in kinds and change["status_code"] is None and change["at"] and change["at"] > last_at
        if fits and _is_about(change, entry):
            return f"{change['summary']} at {change['at']:%Y-%m-%d %H:%M:%S} UTC"
    return None


def _is_about(change: Record, entry: Record) -> bool:
    own = entry["service_name"]
    return change["kind"] != "deploy" or own is None or str(change["resource"] or "").endswith(f"/{own}")


def _finding(severity: Any, entries: _Entries, words: str, advice: str) -> Finding:
    first, last = entries.first, entries.last
    who = first["revision_name"] or first["service_name"] or first["database_id"] or "an unknown source"
    name = f" of {first['subject']!r}" if first["subject"] else ""
    unseen = f" ({', '.join(first['subject_flags'])})" if first["subject_flags"] else ""
    return Finding(
        severity=severity,
        subject=Subject("log", _printable(f"{who} {first['signature']} {first['subject'] or ''}")),
        message=f"{who} logged “{first['signature']}”{name}{unseen} {_times(entries.number)}, last at "
        f"{last['at']:%Y-%m-%d %H:%M:%S} UTC: {words}. {place(last)}",
        remedy=advice,
        evidence=rows(entries.positions, "log_signatures"),
        value=float(entries.number),
        unit="entries",
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _printable(name: str) -> str:
    """Return the name of a finding; the bytes themselves stand in its message."""
    return "".join(character for character in name if character.isprintable()).strip()
