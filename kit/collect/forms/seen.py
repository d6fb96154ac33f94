"""What the Python form sees around the service, as frames: its environment, its sockets, and how far it gets."""

from __future__ import annotations

from collections.abc import Mapping

from kit.evidence.columns import Column

ENVIRONMENT = (
    Column("variable_name", "string", data_class="identifier"),
    Column("value_bytes", "Int64", "bytes"),
    Column("fingerprint", "string", "four digits of the value's SHA-256, without a password; NULL of a secret"),
    Column("has_outer_space", "boolean"),
    Column("has_invisible", "boolean"),
    Column("is_quoted", "boolean"),
)
SOCKETS = (
    Column("path", "string", data_class="identifier"),
    Column("kind", "string"),
    Column("mode", "string", "octal"),
    Column("owner_id", "string"),
    Column("is_usable", "boolean"),
    Column("reason", "string"),
)
REACHABILITY = (
    Column("step", "string"),
    Column("host", "string", data_class="identifier"),
    Column("port", "string"),
    Column("address", "string", data_class="identifier"),
    Column("is_reached", "boolean"),
    Column("error_code", "string"),
    Column("reason", "string"),
    Column("seconds", "Float64", "s"),
)
# By evidence: title, grain, and the columns in the order of job.py's rows.
SEEN: Mapping[str, tuple[str, str, tuple[Column, ...]]] = {
    "service_environment": ("Environment of the service", "one row per environment variable", ENVIRONMENT),
    "service_sockets": ("Socket folders that the service sees", "one row per folder and file", SOCKETS),
    "service_reachability": ("How far the service gets", "one row per step and address", REACHABILITY),
}
