"""Which settings can matter, and on which rung: by the server's own categories, with the reason where one cannot."""

from __future__ import annotations

from typing import Any

from kit.analyze.differences.topics import MASKED, Row
from kit.analyze.findings import Layer

# Less than this many times the other: tuning, not a cause. A connection limit is exact, so it is told as it is.
TUNING_FACTOR = 2.0
_LIMITS = frozenset({"max_connections", "reserved_connections", "superuser_reserved_connections"})
_LAYERS: tuple[tuple[str, Layer], ...] = (
    ("Connections and Authentication / Connection", "reachability"),
    ("Connections and Authentication / TCP", "reachability"),
    ("Connections and Authentication", "authentication"),
    ("Resource Usage", "capacity and performance"),
    ("Query Tuning", "capacity and performance"),
    ("Write-Ahead Log", "capacity and performance"),
    ("Lock Management", "capacity and performance"),
    ("Replication", "capacity and performance"),
    ("Autovacuum", "capacity and performance"),
    ("Vacuuming", "capacity and performance"),
    ("Statistics", "capacity and performance"),
    ("Preset Options", "database identity"),
)
_NAMED: dict[str, Layer] = {
    **dict.fromkeys(_LIMITS, "capacity and performance"),
    "search_path": "privileges",
    "row_security": "row security",
    "lc_collate": "database identity",
    "lc_ctype": "database identity",
}
_PLACES = "where a server keeps its files and listens: another machine has other places"
_LOGGING = "what the server logs and counts: no statement fails by it"
_PRESET = "fixed when the server was built, or said by its version"
_OWN = "what the kit's own session set"
_OF_ROLES = "what a role or database sets for itself, compared as such"
_KEPT_PRESETS = frozenset({"server_encoding", "data_checksums", "in_hot_standby"})
_PLACE_NAMES = frozenset(
    "port unix_socket_directories unix_socket_group unix_socket_permissions bonjour_name cluster_name ssl_ca_file ssl_cert_file"
    " ssl_crl_file ssl_crl_dir ssl_key_file ssl_dh_params_file krb_server_keyfile dynamic_library_path".split()
)


def setting_layer(row: Row) -> Layer:
    """Return the rung of a setting."""
    name, category = str(row["setting_name"]), str(row["category"])
    if name in _NAMED:
        return _NAMED[name]
    return next((layer for start, layer in _LAYERS if category.startswith(start)), "configuration")


def setting_cannot_matter(row: Row) -> str | None:
    """Return why no difference in this setting could be a cause; None where one could."""
    name, category = str(row["setting_name"]), str(row["category"])
    if row["source"] in ("client", "session"):
        return _OWN
    if row["source"] in ("user", "database", "database user"):
        return _OF_ROLES
    if category == "File Locations" or name in _PLACE_NAMES:
        return _PLACES
    if category.startswith(("Reporting and Logging", "Statistics")):
        return _LOGGING
    if category == "Preset Options" and name not in _KEPT_PRESETS:
        return _PRESET
    return _OWN if name in ("transaction_read_only", "transaction_isolation", "transaction_deferrable") else None


def is_log_setting(name: str) -> bool:
    """Return whether a setting of a role only changes what is logged."""
    return name.startswith(("log_", "debug_print", "track_", "application_name"))


def setting_pair_cannot_matter(a: Row | None, b: Row | None) -> str | None:
    """Return why this very difference cannot be a cause: it is too small, or only one version knows the setting."""
    if a is None or b is None:
        return "a setting that only one of the versions or extensions knows"
    if a["setting"] == b["setting"] and a["is_pending_restart"] == b["is_pending_restart"]:
        return "the same value from another place"
    if setting_layer(a) != "capacity and performance" or a["setting_name"] in _LIMITS:
        return None
    return "a capacity setting of less than twice the other" if is_near(a["setting"], b["setting"], TUNING_FACTOR) else None


def is_near(a: Any, b: Any, factor: float) -> bool:
    """Return whether two numbers differ by less than this factor; False for what is no number, or not above zero.

    >>> is_near("100", "120", 2), is_near(100, 400, 2), is_near("on", "off", 2), is_near(-1, 5, 2)
    (True, False, False, False)
    """
    try:
        low, high = sorted((float(a), float(b)))
    except (TypeError, ValueError):
        return False
    return low > 0 and high / low < factor


def shown_setting(row: Row) -> str:
    """Return a setting's value with its unit, such as `4096 kB`; the default where the value is masked."""
    if row["setting"] == MASKED:
        return "the default" if row["source"] == "default" else MASKED
    return " ".join(part for part in (str(row["setting"] or "''"), row["unit"]) if part)
