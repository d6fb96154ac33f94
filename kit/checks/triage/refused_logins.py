"""Logins that the server refuses.

What it shows: the server answered and did not let this role in: a wrong password, no such role, a role that may not
log in or may not connect to this database, or a client address that pg_hba.conf has no line for.

Why it matters: an application with the same connection string fails in the same way, at start or at its next
connection; sessions that are already open go on, so a changed password shows late.

What to do: compare user and host with what the server knows; the remedy says what to look at. Do not change a
password before it is known who else uses it.

Known limits: the server says "password authentication failed" for a wrong password, for a role that does not exist,
and for an expired one; only its log tells them apart. The password itself is never part of the evidence.

References: https://www.postgresql.org/docs/current/client-authentication-problems.html and
https://cloud.google.com/sql/docs/postgres/iam-authentication
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.analyze.findings import Judgement
from kit.checks.triage._attempts import Diagnosis, judge_attempts
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = ("connection",)
SEVERITIES = ("critical",)
EXPLAINS = ("28P01", "28000")

DIAGNOSES = (
    Diagnosis(
        r"no password supplied",
        "The server wants a password, and none was given.",
        "Give one by PGPASSWORD, ~/.pgpass or a service; check that the secret with it exists and is mounted.",
    ),
    Diagnosis(
        r"not permitted to log in",
        "The role exists but is a group: it may not log in.",
        "Log in as a role with LOGIN, or let a role that may manage it run `alter role … login`.",
    ),
    Diagnosis(
        r"role .+ does not exist|no such user",
        "The server has no such role.",
        "Check the user's name: it is case-sensitive, must be percent-encoded in a URL, and on Cloud "
        "SQL an IAM service account is "
        "named without .gserviceaccount.com.",
    ),
    Diagnosis(
        r"pg_hba\.conf rejects|no pg_hba\.conf entry",
        "The server has no line in pg_hba.conf that lets this user in from this address with (or without) encryption.",
        "Read the address and the encryption in the message; then set sslmode, connect from an "
        "allowed network, or have a line added.",
    ),
    Diagnosis(
        r"permission denied for database",
        "The role may log in, but has no CONNECT privilege on this database.",
        "Let the database's owner run `grant connect on database … to …`.",
    ),
    Diagnosis(
        r"IAM|cloudsql",
        "The instance refused the IAM login.",
        "Check the flag cloudsql.iam_authentication, the roles cloudsql.client and "
        "cloudsql.instanceUser, and that the IAM user exists.",
    ),
    Diagnosis(
        r"peer|ident",
        "The server takes the operating system's user for the role, and they differ.",
        "Connect over TCP with a password, or as the operating system user of that name.",
    ),
    Diagnosis(
        r"",
        "The server refused the password (or the role does not exist, or its password has expired).",
        "Compare the secret's version that the service uses with the newest one, look for a stray newline at its end, and check "
        "percent-encoding of @ / # ? : and % in the URL; the server's log names the true reason.",
    ),
)


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a finding for an attempt whose login was refused."""
    yield from judge_attempts(frames, "login", "role", "user_name", DIAGNOSES)
