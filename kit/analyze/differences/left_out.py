"""What is left out of a comparison, each with the reason why it cannot matter; a test holds that nothing is forgotten."""

from __future__ import annotations

# What is compared in a way of its own: who asks and where, what services are set to, and what is probed.
BY_OTHER_MEANS = (
    "session", "connection", "connection_steps", "services", "traffic", "revisions", "iam_bindings", "iam_policies",
    "instance_references", "environment", "secret_references", "runtime_settings",
)  # fmt: skip

OTHER_DATABASE = "of another database of the instance"
EXTENSION = "made by an extension, compared as such"
_OID = "a number that the server gives: names tell things apart"
_COUNTED = "a counter, a statistic or an age"
_MOMENT = "what ran at that moment: a finding tells what was wrong with it"
_STANDS = "where it stands in the files"
_TIMES = "a time"
_GRANTOR = "who granted it"
_SAID = "said by what it is made of"
_PARSED = "a place in the parsed form"
_POSITION = "the order of columns"

LEFT_OUT_FRAMES = {
    **dict.fromkeys(("blocking", "locks", "sessions", "prepared_transactions"), _MOMENT),
    **dict.fromkeys(("column_widths", "statements", "statements_info", "table_statistics"), _COUNTED),
    **dict.fromkeys(("pooler_pools", "pooler_servers"), _MOMENT),
    "pooler_stats": _COUNTED,
    **dict.fromkeys(("other_databases", "relations_elsewhere", "ledgers_elsewhere"), OTHER_DATABASE),
    "extension_relations": EXTENSION,
    "function_mentions": "words in bodies of functions: the functions themselves are compared",
    **dict.fromkeys(("exposed_roles", "expected_schema"), "what kit.toml says"),
    "connection_string_problems": "what was found in it: the string itself is compared",
    "audit_changes": "what was done, which the time line shows: its effect is compared",
    "log_signatures": "what a log says: the symptom, not its cause",
    "errors": "what a log says: the symptom, not its cause",
}

# Columns that are neither key nor aspect of any topic, with the reason.
LEFT_OUT_COLUMNS = {
    **dict.fromkeys(
        "relation_oid schema_oid index_oid table_oid function_oid type_oid sequence_oid referenced_table_oid user_oid"
        " source_oids".split(), _OID),
    **dict.fromkeys("frozen_xid_age minimum_multixact_age database_bytes deadlocks temporary_bytes estimated_rows"
                    " estimated_pages catalog_changed_xid_age index_bytes scans toast_bytes xmin_age"
                    " catalog_xmin_age wal_status disk_gigabytes disk_limit_gigabytes".split(), _COUNTED),
    **dict.fromkeys("statistics_reset_at last_scan_at started_at finished_at rolled_back_at created_at at".split(), _TIMES),
    **dict.fromkeys(("file", "pointer"), _STANDS),
    **dict.fromkeys(("has_default_acl", "is_valid_forever", "setting", "unit", "category", "source", "is_current",
                     "is_template", "collation_version", "actual_collation_version", "default_version", "options",
                     "extension_name", "user_kind", "user_name", "instance_name", "project", "zone",
                     "message", "secret_project", "function_schema_name", "function_name", "code"), _SAID),
    **dict.fromkeys(("corrected", "form", "reader", "host", "fingerprint", "is_way"), _SAID),
    **dict.fromkeys(("position", "fixed_columns"), _POSITION),
    **dict.fromkeys(("source_columns", "read_positions", "is_merged", "has_outer_join", "target_column"), _PARSED),
    "grantor_name": _GRANTOR,
    "grows_by_itself": _COUNTED,
    "is_locked": _MOMENT,
    "applied_steps": _COUNTED,
    **dict.fromkeys(("database_name", "value_bytes", "reason", "address"), _SAID),
    **dict.fromkeys(("owner_id", "seconds", "reserve_pool_size", "current_connections"), _COUNTED),
    **dict.fromkeys("name_seconds tcp_seconds tls_seconds answer_seconds body_seconds allowed_seconds".split(), _COUNTED),
    "body_bytes": _COUNTED,
    **dict.fromkeys("body_fields mentioned_services method url addresses tls location content_type body_is_cut ignores_proxy"
                    " vantage".split(), _SAID),
    "column_names": _SAID,
    "kind": _SAID,
}  # fmt: skip
