"""The causes of a failed connection above the network: slots, login, database."""

from __future__ import annotations

from kit.analyze.connection.causes import Cause, cause
from kit.analyze.connection.demands import SETTINGS, STANDBY
from kit.analyze.connection.google import THROUGH_GOOGLE
from kit.analyze.connection.unreachable import UNREACHABLE

_WHO = "select usename, application_name, state, count(*) from pg_stat_activity group by 1, 2, 3 order by 4 desc"
_POOLER = "A pooler (PgBouncer) answered: "

SLOTS = (
    cause(
        "slots",
        "limit of the role",
        "53300",
        r"too many connections for role",
        "The role has as many sessions as its connection limit allows.",
        f"See who holds them (`{_WHO}`), make the pools of that role smaller, or raise the limit by "
        "`alter role … connection limit`.",
    ),
    cause(
        "slots",
        "limit of the database",
        "53300",
        r"too many connections for database",
        "The database has as many sessions as its connection limit allows.",
        f"See who holds them (`{_WHO}`), or raise the limit by `alter database … connection limit`.",
    ),
    cause(
        "slots",
        "pooler's clients",
        "08P01 53300 XX000",
        r"no more connections allowed|max_client_conn|max clients reached|maxclientsinsessionmode",
        "The pooler has as many clients as it allows.",
        "See `show clients` and `show pools` in its console; raise max_client_conn, or make the applications' own pools smaller.",
    ),
    cause(
        "slots",
        "pool is full",
        "08P01",
        r"query_wait_timeout",
        f"{_POOLER}a statement waited for a server connection as long as query_wait_timeout allows, and got none.",
        "See `show pools` (cl_waiting, maxwait) in its console, and who holds the pool's sessions: idle transactions first; then "
        "raise default_pool_size.",
        "A pool that is held by long transactions and one that is too small look alike from here.",
        at="query",
    ),
    cause(
        "slots",
        "no answer behind the pooler",
        "TIMEOUT",
        r"(?!)",
        "A session began, and then the first small query got no answer in time.",
        "Through a pooler, see `show pools` (cl_waiting, maxwait) in its console; without one, look at the server's load.",
        "A full pool and an overloaded server look alike from here.",
        at="query",
    ),
    cause(
        "slots",
        "reserved slots",
        "53300",
        r"reserved for",
        "The server has no free connection slot for ordinary roles: what is left is reserved.",
        f"As a role with reserved slots, see who holds them (`{_WHO}`), end idle sessions, and make the pools smaller.",
    ),
    cause(
        "slots",
        "no process",
        "53000 53200",
        r"could not fork new process|out of memory",
        "The server's machine has no memory or process left for another session.",
        "Look at memory and process limits of that machine before anything else; ending idle sessions gives some back.",
    ),
    cause(
        "slots",
        "too many clients",
        "53300",
        r"",
        "The server has no free connection slot for ordinary roles.",
        f"As a role with reserved slots, see who holds them (`{_WHO}`), end idle sessions, and make the pools smaller.",
    ),
)
LOGIN = (
    cause(
        "login",
        "token expired",
        "",
        r"token .*expired|login has expired|credentials have expired",
        "The token with which the kit fetches the login has expired.",
        "Renew it with the command that the message names, and run again.",
    ),
    cause(
        "login",
        "no password given",
        "",
        r"no password supplied",
        "The server wants a password, and none was given.",
        "Give one by PGPASSWORD, ~/.pgpass or a service; check that the secret with it exists and is mounted.",
    ),
    cause(
        "login",
        "client's own demand",
        "",
        r"authentication method requirement|channel binding (is )?required|requirepeer specifies|GSSAPI encryption required",
        "libpq broke off: the server does not prove itself in the way that the connection string demands.",
        "See require_auth, channel_binding, requirepeer and gssencmode in the string and the environment (PG…); where they are "
        "meant, this may be another server than the right one.",
    ),
    cause(
        "login",
        "role without login",
        "28000",
        r"not permitted to log in",
        "The role exists but is a group: it may not log in.",
        "Log in as a role with LOGIN, or let a role that may manage it run `alter role … login`.",
    ),
    cause(
        "login",
        "no such role at the pooler",
        "08P01 28000 XX000",
        r"no such user|tenant or user not found",
        f"{_POOLER}its list of users has no such role. Whether the server has it is not known.",
        "Add the user to the pooler's auth_file (or see auth_query); check the user's name, which is case-sensitive "
        "(Supabase's pooler wants it as ROLE.PROJECT).",
    ),
    cause(
        "login",
        "no such role",
        "28000",
        r"role .+ does not exist",
        "The server has no such role.",
        "Check the user's name: it is case-sensitive, must be percent-encoded in a URL, and on Cloud "
        "SQL an IAM service account is "
        "named without .gserviceaccount.com.",
    ),
    cause(
        "login",
        "pg_hba.conf wants TLS",
        "28000",
        r"no pg_hba\.conf entry .*no encryption",
        "The server has no line in pg_hba.conf that lets this user in from this address without encryption.",
        "Set sslmode=require first: there may be a hostssl line. If that is refused too, connect from an allowed network, or "
        "have a line added.",
        "Whether a line for encrypted connections exists cannot be seen from here without trying.",
    ),
    cause(
        "login",
        "no pg_hba.conf entry",
        "28000",
        r"pg_hba\.conf rejects|no pg_hba\.conf entry",
        "The server has no line in pg_hba.conf that lets this user in from this address with (or without) encryption.",
        "Read the address and the encryption in the message; then set sslmode, connect from an "
        "allowed network, or have a line added.",
    ),
    cause(
        "login",
        "client certificate",
        "28000",
        r"client certificate|certificate authentication failed",
        "The server wants a certificate of the client, and none that it accepts was shown.",
        "Give sslcert and sslkey; the certificate's common name must be the role's name (or be mapped to it).",
    ),
    cause(
        "login",
        "no CONNECT privilege",
        "42501",
        r"permission denied for database",
        "The role may log in, but has no CONNECT privilege on this database.",
        "Let the database's owner run `grant connect on database … to …`.",
    ),
    cause(
        "login",
        "authentication service",
        "28000 28P01",
        r"\b(LDAP|RADIUS|PAM|BSD) authentication failed",
        "The server asked an authentication service (LDAP, RADIUS, PAM) instead of its own list, and that refused the role.",
        "Check the password (or token: RDS takes an IAM token by PAM, for fifteen minutes) there, and from the server's machine "
        "whether the service answers; the server's log says which.",
        "A wrong password and a service that does not answer get the same words.",
    ),
    cause(
        "login",
        "IAM",
        "28000 28P01",
        r"\bIAM\b.* authentication failed",
        "The instance refused the IAM login.",
        "Check the flag cloudsql.iam_authentication, the roles cloudsql.client and "
        "cloudsql.instanceUser, and that the IAM user exists.",
    ),
    cause(
        "login",
        "operating system's user",
        "28000",
        r"\b(peer|ident) authentication",
        "The server takes the operating system's user for the role, and they differ.",
        "Connect over TCP with a password, or as the operating system user of that name.",
    ),
    cause(
        "login",
        "pooler's own login",
        "08P01 28P01",
        r"server login failed|login failed",
        f"{_POOLER}the server behind it refused the login that the pooler itself uses, or the pooler knows none.",
        "Compare the user and password of the pooler's [databases] line or auth_file with the server's; the client's own "
        "are not at fault.",
    ),
    cause(
        "login",
        "password refused",
        "28P01 08P01",
        r"authentication failed",
        "The server refused the password (or the role does not exist, or its password has expired).",
        "Compare the secret's version that the service uses with the newest one, look for a stray newline at its end, and check "
        "percent-encoding of @ / # ? : and % in the URL; the server's log names the true reason.",
        "A wrong password, an unknown role, a role without a password and an expired one get the same answer, on purpose: only "
        "the server's log tells them apart.",
    ),
    cause(
        "login",
        "login refused",
        "28000",
        r"",
        "The server refused the login.",
        "Read the server's log at that minute: it names the line of pg_hba.conf and the reason.",
    ),
)
DATABASE = (
    cause(
        "database",
        "database closed",
        "55000 3D000",
        r'not currently accepting connections|database "…" is disabled|does not allow connections',
        "The database exists but takes no sessions.",
        "Find out who closed it (a restore, a rename, a template); its owner opens it by `alter "
        "database … allow_connections true`.",
    ),
    cause(
        "database",
        "no such database at the pooler",
        "08P01 3D000",
        r"no such database",
        f"{_POOLER}it has no database of this name. Whether the server has it is not known.",
        "Compare the name with the pooler's [databases] section (`show databases` in its console), and with `psql -l` at the "
        "server itself.",
    ),
    cause(
        "database",
        "no such database",
        "3D000",
        r"",
        "The server has no database of this name.",
        "Check the name (it is case-sensitive; without one libpq takes the user's name) and the "
        "host: `psql -l` there lists what it has. "
        "If it is the right server, create the database and run its migrations.",
    ),
)
REFUSALS: tuple[Cause, ...] = (*SLOTS, *DATABASE, *LOGIN, *SETTINGS, *STANDBY)
CAUSES: tuple[Cause, ...] = (*THROUGH_GOOGLE, *REFUSALS, *UNREACHABLE)
