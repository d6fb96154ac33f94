"""Servers of another kind than the application needs: a standby, or read-only sessions.

What it shows: a connection that demands a server for writing (target_session_attrs) and found a standby, or the reverse;
and, where the symptom is a refused write (25006), that the server which answered is in recovery, or that sessions of this
role are read-only by default.

Why it matters: after a failover a name, an address or a pooler may still lead to the old primary, which is now a standby:
every read works, every write fails.

What to do: compare the address with that of the primary; correct the name or the pooler before anything is promoted.

Known limits: without such a demand or symptom a standby is no defect, and none is reported. Which server is the primary
cannot be seen from a standby.

References: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS and
https://www.postgresql.org/docs/current/hot-standby.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Finding, Judgement, Subject
from kit.checks import rows
from kit.checks.triage._attempts import judge_attempts
from kit.evidence.model import Frames

LAYER = "database identity"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("25006",)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt that met the wrong kind of server, or for a refused write that a standby explains."""
    yield from judge_attempts(frames, "standby", "server", "host")
    if _is_refused_write(frames) and frames.identity is not None:
        yield from _read_only(frames)


def _is_refused_write(frames: Frames) -> bool:
    return "symptom" in frames and any("25006" in states for states in frames["symptom"]["sqlstates"])


def _read_only(frames: Frames) -> Iterable[Finding]:
    identity = frames.identity
    if identity is not None and identity.in_recovery:
        message = f"The server {identity.server} is in recovery: a standby, which takes no write from anybody."
        remedy = "Connect to the primary; after a failover, correct the name, address or pooler that still leads here."
        yield _finding(Subject("server", identity.server), message, remedy)
    elif identity is not None and _is_read_only_by_default(frames):
        message = f"Sessions of {identity.user!r} in {identity.database!r} are read-only by default."
        remedy = "Find where default_transaction_read_only is set (role, database, server), and why, before it is reset."
        yield _finding(Subject("setting", "default_transaction_read_only"), message, remedy)


def _finding(subject: Subject, message: str, remedy: str) -> Finding:
    return Finding(severity="critical", subject=subject, message=message, remedy=remedy, evidence=rows([0], "session"))


def _is_read_only_by_default(frames: Frames) -> bool:
    if "settings" not in frames:
        return False
    settings = frames["settings"]
    found = settings[settings["setting_name"] == "default_transaction_read_only"]
    return bool((found["setting"] == "on").any())
