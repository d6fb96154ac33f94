"""The table of comparable things, in the order in which a rung tells them."""

from __future__ import annotations

from typing import Any

from kit.analyze.differences.left_out import EXTENSION, OTHER_DATABASE
from kit.analyze.differences.settings import (
    is_log_setting,
    is_near,
    setting_cannot_matter,
    setting_layer,
    setting_pair_cannot_matter,
)
from kit.analyze.differences.topics import HERE, Aspect, Row, Skip, SkipPair, Topic
from kit.analyze.findings import Layer
from kit.analyze.names import is_system_schema

# A table is told as larger only by an order of magnitude, and when it is large at all.
SIZE_FACTOR, SMALLEST_BYTES = 10.0, 64 * 1024 * 1024
_OWN_TO_A_RUN = frozenset(
    "HOSTNAME PWD OLDPWD SHLVL _ PORT K_REVISION K_SERVICE K_CONFIGURATION CLOUD_RUN_EXECUTION CLOUD_RUN_TASK_INDEX"
    " CLOUD_RUN_TASK_ATTEMPT CLOUD_RUN_JOB".split()
)
_TEMPORARY = "temporary, of one session"
_VERSION = "comes with the version of the server"


def _role_setting_layer(row: Row) -> Layer:
    return "privileges" if row["setting_name"] == "search_path" else "configuration"


def _role_setting_skip(row: Row) -> str | None:
    if row["database_name"] not in (None, HERE):
        return OTHER_DATABASE
    return "what the server logs and counts: no statement fails by it" if is_log_setting(str(row["setting_name"])) else None


def _relation_skip(row: Row) -> str | None:
    return _TEMPORARY if row.get("persistence") == "temporary" else EXTENSION if row.get("is_of_extension") else None


def _function_skip(row: Row) -> str | None:
    return EXTENSION if row["extension_name"] else None


def _role_skip_pair(a: Row | None, b: Row | None) -> str | None:
    row = a or b or {}
    return _VERSION if (a is None or b is None) and str(row["role_name"]).startswith("pg_") else None


def _server_skip_pair(a: Row | None, b: Row | None) -> str | None:
    row = a or b or {}
    return _VERSION if (a is None or b is None) and is_system_schema(str(row["schema_name"])) else None


def _other_database(row: Row) -> str | None:
    return None if row["database_name"] == HERE else OTHER_DATABASE


def _own_way(row: Row) -> str | None:
    return "the kit's own way to the server, compared as such" if row["is_way"] else None


def _template(row: Row) -> str | None:
    return "a template" if row["is_template"] else None


def _size_pair(a: Row | None, b: Row | None) -> str | None:
    sizes: list[Any] = [row["table_bytes"] if row else None for row in (a, b)]
    if None in sizes or max(sizes) < SMALLEST_BYTES or is_near(max(sizes), max(1, min(sizes)), SIZE_FACTOR):
        return "a size of the same order of magnitude, or small"
    return None


def _of_the_run(row: Row) -> str | None:
    own = str(row["variable_name"]) in _OWN_TO_A_RUN
    return "a variable that is another in each run" if own else None


def _permission(row: Row) -> str | None:
    return "a command that was not permitted" if row["code"] == "PERMISSION_DENIED" else None


def _aspects(*columns: str) -> tuple[Aspect, ...]:
    return tuple(Aspect(column, column.replace("_", " ")) for column in columns)


_RELATION = ("schema_name", "relation_name")
_OWNER = (Aspect("owner_name", "owner"),)
_LETS = "a privilege decides whether the statement is allowed"
_OWNS = "an owner may do everything, and who creates decides which default privileges hold"


def _grant(
    kind: str, plural: str, frame: str, key: tuple[str, ...], skip: Skip | None = None, skip_pair: SkipPair | None = None
) -> Topic:
    aspects = (Aspect("privileges"), Aspect("grantable", "grantable"))
    key = (*key, "grantee_name")
    return Topic(
        kind, plural, "privileges", frame, key, aspects, _LETS, ("privileges",), "nothing", skip=skip, skip_pair=skip_pair
    )


