"""The evidence that cloud exports hold: each frame, the kind of item it is made of, its columns and its key.

Light on purpose: whoever lists the tables that there are needs no reader of exports.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.evidence.columns import Column, Dtype


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """One evidence of this source and the kinds of item it is made of; `cloud_rows` makes rows of an item.

    The first `key_columns` columns tell one row from another where two files hold the same thing.
    """

    name: str
    kinds: tuple[str, ...]
    plural: str
    title: str
    grain: str
    columns: tuple[Column, ...]
    key_columns: int


def _name(name: str) -> Column:
    return Column(name, "string", data_class="identifier")


def _fact(name: str, dtype: Dtype = "string", unit: str | None = None) -> Column:
    return Column(name, dtype, unit)


def _flags(name: str) -> Column:
    return _fact(name, "list[string]", "what cannot be seen in the value, and where")


_TIME: Dtype = "datetime64[us, UTC]"
_INSTANCES = Column("cloudsql_instances", "list[string]", "connection names", "identifier")
_PLACE = (_name("file"), _fact("pointer", unit="JSON pointer"))
_OWNER = (_name("service_name"), _name("revision_name"))
_MESSAGE = Column("ready_message", "string", mask="message")
_SERVICES = (
    _name("service_name"),
    _name("latest_created_revision"),
    _name("latest_ready_revision"),
    _name("service_account"),
    _name("url"),
    _fact("is_ready", "boolean"),
    _MESSAGE,
    _INSTANCES,
    *_PLACE,
)
_TRAFFIC = (*_OWNER, _fact("percent", "Int64", "percent of the requests"), *_PLACE)
_REVISIONS = (
    *_OWNER,
    _fact("created_at", _TIME),
    _fact("image"),
    _fact("image_digest"),
    _name("creator"),
    _fact("is_ready", "boolean"),
    _fact("ready_reason"),
    _MESSAGE,
    _fact("ready_changed_at", _TIME),
    _name("service_account"),
    _INSTANCES,
    *_PLACE,
)
_BINDINGS = (_name("resource"), _name("role"), _name("member"), _fact("condition_title"), *_PLACE)
_POLICIES = (
    _name("resource"),
    _fact("resource_kind", unit="project, folder, organization, secret, secret or project, …"),
    _name("resource_name"),
    *_PLACE,
)
_REFERENCES = (*_OWNER, _fact("place"), _name("instance_name"), _flags("value_flags"), *_PLACE)
_ENVIRONMENT = (
    *_OWNER,
    _name("container_name"),
    _name("variable_name"),
    _fact("value_kind", unit="literal, secret, empty, other"),
    _fact("value_fingerprint", unit="20 bits; NULL where it might give a secret away"),
    _flags("value_flags"),
    _fact("value_shape"),
    _name("shown_value"),
    _name("secret_project"),
    _name("secret_name"),
    _fact("secret_version"),
    *_PLACE,
)
_SECRETS = (*_OWNER, _name("used_as"), _name("secret_project"), _name("secret_name"), _fact("secret_version"), *_PLACE)
_SETTINGS = (*_OWNER, _fact("setting"), _name("value"), *_PLACE)
_SQL = (
    _name("connection_name"),
    _name("instance_name"),
    _name("project"),
    _fact("region"),
    _fact("zone"),
    _fact("database_version"),
    _fact("state"),
    _fact("activation_policy"),
    _fact("suspension_reasons", "list[string]"),
    _fact("disk_state"),
    _fact("disk_gigabytes", "Int64", "GB"),
    _fact("grows_by_itself", "boolean"),
    _fact("disk_limit_gigabytes", "Int64", "GB, 0: none"),
    _fact("has_public_address", "boolean"),
    _name("public_address"),
    _name("private_address"),
    _name("private_network"),
    _fact("ssl_mode"),
    _fact("connector_enforcement"),
    *_PLACE,
)
_SQL_FLAGS = (_name("connection_name"), _fact("flag_name"), _fact("value"), *_PLACE)
_SQL_USERS = (_name("instance_name"), _name("user_name"), _fact("user_type"), *_PLACE)
_VERSIONS = (
    _name("secret_name"),
    _fact("secret_version"),
    _name("secret_project"),
    _fact("state"),
    _fact("created_at", _TIME),
    *_PLACE,
)
_COMMANDS = (
    _fact("command"),
    _name("resource_name"),
    _fact("code", unit="google.rpc.Code as a word; NULL where it did not fail"),
    Column("message", "string", mask="message"),
    _fact("at", _TIME),
    *_PLACE,
)
_LOG = (
    _fact("at", _TIME),
    *_OWNER,
    _name("database_id"),
    _fact("signature"),
    _name("subject"),
    _flags("subject_flags"),
    _fact("severity"),
    _fact("entry_id"),
    *_PLACE,
)
_BOTH = ("service", "revision")
_POLICY = ("policy", "ancestor policy")

FRAMES = (
    FrameSpec("services", ("service",), "services", "Cloud Run services", "one row per service", _SERVICES, 1),
    FrameSpec("traffic", ("service",), "services", "Traffic", "one row per target of a service", _TRAFFIC, 3),
    FrameSpec("revisions", ("revision",), "revisions", "Revisions", "one row per revision", _REVISIONS, 2),
    FrameSpec("iam_bindings", _POLICY, "IAM policies", "IAM bindings", "one row per member of a binding", _BINDINGS, 4),
    FrameSpec("iam_policies", _POLICY, "IAM policies", "IAM policies", "one row per policy", _POLICIES, 1),
    FrameSpec(
        "instance_references",
        _BOTH,
        "services",
        "Named instances",
        "one row per name of an instance",
        _REFERENCES,
        4,
    ),
    FrameSpec("environment", _BOTH, "services", "Environment", "one row per variable", _ENVIRONMENT, 4),
    FrameSpec("secret_references", _BOTH, "services", "Wanted secrets", "one row per use of a secret", _SECRETS, 6),
    FrameSpec("runtime_settings", _BOTH, "services", "Runtime settings", "one row per setting", _SETTINGS, 3),
    FrameSpec("secret_versions", ("secret version",), "secrets' versions", "Secrets", "one row per version", _VERSIONS, 3),
    FrameSpec(
        "sql_instances",
        ("instance",),
        "Cloud SQL instances",
        "Cloud SQL instances",
        "one row per instance",
        _SQL,
        1,
    ),
    FrameSpec(
        "sql_flags",
        ("instance",),
        "Cloud SQL instances",
        "Database flags",
        "one row per flag that is set",
        _SQL_FLAGS,
        2,
    ),
    FrameSpec("sql_users", ("database user",), "database users", "Database users", "one row per user", _SQL_USERS, 2),
    FrameSpec("log_signatures", ("log entry",), "log entries", "Errors in the log", "one row per entry", _LOG, 9),
    FrameSpec(
        "cloud_commands",
        ("command",),
        "commands",
        "Commands of the collection",
        "one row per command",
        _COMMANDS,
        7,
    ),
)
EVIDENCE = (*(spec.name for spec in FRAMES), "audit_changes")
