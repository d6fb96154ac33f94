"""The causes of a failed connection below authentication: socket, name, route, port, TLS, another kind of server."""

from __future__ import annotations

from kit.analyze.connection.causes import WAY_CLOSED, cause

_NOTHING = r"(?!)"
_SOCKET = "socket folder, socket file, socket connection"
_POOLER = "A pooler (PgBouncer) answered: "

UNREACHABLE = (
    WAY_CLOSED,
    cause(
        "unreachable",
        "socket path too long",
        "ENAMETOOLONG",
        r"socket path .* too long",
        "The path of the Unix socket is longer than the system allows (107 bytes on Linux, 103 on macOS).",
        "Give the socket's folder a shorter path; the host is that folder, not the file in it.",
    ),
    cause(
        "unreachable",
        "socket file in the host",
        "ENOTDIR ENOTSOCK",
        r"not a directory|not a socket",
        "The host names a file where the socket's folder must stand.",
        "Give the folder alone as host: libpq adds /.s.PGSQL.5432 itself.",
    ),
    cause(
        "unreachable",
        "dead socket",
        "ECONNREFUSED EAGAIN",
        r'socket "[^"]*" failed: (connection refused|resource temporarily unavailable)',
        "The socket file is there, but no server listens behind it: it ended without removing the file, or its queue is full.",
        "Start the server or proxy that owns the file; see its log for how it ended. Removing the file alone mends nothing.",
        at=_SOCKET,
    ),
    cause(
        "unreachable",
        "no socket",
        "ENOENT",
        r"no such file or directory",
        "There is no socket file at that path: no server or proxy listens there.",
        "Check the path letter by letter (the host is the folder; libpq adds .s.PGSQL.5432 itself), and the port, which is part "
        "of the file's name. On Cloud Run the folder "
        "/cloudsql/PROJECT:REGION:INSTANCE is there only if the instance is attached to the revision and its service account "
        "has roles/cloudsql.client; the middle part is the region (us-central1), not a zone (us-central1-a).",
    ),
    cause(
        "unreachable",
        "socket not permitted",
        "EACCES EPERM",
        r'socket "[^"]*" failed: permission denied|permission denied',
        "The socket's folder is there, but this operating system user may not use it.",
        "Run as a user who may enter the folder, or set unix_socket_permissions and the folder's mode.",
        at=_SOCKET,
    ),
    cause(
        "unreachable",
        "blocked on this machine",
        "EACCES EPERM",
        _NOTHING,
        "This machine itself does not let the connection out.",
        "Look at the local firewall, sandbox or network policy of the machine or container that asks.",
        at="tcp",
    ),
    cause(
        "unreachable",
        "refused",
        "ECONNREFUSED ECONNRESET",
        r"connection refused",
        "The host answers, but nothing listens on that port.",
        "Check the port, that the server runs, and that listen_addresses covers this address; for a "
        "proxy or sidecar, that it has started.",
        "A firewall that rejects looks the same as a port where nobody listens.",
        at="tcp",
    ),
    cause(
        "unreachable",
        "name servers silent",
        "TIMEOUT EAI_AGAIN",
        r"temporary failure in name resolution",
        "The name servers of this network gave no answer, so nothing is known of the host's name.",
        "Check this machine's DNS (resolv.conf, VPN) with a name that is known to be good.",
        at="name resolution",
    ),
    cause(
        "unreachable",
        "unknown name",
        "EAI_NONAME EAI_NODATA EAI_FAIL EAI_ADDRFAMILY EAI_FAMILY EAI_SERVICE EAI_SYSTEM",
        r"could not translate host name|name or service not known|nodename nor servname|name resolution|no address associated",
        "The host's name cannot be resolved from here.",
        "Check the spelling of the host, and whether this network's DNS knows it (a private name needs the VPC's DNS).",
        "A name that was misspelt and one that only another network's DNS knows look alike.",
    ),
    cause(
        "unreachable",
        "no route",
        "ENETUNREACH EHOSTUNREACH EAFNOSUPPORT EADDRNOTAVAIL ENETDOWN EHOSTDOWN",
        r"network is unreachable|no route to host|address family not supported|cannot assign requested address",
        "There is no route to that address from here.",
        "Check VPN, VPC connector and address family: an IPv6-only host (Supabase's direct one) "
        "cannot be reached over IPv4; use its pooler.",
    ),
    cause(
        "unreachable",
        "hot standby off",
        "57P03",
        r"hot standby mode is disabled|system is not accepting connections",
        "The server is in recovery and takes no sessions, because hot_standby is off.",
        "Ask the primary; or set hot_standby = on and restart this standby, if it is meant to be read.",
    ),
    cause(
        "unreachable",
        "shutting down",
        "57P03 57P01 57P02",
        r"shutting down|terminating connection",
        "The server is shutting down.",
        "Find out who stops it (maintenance, failover, out of memory) before starting it again.",
    ),
    cause(
        "unreachable",
        "starting up",
        "57P03",
        r"starting up|not yet accepting|recovery mode|consistent recovery state",
        "The server is starting up or recovering, and takes no sessions yet.",
        "Wait, and read the server's log for how far recovery is; do not restart it meanwhile, since recovery would begin again.",
    ),
    cause(
        "unreachable",
        "pooler without server",
        "08P01 08006 58000",
        r"pgbouncer cannot connect to server|server_login_failed|server down|connect failed|server conn crashed"
        r"|query_wait_timeout",
        f"{_POOLER}it has no server connection to begin a session with.",
        "Look at the server that the pooler's [databases] line names, from the pooler's machine, and at the pooler's log: the "
        "pooler itself is well.",
        "Whether that server is down, refuses the pooler's own login, or is out of slots for the pooler stands only in its log.",
    ),
    cause(
        "unreachable",
        "connect timeout",
        "TIMEOUT ETIMEDOUT",
        r"timeout expired|timed out",
        "No answer came in time: packets are dropped on the way, or the server is too busy (or locked) to let anyone in.",
        "Check firewall and authorized networks first, then the load of the server's machine.",
        "A firewall that drops packets and a host that is down look alike.",
        at="tcp, socket connection",
    ),
    cause(
        "unreachable",
        "silent listener",
        "TIMEOUT",
        _NOTHING,
        "Something took the connection and then said nothing: a server that hangs, a proxy whose server is gone, or another "
        "protocol on that port.",
        "Check what listens there, on its machine; where it is PostgreSQL, look at its load and whether it was stopped (SIGSTOP, "
        "a frozen container, a full disk).",
        "A PostgreSQL server that hangs and another kind of server that waits look alike.",
        at="greeting, tls",
    ),
    cause(
        "unreachable",
        "silent server",
        "TIMEOUT",
        _NOTHING,
        "A server (or pooler) is there, and did not begin a session in time.",
        "Through a pooler, look at its log: its server may be gone. At the server, look for a lock on pg_authid or pg_database "
        "(a long ALTER ROLE, VACUUM FULL of a catalog), for an authentication service that does not answer (LDAP, RADIUS), and "
        "at the machine's load.",
        "A pooler without a server, a lock on a shared catalog, a slow authentication service and an overloaded machine look "
        "alike.",
        at="authentication method, authentication, database",
    ),
    cause(
        "unreachable",
        "not PostgreSQL: MySQL",
        "MYSQL",
        r"mysql",
        "A MySQL server listens there, not PostgreSQL.",
        "Check host and port (3306 is MySQL's), and which engine the instance has.",
    ),
    cause(
        "unreachable",
        "not PostgreSQL: HTTP",
        "HTTP",
        r"HTTP server",
        "A web server (or a web proxy) listens there, not PostgreSQL.",
        "Check host and port: a service's URL or an HTTP proxy is no database address.",
    ),
    cause(
        "unreachable",
        "not PostgreSQL",
        "SSH TLS_SERVER STRANGER INVALID",
        r"received invalid response to SSL negotiation|expected authentication request from server",
        "What listens there does not speak PostgreSQL's protocol.",
        "Check host and port: the connection reached another kind of server.",
    ),
    cause(
        "unreachable",
        "TLS not offered",
        "TLS_NOT_OFFERED",
        r"server does not support SSL",
        "The connection string demands an encrypted connection, and the server does not offer one.",
        "Set ssl = on with a certificate at the server (or client_tls_sslmode at the pooler); sslmode=prefer would do without, "
        "and is only for a network that is trusted.",
    ),
    cause(
        "unreachable",
        "certificate expired",
        "TLS_EXPIRED TLS_NOT_YET_VALID",
        r"certificate has expired|certificate is not yet valid",
        "The server's certificate is not valid at this time.",
        "Renew the server's certificate and reload it; compare this machine's clock first.",
    ),
    cause(
        "unreachable",
        "certificate of another name",
        "TLS_NAME",
        r"does not match host name|hostname mismatch|ip address mismatch",
        "The server's certificate is for another name than the host in the connection string.",
        "Connect by a name that the certificate holds, or have one made for this name; sslmode=verify-ca leaves the name "
        "unchecked.",
    ),
    cause(
        "unreachable",
        "certificate not trusted",
        "TLS_SELF_SIGNED TLS_UNKNOWN_CA TLS_REFUSED",
        r"self[- ]signed certificate|unable to get (local )?issuer|certificate verify failed",
        "The server's certificate is not signed by an authority that the root certificate names.",
        "Give the right root certificate as sslrootcert (the provider publishes it; for Cloud SQL, "
        "server-ca.pem of the instance).",
        "A root certificate that was renewed and somebody in between look alike: compare fingerprints over another way.",
    ),
    cause(
        "unreachable",
        "no root certificate",
        "TLS_NO_ROOT",
        r"root certificate file",
        "The connection string demands a verified certificate, and the root certificate to verify it with is not there.",
        "Put the root certificate where sslrootcert points (~/.postgresql/root.crt where it is not set).",
    ),
    cause(
        "unreachable",
        "client's private key",
        "TLS_CLIENT_KEY",
        r"private key file",
        "The client's own certificate cannot be used, so the encrypted connection was not even begun.",
        "Put the key beside the certificate (sslkey), readable by this user alone (chmod 0600); a mounted secret often is 0644.",
    ),
    cause(
        "unreachable",
        "no common TLS version",
        "TLS_HANDSHAKE",
        r"protocol[ _]version|unsupported[ _]protocol|no[ _]protocols[ _]available",
        "The two sides have no version of TLS in common.",
        "Compare ssl_min_protocol_version and ssl_max_protocol_version of the connection string (libpq begins at TLS 1.2) with "
        "those of the server.",
    ),
    cause(
        "unreachable",
        "no agreement on TLS",
        "TLS_HANDSHAKE TLS_CLIENT_KEY",
        r"certificate|ssl|tls|encryption",
        "The two sides could not agree on an encrypted connection.",
        "Check sslmode and the root certificate on this side, and whether the server offers (or demands) encryption; leave "
        "sslnegotiation=direct out where the server is older than 17.",
    ),
    cause(
        "unreachable",
        "closed at once",
        "CLOSED ECONNRESET EPIPE",
        r"server closed the connection|connection reset|broken pipe|eof|without a word",
        "The connection was made and then closed before a session began.",
        "Check what listens there: a proxy whose server is gone, a server that runs out of memory, "
        "or another protocol on that port.",
        "A proxy without a server behind it and a server that ends each session at once look alike.",
    ),
    cause(
        "unreachable",
        "refused in its own words",
        "08P01 XX000",
        _NOTHING,
        "The server or pooler refused the connection in words that are not known here.",
        "Read the message, and the log of what answered: a pooler's own errors have no SQLSTATE of their own.",
    ),
    cause(
        "unreachable",
        "unknown",
        "",
        r"",
        "No connection came about.",
        "Read the message; try the same connection string with psql from the same place.",
    ),
)