POSTGRES: tuple[Topic, ...] = (
    Topic("setting", "settings", setting_layer, "settings", ("setting_name",), (Aspect("shown"), Aspect("is_pending_restart",
          "waits for a restart", "in force")), "the server behaves otherwise under it", ("shown",), "not known",
          skip=setting_cannot_matter, skip_pair=setting_pair_cannot_matter, hidden_by="settings:hidden"),
    Topic("setting of a role or database", "settings of roles and databases", _role_setting_layer, "role_settings",
          ("setting_name", "role_name", "database_name"), (Aspect("setting_value"),),
          "a session begins with it, and nothing in the application shows it", ("setting_value",), "not set",
          skip=_role_setting_skip),
    Topic("role", "roles", "authentication", "roles", ("role_name",), (Aspect("can_login", "LOGIN", "NOLOGIN"),
          Aspect("valid_until", "valid until")), "who cannot log in is refused before any statement",
          skip_pair=_role_skip_pair),
    Topic("database", "databases", "database identity", "databases", ("database_name",),
          (Aspect("encoding", "encoding"), Aspect("allows_connections", "takes connections", "takes no connections")),
          "migrations may have run there", skip=_template),
    Topic("extension", "extensions", "schema", "extensions", ("extension_name",),
          (Aspect("version", "version"), Aspect("schema_name", "schema")),
          "its functions and types are missing or behave otherwise", ("version",)),
    Topic("schema", "schemas", "schema", "schemas", ("schema_name",), (), "everything in it is missing",
          skip_pair=_server_skip_pair),
    Topic("relation", "relations", "schema", "relations", _RELATION,
          (*_aspects("kind", "persistence"), Aspect("is_partition", "a partition", "no partition")),
          "a statement that names it fails or does something else", ("kind",), skip=_relation_skip),
    Topic("column", "columns", "schema", "columns", (*_RELATION, "column_name"),
          (Aspect("type_name", "type"), Aspect("is_not_null", "not null", "takes null"),
           Aspect("has_default", "has a default", "no default"), Aspect("identity", "identity"),
           Aspect("generated", "generated")), "a statement that names it, or leaves it out, fails", ("type_name",),
          skip=_relation_skip),
    Topic("index", "indexes", "schema", "indexes", ("schema_name", "table_name", "index_name"),
          (Aspect("is_valid", "valid", "not valid"), Aspect("is_ready", "ready", "not ready"),
           Aspect("is_unique", "unique", "not unique"), Aspect("column_names", "on", is_ordered=True),
           Aspect("access_method", "by"), Aspect("is_partial", "partial", "of all rows"),
           Aspect("has_expressions", "of expressions", "of columns"), Aspect("is_primary", "primary key", "no primary key"),
           Aspect("backs_constraint", "backs a constraint", "backs no constraint")),
          "without a unique index ON CONFLICT fails and duplicates come in; without any, queries become slow",
          ("column_names",), alike=("is_valid", "is_unique", "column_names", "access_method", "is_partial", "has_expressions",
                                    "is_primary")),
    Topic("foreign key", "foreign keys", "schema", "foreign_keys", ("schema_name", "table_name", "constraint_name"),
          (Aspect("column_names", "on", is_ordered=True), Aspect("referenced_schema_name", "to schema"),
           Aspect("referenced_table_name", "to table")), "it refuses rows, or lets orphans in", ("column_names",),
          alike=("column_names", "referenced_schema_name", "referenced_table_name", "is_validated")),
    Topic("function", "functions", "schema", "functions", ("schema_name", "function_name", "arguments"),
          _aspects("kind", "language", "volatility", "returns_trigger", "search_path", "setting_names"),
          "what calls it fails or does something else", ("kind",), skip=_function_skip, skip_pair=_server_skip_pair),
    Topic("type", "types", "schema", "types", ("schema_name", "type_name"), _aspects("kind"),
          "a column or value of it cannot be used", ("kind",)),
    Topic("call of a function", "triggers and other calls of functions", "schema", "function_uses",
          (*_RELATION, "user_kind", "user_name", "calls"),
          (Aspect("is_enabled", "enabled", "disabled"), Aspect("events", "on"), Aspect("target_column", "for column"),
           Aspect("read_columns", "reads")), "a trigger or default runs on one side only", ("user_kind",)),
    Topic("default of a sequence", "columns fed by sequences", "schema", "sequence_uses", (*_RELATION, "column_name"),
          (Aspect("how"), Aspect("sequence_schema_name", "schema"), Aspect("sequence_name", "sequence")),
          "an INSERT takes its number from another place, or from none", ("sequence_name",)),
    Topic("view", "views", "schema", "view_changes", _RELATION, _aspects("updatable_events", "instead_of_events"),
          "a change through the view is refused", is_whole=False),
    Topic("definition of a view", "reads of views", "schema", "relation_uses", ("view_schema", "view_name", *_RELATION),
          (Aspect("column_names", "columns"), Aspect("privileges")), "the view reads something else", ("column_names",),
          "does not read it"),
    Topic("attribute of a role", "attributes of roles", "privileges", "roles", ("role_name",),
          (Aspect("is_superuser", "superuser", "no superuser"), Aspect("inherits", "inherits", "does not inherit"),
           Aspect("can_create_role", "CREATEROLE", "no CREATEROLE"),
           Aspect("can_create_database", "CREATEDB", "no CREATEDB")), _LETS, is_whole=False),
    Topic("membership", "memberships", "privileges", "role_memberships", ("member_name", "role_name"),
          (Aspect("inherits", "inherits", "does not inherit"), Aspect("can_set", "may SET ROLE", "may not SET ROLE"),
           Aspect("has_admin_option", "ADMIN OPTION", "no ADMIN OPTION")), "a member has what its roles were granted",
          ("inherits",), "no member"),
    Topic("owner of a database", "owners of databases", "privileges", "databases", ("database_name",), _OWNER, _OWNS,
          is_whole=False, skip=_other_database),
    Topic("owner of a schema", "owners of schemas", "privileges", "schemas", ("schema_name",), _OWNER, _OWNS, is_whole=False),
    Topic("owner", "owners of relations", "privileges", "relations", _RELATION,
          (*_OWNER, Aspect("is_security_invoker", "reads as the caller", "reads as its owner"),
           Aspect("view_options", "options")), _OWNS, is_whole=False, skip=_relation_skip),
    Topic("owner of a function", "owners of functions", "privileges", "functions",
          ("schema_name", "function_name", "arguments"),
          (*_OWNER, Aspect("is_security_definer", "runs as its owner", "runs as the caller")), _OWNS, is_whole=False,
          skip=_function_skip),
    Topic("owner of a type", "owners of types", "privileges", "types", ("schema_name", "type_name"), _OWNER, _OWNS,
          is_whole=False),
    _grant("grant on a database", "grants on databases", "database_grants", ("database_name",), _other_database),
    _grant("grant on a schema", "grants on schemas", "schema_grants", ("schema_name",), None, _server_skip_pair),
    _grant("grant", "grants on relations", "relation_grants", _RELATION, _relation_skip),
    Topic("grant on a column", "grants on columns", "privileges", "column_grants",
          (*_RELATION, "column_name", "grantee_name"), (Aspect("privileges"),), _LETS, ("privileges",), "nothing",
          skip=_relation_skip),
    _grant("grant on a function", "grants on functions", "function_grants", ("schema_name", "function_name", "arguments"),
           _relation_skip, _server_skip_pair),
    _grant("grant on a type", "grants on types", "type_grants", ("schema_name", "type_name")),
    Topic("default privilege", "default privileges", "privileges", "default_privileges",
          ("creator_name", "schema_name", "object_kind", "grantee_name"), (Aspect("privileges"),),
          "what that role creates next is granted, or not", ("privileges",), "nothing"),
    Topic("row security", "switches of row security", "row security", "relations", _RELATION,
          (Aspect("has_row_security", "on", "off"), Aspect("forces_row_security", "also for its owner", "not for its owner")),
          "rows vanish without an error", is_whole=False, skip=_relation_skip),
    Topic("policy", "policies", "row security", "policies", (*_RELATION, "policy_name"),
          (Aspect("command", "for"), Aspect("is_permissive", "permissive", "restrictive"), Aspect("role_names", "to"),
           Aspect("has_using", "with USING", "without USING"), Aspect("has_with_check", "with CHECK", "without CHECK"),
           Aspect("using_expression", "using"), Aspect("check_expression", "check")),
          "it decides which rows are seen and taken", ("command",)),
    Topic("bypass of row security", "bypasses of row security", "row security", "roles", ("role_name",),
          (Aspect("bypasses_row_security", "BYPASSRLS", "no BYPASSRLS"),), "who bypasses policies sees every row",
          is_whole=False),
    Topic("state of a foreign key", "states of foreign keys", "data integrity", "foreign_keys",
          ("schema_name", "table_name", "constraint_name"), (Aspect("is_validated", "validated", "not validated"),),
          "rows from before it may break it", is_whole=False),
    Topic("collation", "collations of databases", "data integrity", "databases", ("database_name",),
          (Aspect("has_moved_collation", "older than the system's", "as the system's"),),
          "an index over text may find nothing that is there", is_whole=False, skip=_other_database),
    Topic("connection limit of a role", "connection limits of roles", "capacity and performance", "roles", ("role_name",),
          _aspects("connection_limit"), "more connections than this are refused", is_whole=False),
    Topic("connection limit of a database", "connection limits of databases", "capacity and performance", "databases",
          ("database_name",), _aspects("connection_limit"), "more connections than this are refused", is_whole=False,
          skip=_other_database),
    Topic("size of a table", "sizes of tables", "capacity and performance", "relation_sizes", _RELATION,
          (Aspect("table_bytes", "bytes"),), "ten times the data is another plan and another time", is_whole=False,
          skip_pair=_size_pair),
    Topic("replication slot", "replication slots", "capacity and performance", "replication_slots", ("slot_name",),
          (Aspect("slot_type"), Aspect("is_active", "active", "not active")), "a slot that nobody reads fills the disk"),
    Topic("migration ledger", "migration ledgers", "change", "migration_ledgers", _RELATION, _aspects("tool"),
          "what was migrated is recorded there", ("tool",)),
    Topic("migration", "migrations", "change", "migrations", (*_RELATION, "migration_name"),
          (Aspect("is_failed", "failed", "applied"), Aspect("is_rolled_back", "rolled back", "not rolled back")),
          "what it makes or changes is missing on one side", ("is_failed",), "not applied"),
)  # fmt: skip

