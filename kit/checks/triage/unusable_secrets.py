"""Secrets that a service names and cannot get.

What it shows: secrets of a service's template that do not exist, have no version, or of which the wanted version is
disabled, destroyed or not there.

Why it matters: Cloud Run refuses the revision, or the instance fails at its start, before a line of the service's own code
has run; where the code falls back to a default, such as SQLite, it starts and looks alive.

What to do: create the secret or the version, or correct the name in the template; then deploy.

Known limits: only names and states are looked at, never a payload. A secret that was not asked for, or that may not be
looked at, is reported as not examined; Secret Manager says "not found" also of a secret in a project that one cannot see.

References: https://cloud.google.com/run/docs/configuring/services/secrets and
https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.scope import Row, gcloud, in_force, name_of, place, refused, versions_of, was_asked
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "configuration"
NEEDS = ("secret_references",)
SEVERITIES = ("critical",)
EXPLAINS = ("08001", "08006", "28P01")
SOURCE = "cloud"

Record = Mapping[str, Any]
_COMMAND = "secrets versions list"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each version of a secret that is named and cannot be had."""
    asked: dict[tuple[Any, ...], Row] = {}
    for position, row in in_force(frames, "secret_references"):
        asked.setdefault((row["service_name"], row["secret_project"], row["secret_name"], row["secret_version"]), (position, row))
    for found in asked.values():
        yield from _judge(frames, found)


def _judge(frames: Frames, wanted: Row) -> Iterator[Judgement]:
    secret = wanted[1]["secret_name"]
    versions = versions_of(frames, wanted[1])
    failed = next((found for command in (_COMMAND, "secrets") if (found := refused(frames, command, secret))), None)
    if failed and failed[1]["code"] == "NOT_FOUND":
        yield Examined(1)
        yield _finding(wanted, "does not exist", place(failed[1]), _create(secret))
    elif versions or was_asked(frames, _COMMAND, secret):
        yield Examined(1)
        yield from _judge_version(wanted, versions)
    else:
        reason = (
            f"its versions could not be listed: {failed[1]['code']}" if failed else "no list of its versions is in the folder"
        )
        yield NotExamined(f"secret {secret}", reason)


def _judge_version(wanted: Row, versions: list[dict[str, Any]]) -> Iterator[Finding]:
    secret, name = wanted[1]["secret_name"], wanted[1]["secret_version"] or "latest"
    if not versions:
        yield _finding(wanted, "has no version", "", _add(secret))
        return
    found = _version(name, versions)
    if found is None:
        yield _finding(wanted, f"has no version {name}", place(versions[0]), _add(secret))
    elif found["state"] not in (None, "ENABLED"):
        words = f"has the version {found['secret_version']} as {name}, which is {found['state']}"
        enable = gcloud("secrets", "versions", "enable", str(found["secret_version"]), f"--secret={secret}")
        yield _finding(wanted, words, place(found, "state"), enable if found["state"] == "DISABLED" else _add(secret))


def _version(name: str, versions: list[dict[str, Any]]) -> dict[str, Any] | None:
    # `latest` is the version that was made last, also where it is disabled.
    if name == "latest":
        return max(versions, key=lambda row: int(row["secret_version"]) if str(row["secret_version"]).isdigit() else 0)
    # Anything but a number is an alias, which a list of versions does not explain.
    return next(
        (row for row in versions if row["secret_version"] == name), None if name.isdigit() else {**versions[0], "state": None}
    )


def _finding(wanted: Row, words: str, where: str, remedy: str) -> Finding:
    position, row = wanted
    return Finding(
        severity="critical",
        subject=Subject("secret", f"{row['secret_name']}"),
        message=f"Secret {row['secret_name']}, which service {name_of(row)} wants as {row['used_as']}, {words}. "
        f"{where or place(row)}",
        remedy=remedy,
        evidence=rows([position], "secret_references"),
    )


def _create(secret: str) -> str:
    command = gcloud("secrets", "create", secret, "--replication-policy=automatic", "--data-file=-")
    return f"{command}\nGive the value on standard input, without a line end; or correct the name in the template."


def _add(secret: str) -> str:
    return (
        gcloud("secrets", "versions", "add", secret, "--data-file=-") + "\nGive the value on standard input, without a line end."
    )
