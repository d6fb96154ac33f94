"""Whether an account holds a role, by the policies at hand: yes, no, or why that cannot be told from the files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kit.analyze.cloud.scope import rows_of
from kit.evidence.instances import bare_name, project_of
from kit.evidence.model import Frames

Record = Mapping[str, Any]
EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})
# The predefined and basic roles that hold cloudsql.instances.connect. Not .viewer; not .instanceUser, which is
# for logging in and not for connecting.
CONNECTING_ROLES = frozenset(
    {"roles/cloudsql.client", "roles/cloudsql.editor", "roles/cloudsql.admin", "roles/editor", "roles/owner"}
)
_CONTAINERS = ("group:", "domain:", "principalSet:", "principal:", "projectOwner:", "projectEditor:", "projectViewer:")
# What else may hold a permission, by long lists that change: the newer basic roles, Firebase's, and those of Google's agents.
_UNCERTAIN_ROLES = re.compile(r"roles/(?:admin|writer|firebase\.(?:admin|developAdmin)|.*serviceagent)", re.IGNORECASE)
_INHERITED = ("project", "folder", "organization")


def is_account(member: str, service_account: str) -> bool:
    """Return whether the member of a policy is this service account; a mail address has no case."""
    return member.casefold() == member_of(service_account).casefold()


def member_of(service_account: str) -> str:
    """Return the service account as an IAM policy names it."""
    return f"serviceAccount:{service_account}"


def bindings_of_project(frames: Frames) -> list[Record]:
    """Return the bindings of the project, its folders and its organisation, as far as they were exported.

    A policy that may be a single resource's (all its roles are of one API) is left out, and so is that of an instance's
    project beside the service's own.
    """
    if "iam_policies" not in frames:  # a bundle of an older kit
        return [row for _, row in rows_of(frames, "iam_bindings")]
    policies, others = _inherited(frames), _named_projects(frames)
    own = [row for row in policies if not _is_named(row, others)]
    return _bindings(frames, {row["resource"] for row in own or policies})


def bindings_for_instance(frames: Frames, project: str | None, home: str | None) -> list[Record] | None:
    """Return the bindings that count for an instance of `project`; None where no file is known to be its policy.

    `home` is the project of the service account. A policy does not say whose it is: one is taken for that of the home, unless
    its file is named `iam-policy-<PROJECT>.json`, after a project of an instance.
    """
    if "iam_policies" not in frames or project is None:
        return bindings_of_project(frames)
    is_home, others = home in (None, project), _named_projects(frames)
    policies = _inherited(frames)
    own = [row for row in policies if row["resource_kind"] == "project" and row["resource_name"] == project]
    if is_home:
        own += [row for row in policies if not _is_named(row, others)]
    return _bindings(frames, {row["resource"] for row in own}) if own or is_home else None


def _is_named(policy: Record, projects: Collection[str]) -> bool:
    """Return whether the file's name gives the policy to one of these projects; an ancestor's says it by itself."""
    return policy["resource_name"] in projects and not policy["pointer"]


def _named_projects(frames: Frames) -> set[str]:
    names = [row["instance_name"] for _, row in rows_of(frames, "instance_references")]
    known = {project_of(bare_name(name)) for name in names if name}
    return {name for name in known | {row["project"] for _, row in rows_of(frames, "sql_instances")} if name}


def bindings_for_secret(frames: Frames, secret: str) -> list[Record]:
    """Return the bindings that may give access to a secret: those of the project, its own, and those that may be its own."""
    unsure = {row["resource"] for _, row in rows_of(frames, "iam_policies") if row["resource_kind"] == "secret or project"}
    return [*bindings_of_project(frames), *(bindings_of_secret(frames, secret) or []), *_bindings(frames, unsure)]


def _inherited(frames: Frames) -> list[Record]:
    return [row for _, row in rows_of(frames, "iam_policies") if row["resource_kind"] in _INHERITED]


def bindings_of_secret(frames: Frames, secret: str) -> list[Record] | None:
    """Return the bindings of a secret's own policy; None where it was not exported."""
    own = [row for _, row in rows_of(frames, "iam_policies") if _is_of(row, secret)]
    return _bindings(frames, {row["resource"] for row in own}) if own else None


def _is_of(policy: Record, secret: str) -> bool:
    return (policy["resource_kind"], policy["resource_name"]) == ("secret", secret)


def _bindings(frames: Frames, resources: set[str]) -> list[Record]:
    return [row for _, row in rows_of(frames, "iam_bindings") if row["resource"] in resources]


def holds(account: str, roles: Collection[str], bindings: Sequence[Record]) -> bool:
    """Return whether one of the roles is given to the account, or to everybody, without a condition."""
    fitting = (b for b in bindings if b["role"] in roles and b["condition_title"] is None)
    return any(b["member"] in EVERYBODY or is_account(b["member"], account) for b in fitting)


def may_hold(account: str, roles: Collection[str], bindings: Sequence[Record]) -> str | None:
    """Return why a binding might give the account one of the roles after all; None where none might."""
    return next((reason for binding in bindings if (reason := _maybe(account, roles, binding))), None)


def _maybe(account: str, roles: Collection[str], binding: Record) -> str | None:
    role, member = binding["role"] or "", binding["member"]
    if role in roles and member.startswith(_CONTAINERS):
        return f"{role} is given to {member}: cannot tell from this file whether the account is in it"
    if member not in EVERYBODY and not is_account(member, account):
        return None
    if role in roles:
        return f"{role} is bound under the condition {binding['condition_title']!r}: cannot tell from this file"
    if not role.startswith("roles/"):
        return f"the custom role {role} is bound: cannot tell from this file what it permits"
    if _UNCERTAIN_ROLES.fullmatch(role):
        return f"{role} is bound: cannot tell from this file what it permits"
    return None


def policy_places(frames: Frames) -> str:
    """Return the files and pointers of the project's policies, as `(iam-policy.json /bindings)`, and what is not in them."""
    policies = _inherited(frames)
    told = ", ".join(f"{row['file']} {row['pointer'] or ''}/bindings" for row in policies)
    # Only a list of the ancestors' policies names whose each is.
    has_ancestors = any(row["resource_name"] and row["pointer"] for row in policies)
    caveat = "" if has_ancestors else "; what a folder or the organisation grants is not in it"
    return f"({told}{caveat})" if told else ""