CLOUD: tuple[Topic, ...] = (
    Topic("answer of a command", "answers of commands", "configuration", "cloud_commands", ("resource_name", "command"),
          (Aspect("answer"),), "what a service names must be there", ("answer",), is_whole=False, skip=_permission),
    Topic("secret version", "versions of secrets", "configuration", "secret_versions", ("secret_name", "secret_version"),
          (Aspect("state"),), "a service that names it does not start, or starts with another value", ("state",)),
    Topic("database flag", "database flags", "configuration", "sql_flags", ("connection_name", "flag_name"),
          (Aspect("value"),), "the server behaves otherwise under it", ("value",), "not set"),
    Topic("Cloud SQL instance", "Cloud SQL instances", "reachability", "sql_instances", ("connection_name",),
          _aspects("region", "state", "activation_policy", "suspension_reasons", "has_public_address", "public_address",
                   "private_address", "private_network", "ssl_mode", "connector_enforcement"),
          "the service cannot reach it, or not in this way", ("state",)),
    Topic("database user of the instance", "database users of instances", "authentication", "sql_users",
          ("instance_name", "user_name"), (Aspect("user_type"),), "who is no user cannot log in", ("user_type",)),
    Topic("engine", "engines of instances", "database identity", "sql_instances", ("connection_name",),
          _aspects("database_version"), "another engine or version behaves otherwise", is_whole=False),
    Topic("disk", "disks of instances", "capacity and performance", "sql_instances", ("connection_name",),
          _aspects("disk_state"), "a full disk stops the server", is_whole=False),
)  # fmt: skip

