"""How an item of an export becomes rows of each frame of `frames`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kit.collect.cloud.failures import command_rows
from kit.collect.cloud.instances import flag_rows, instance_rows, policy_rows, user_rows, version_rows
from kit.collect.cloud.logs import log_rows
from kit.collect.cloud.nodes import Node
from kit.collect.cloud.services import environment_rows, reference_rows, secret_rows, setting_rows
from kit.collect.cloud.shapes import Rows, binding_rows, revision_rows, service_rows, traffic_rows

ROWS: Mapping[str, Callable[[Node], Rows]] = {
    "services": service_rows,
    "traffic": traffic_rows,
    "revisions": revision_rows,
    "iam_bindings": binding_rows,
    "iam_policies": policy_rows,
    "instance_references": reference_rows,
    "environment": environment_rows,
    "secret_references": secret_rows,
    "runtime_settings": setting_rows,
    "secret_versions": version_rows,
    "sql_instances": instance_rows,
    "sql_flags": flag_rows,
    "sql_users": user_rows,
    "log_signatures": log_rows,
    "cloud_commands": command_rows,
}
