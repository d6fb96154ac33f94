"""The causes that lie in what the connection string demands: another kind of server, or settings that are refused."""

from __future__ import annotations

from kit.analyze.connection.causes import cause

_POOLER = "A pooler (PgBouncer) answered: "

STANDBY = (
    cause(
        "standby",
        "read-only server",
        "",
        r"session is read-only|server is in hot standby mode",
        "The server that answered takes no writes: it is a standby, or its sessions are read-only by default.",
        "Connect to the primary (after a failover the name may still point to the old one), or see "
        "default_transaction_read_only; target_session_attrs=any connects for reading.",
    ),
    cause(
        "standby",
        "not a standby",
        "",
        r"session is not read-only|server is not in hot standby mode",
        "The connection string demands a standby, and the server that answered is a primary.",
        "Connect to a standby, or change target_session_attrs.",
    ),
)
SETTINGS = (
    cause(
        "settings",
        "connection string refused",
        "OPTION",
        r"invalid \w+ value|definition of service|invalid port number|could not match \d+",
        "libpq itself refuses the connection string: an option has a value that it does not know.",
        "Mend the option that the message names, in the string, the service file or the environment (PG…).",
    ),
    cause(
        "settings",
        "startup parameter",
        "08P01",
        r"unsupported startup parameter",
        f"{_POOLER}it does not pass on a setting of the connection string.",
        "Leave `options` (or that parameter) out of the connection string, or name it in the pooler's ignore_startup_parameters; "
        "give the role the setting by `alter role … set`.",
    ),
    cause(
        "settings",
        "pooler's configuration",
        "08P01",
        r"bouncer config error",
        f"{_POOLER}its own configuration does not fit this connection.",
        "Read the pooler's log; under auth_type=any a database that its [databases] section does not name gives this too.",
    ),
    cause(
        "settings",
        "setting refused",
        "42704 22023 42501 55P02 42602",
        r"configuration parameter|invalid value for parameter|permission denied to set parameter|cannot be changed",
        "The server refuses a setting that the connection string asks for.",
        "Mend it in `options` of the connection string or in PGOPTIONS; the message names it.",
    ),
)