SERVICES: tuple[Topic, ...] = (
    Topic("probe", "probes of services", "service", "service_probes", ("service_name",),
          (Aspect("died_at", "died at"), Aspect("http_status", "status"), Aspect("error_code", "error"),
           Aspect("body_words", "says")), "it shows where a request dies", ("died_at", "http_status", "error_code")),
)  # fmt: skip
STRINGS: tuple[Topic, ...] = (
    Topic("connection string", "connection strings", "configuration", "connection_strings", ("variable_name",),
          (Aspect("masked"), Aspect("is_set", "set", "not set")), "it leads elsewhere, or in another way", ("masked",),
          skip=_own_way),
)  # fmt: skip
AROUND: tuple[Topic, ...] = (
    Topic("variable that the service sees", "variables that the service sees", "configuration", "service_environment",
          ("variable_name",),
          (Aspect("fingerprint", "fingerprint"), Aspect("has_outer_space", "spaces around", "no space around"),
           Aspect("has_invisible", "invisible characters", "nothing invisible"), Aspect("is_quoted", "in quotes", "unquoted")),
          "the service is told something else", ("fingerprint",), "not set", skip=_of_the_run),
    Topic("setting of a pooler", "settings of poolers", "configuration", "pooler_settings", ("setting_name",),
          (Aspect("setting"),), "a pooler under it turns clients away, or keeps them waiting", ("setting",), "not set"),
    Topic("entry of a pooler", "entries of poolers", "configuration", "pooler_databases", ("entry_name",),
          _aspects("host", "port", "database_name", "force_user_name", "pool_mode", "pool_size", "maximum_connections",
                   "is_paused", "is_disabled"), "clients are led elsewhere, or wait", ("database_name",)),
    Topic("socket that the service sees", "sockets that the service sees", "reachability", "service_sockets", ("path",),
          (Aspect("kind"), Aspect("is_usable", "usable", "not usable"), Aspect("mode", "mode")),
          "without its socket file a connection ends at once", ("kind",)),
    Topic("step of the service", "steps of the service", "reachability", "service_reachability", ("step", "host", "port"),
          (Aspect("is_reached", "reached", "not reached"), Aspect("error_code", "error")),
          "it shows how far the service gets", ("is_reached",)),
)  # fmt: skip
TOPICS = (*STRINGS, *AROUND, *POSTGRES, *CLOUD, *SERVICES)
KINDS = {topic.plural: topic.kind for topic in TOPICS}
