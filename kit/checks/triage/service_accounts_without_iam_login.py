"""Service accounts that are a database user and cannot log in.

What it shows: services whose variables name a service account as database user, where the instance's flag
cloudsql.iam_authentication is not on, the user is not in the instance, its name is written with .gserviceaccount.com, or the
account has no role that lets it log in.

Why it matters: logging in with IAM takes four things: the flag, the user, roles/cloudsql.instanceUser and, to get there at
all, roles/cloudsql.client. With three of them the server says only that the authentication failed.

What to do: what the finding names; the flag restarts nothing on PostgreSQL.

Known limits: a user name in a secret is not seen. Whether the user may use a table is a matter of the database itself.

References: https://cloud.google.com/sql/docs/postgres/iam-logins and
https://cloud.google.com/sql/docs/postgres/add-manage-iam-users
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kit.analyze.cloud.connections import Connection, connections
from kit.analyze.cloud.iam import bindings_of_project, holds, may_hold, policy_places
from kit.analyze.cloud.scope import gcloud, in_force, name_of, place, rows_of
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject
from kit.checks import rows
from kit.evidence.model import Frames

LAYER = "authentication"
NEEDS = ("environment", "instance_references")
SEVERITIES = ("critical",)
EXPLAINS = ("28000", "28P01")
SOURCE = "cloud"

Record = Mapping[str, Any]
LOGIN_ROLES = frozenset({"roles/cloudsql.instanceUser", "roles/cloudsql.admin", "roles/owner"})
_SUFFIX = ".gserviceaccount.com"


def judge(frames: Frames, thresholds: Mapping[str, float]) -> Iterable[Judgement]:
    """Yield a critical finding for each of the things that an IAM login lacks."""
    users: dict[tuple[str, str], Connection] = {}
    for found in connections(frames):
        if found.user and (found.user.endswith(".iam") or found.user.endswith(f".iam{_SUFFIX}")):
            users.setdefault((name_of(found.row), found.user), found)
    for found in users.values():
        yield from _judge(frames, found)


def _judge(frames: Frames, found: Connection) -> Iterator[Judgement]:
    user = found.user or ""
    if user.endswith(_SUFFIX):
        words = f"is written with {_SUFFIX}, which a database user's name leaves out"
        yield _finding(found, "name", words, place(found.row), f"Set the user to {user.removesuffix(_SUFFIX)}; then deploy.")
    instance = _instance(frames, found)
    if instance is None:
        yield NotExamined(f"{name_of(found.row)} {user}", "no single instance of the service was exported")
        return
    yield Examined(1)
    yield from _flag(frames, found, instance)
    yield from _listed(frames, found, instance)
    yield from _role(frames, found)


def _instance(frames: Frames, found: Connection) -> Record | None:
    attached = {
        row["instance_name"].strip()
        for _, row in in_force(frames, "instance_references")
        if row["service_name"] == found.row["service_name"]
    }
    known = [row for _, row in rows_of(frames, "sql_instances")]
    fitting = [row for row in known if row["connection_name"] in attached] if attached else known
    return fitting[0] if len(fitting) == 1 else None


def _flag(frames: Frames, found: Connection, instance: Record) -> Iterator[Finding]:
    own = [row for _, row in rows_of(frames, "sql_flags") if row["connection_name"] == instance["connection_name"]]
    flag = next((row for row in own if row["flag_name"] == "cloudsql.iam_authentication"), None)
    if flag is None or flag["value"] != "on":
        command = gcloud(
            "sql", "instances", "patch", instance["instance_name"], "--database-flags=cloudsql.iam_authentication=on"
        )
        where = place(flag) if flag else place(instance, "settings/databaseFlags")
        words = f"cannot log in with IAM: cloudsql.iam_authentication is not on on {instance['connection_name']}"
        yield _finding(
            found, "flag", words, where, f"{command}\nThis option replaces all flags: name the others that are set too."
        )


def _listed(frames: Frames, found: Connection, instance: Record) -> Iterator[Judgement]:
    name = (found.user or "").removesuffix(_SUFFIX)
    listed = [row for _, row in rows_of(frames, "sql_users") if row["instance_name"] == instance["instance_name"]]
    if not listed:
        yield NotExamined(f"{name_of(found.row)} {name}", "no list of the instance's users is in the folder")
    elif not any(row["user_name"] == name and row["user_type"].startswith("CLOUD_IAM") for row in listed):
        command = gcloud(
            "sql", "users", "create", name, f"--instance={instance['instance_name']}", "--type=cloud_iam_service_account"
        )
        words = f"is not among the IAM users of {instance['connection_name']}"
        yield _finding(found, "user", words, f"({listed[0]['file']})", command)


def _role(frames: Frames, found: Connection) -> Iterator[Judgement]:
    account = (found.user or "").removesuffix(_SUFFIX) + _SUFFIX
    bindings = bindings_of_project(frames)
    if holds(account, LOGIN_ROLES, bindings):
        return
    # Google's pages disagree on whether roles/editor holds cloudsql.instances.login.
    is_editor = holds(account, ["roles/editor"], bindings)
    doubt = "roles/editor is bound: cannot tell from this file whether it lets the account log in" if is_editor else None
    absent = None if bindings else "no project's IAM policy is in the folder"
    reason = may_hold(account, LOGIN_ROLES, bindings) or doubt or absent
    if reason:
        yield NotExamined(f"{name_of(found.row)} {account}", reason)
        return
    command = gcloud(
        *("projects", "add-iam-policy-binding", "PROJECT", f"--member=serviceAccount:{account}"),
        "--role=roles/cloudsql.instanceUser",
    )
    yield _finding(found, "role", "has no role that lets it log in", policy_places(frames), command)


def _finding(found: Connection, what: str, words: str, where: str, remedy: str) -> Finding:
    service = name_of(found.row)
    return Finding(
        severity="critical",
        subject=Subject("user", f"{service} {found.user} {what}"),
        message=f"Database user {found.user} of service {service} {words}. {where}",
        remedy=remedy,
        evidence=rows([found.position], "environment"),
    )
