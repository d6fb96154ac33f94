"""Instances, their users, secrets' versions, and whose a policy is: one row each, with the file and the JSON pointer."""

from __future__ import annotations

import re

from kit.collect.cloud.nodes import Node
from kit.collect.cloud.shapes import Rows, resource_of
from kit.collect.logs import moment

_SECRET_POLICY = re.compile(r"secrets?[-_. ](?:get[-_.])?(?:iam[-_.])?policy[-_. ](.+?)(?:\.\w+)?", re.IGNORECASE)
_PROJECT_POLICY = re.compile(r"(?:projects?[-_.])?(?:get[-_.])?iam[-_.]policy-(.+?)(?:\.json)?", re.IGNORECASE)
# Roles that a resource of one API may carry in a policy of its own, and a project's policy never carries alone.
_RESOURCE_ROLE = re.compile(r"roles/(secretmanager|run|iam|storage|artifactregistry|pubsub)\.")


def instance_rows(item: Node) -> Rows:
    """Yield the one row of a Cloud SQL instance, in the columns of the frame `sql_instances`."""
    settings, addresses = item.at("settings"), _addresses(item)
    yield (
        item.text("connectionName"),
        item.text("name"),
        item.text("project"),
        item.text("region"),
        item.text("gceZone"),
        item.text("databaseVersion"),
        item.text("state"),
        settings.text("activationPolicy"),
        [reason.value for reason in item.items("suspensionReason") if isinstance(reason.value, str)],
        item.text("outOfDiskReport", "sqlOutOfDiskState"),
        settings.number("dataDiskSizeGb"),
        settings.flag("storageAutoResize"),
        settings.number("storageAutoResizeLimit"),
        settings.flag("ipConfiguration", "ipv4Enabled"),
        addresses.get("PRIMARY"),
        addresses.get("PRIVATE"),
        settings.text("ipConfiguration", "privateNetwork"),
        settings.text("ipConfiguration", "sslMode"),
        settings.text("connectorEnforcement"),
        item.file,
        item.pointer,
    )


def _addresses(item: Node) -> dict[str, str]:
    found = {node.text("type"): node.text("ipAddress") for node in item.items("ipAddresses")}
    return {kind: address for kind, address in found.items() if kind and address}


def flag_rows(item: Node) -> Rows:
    """Yield a row for each database flag that is set on an instance."""
    for flag in item.items("settings", "databaseFlags"):
        yield item.text("connectionName"), flag.text("name"), flag.text("value"), item.file, flag.pointer


def user_rows(item: Node) -> Rows:
    """Yield the one row of a database user as Cloud SQL lists it; a password is not in the list."""
    yield item.text("instance"), item.text("name"), item.text("type") or "BUILT_IN", item.file, item.pointer


def version_rows(item: Node) -> Rows:
    """Yield the one row of a secret's version; its payload is not in the list."""
    parts = (item.text("name") or "").split("/")
    created_at = moment(item.text("createTime"))
    yield parts[3], parts[5], parts[1], (item.text("state") or "").upper() or None, created_at, item.file, item.pointer


def policy_rows(item: Node) -> Rows:
    """Yield the one row of a policy: whose it is, as far as the file and its name tell."""
    kind, name = _whose(item)
    policy = item if item.at("policy").value is None else item.at("policy")
    yield resource_of(item), kind, name, item.file, policy.pointer


def _whose(item: Node) -> tuple[str, str | None]:
    if item.at("policy").value is not None:
        return item.text("type") or "unknown", item.text("id")
    secret = _SECRET_POLICY.fullmatch(item.file.rpartition("/")[2])
    if secret:
        return "secret", secret[1]
    found = [_RESOURCE_ROLE.match(binding.text("role") or "") for binding in item.items("bindings")]
    apis = {match[1] if match else None for match in found}
    if len(apis) != 1 or None in apis:
        project = _PROJECT_POLICY.fullmatch(item.file.rpartition("/")[2])
        return "project", project[1] if project else None
    return "secret or project" if apis == {"secretmanager"} else "resource or project", None
