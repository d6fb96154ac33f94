"""The parameters, schemes and drivers that the readers of connection strings know.

libpq's list is that of version 18 (a test asks libpq itself); asyncpg's, SQLAlchemy's and libpq's behaviour was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

_LIBPQ = """
    service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
    application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
    tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl sslcrldir
    sslsni requirepeer require_auth min_protocol_version max_protocol_version ssl_min_protocol_version
    ssl_max_protocol_version gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts
    scram_client_key scram_server_key oauth_issuer oauth_client_id oauth_client_secret oauth_scope sslkeylogfile servicefile
"""
_PRISMA = """
    schema connection_limit pool_timeout pgbouncer socket_timeout statement_cache_size sslidentity sslaccept
    connect_timeout sslmode sslcert sslpassword host application_name options channel_binding
"""
_JDBC = """
    user password ssl sslmode sslcert sslkey sslrootcert sslpassword sslfactory sslfactoryarg socketFactory socketFactoryArg
    cloudSqlInstance unixSocketPath ipTypes enableIamAuth currentSchema ApplicationName loginTimeout connectTimeout
    socketTimeout tcpKeepAlive targetServerType loadBalanceHosts prepareThreshold preferQueryMode readOnly options
    reWriteBatchedInserts stringtype defaultRowFetchSize channelBinding gssEncMode binaryTransfer autosave
"""
_ASYNCPG = """
    user password host port dbname database passfile sslmode sslcert sslkey sslrootcert sslcrl sslpassword sslnegotiation
    ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib service servicefile
"""
_SQLALCHEMY_ASYNCPG = """
    user password host port database timeout command_timeout statement_cache_size max_cached_statement_lifetime ssl
    direct_tls server_settings target_session_attrs passfile prepared_statement_cache_size prepared_statement_name_func
    async_fallback krbsrvname gsslib
"""
_NODE = """
    user password host port database sslmode ssl sslcert sslkey sslrootcert application_name fallback_application_name options
    client_encoding connect_timeout connectionTimeoutMillis statement_timeout query_timeout lock_timeout keepalives
    idle_in_transaction_session_timeout uselibpqcompat sslnegotiation
"""
LIBPQ = frozenset(_LIBPQ.split())
PRISMA = frozenset(_PRISMA.split())
JDBC = frozenset(_JDBC.split())
PRISMA_ONLY = PRISMA - LIBPQ
ASYNCPG = frozenset(_ASYNCPG.split())
SQLALCHEMY_ASYNCPG = frozenset(_SQLALCHEMY_ASYNCPG.split())
KNOWN = LIBPQ | PRISMA | JDBC | ASYNCPG | SQLALCHEMY_ASYNCPG | frozenset(_NODE.split()) | {"unix_sock", "ssl_context"}

SECRET = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key", "passwd", "pwd"})
# Whose values may be anything at all.
CLOSED = SECRET | {"options", "server_settings", "sslfactoryarg", "socketFactoryArg"}

DRIVERS = {
    "psycopg2": "psycopg2", "psycopg": "psycopg", "psycopg_async": "psycopg", "asyncpg": "asyncpg", "pg8000": "pg8000",
    "psycopg2cffi": "psycopg2",
}  # fmt: skip
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

OTHER_DIALECTS = {
    "mysql": "MySQL", "mariadb": "MariaDB", "mssql": "SQL Server", "sqlserver": "SQL Server", "oracle": "Oracle",
    "mongodb": "MongoDB", "redis": "Redis", "rediss": "Redis", "cockroachdb": "CockroachDB", "redshift": "Redshift",
    "snowflake": "Snowflake", "clickhouse": "ClickHouse", "amqp": "RabbitMQ", "http": "a web address", "https": "a web address",
    "bigquery": "BigQuery", "duckdb": "DuckDB", "prisma": "Prisma's proxy", "libsql": "libSQL", "spanner": "Spanner",
    "db2": "Db2", "cassandra": "Cassandra", "jdbc": "JDBC",
}  # fmt: skip
# By which frameworks name PostgreSQL, and nobody else does.
FRAMEWORK_SCHEMES = {"postgis": "Django", "pgsql": "PHP's frameworks", "timescale": "Django"}
DATABASE_SCHEMES = {"postgres", "postgresql", *FRAMEWORK_SCHEMES, *OTHER_DIALECTS} - {"http", "https"}


@dataclass(frozen=True, slots=True)
class Consumer:
    """A reader of connection strings: its name in sentences, and what it takes.

    `parameters` is None where an unknown one is let through; `unsafe` are the characters that break a password there.
    """

    title: str
    forms: tuple[str, ...] = ("url",)
    schemes: tuple[str, ...] = ("postgresql", "postgres")
    takes_driver: bool = False
    parameters: frozenset[str] | None = None
    takes_sockets: bool = True
    takes_several_hosts: bool = True
    takes_empty_host: bool = True
    decodes_host: bool = True
    unsafe: str = "@/"


# What ends the authority for the parsers of browsers, which take the last @ for the one that is meant.
_URL_PARSER = "/?#"
LIBPQ_READERS = ("libpq", "psql", "psycopg", "psycopg2")
CONSUMERS = {
    "libpq": Consumer("libpq", ("url", "keywords"), parameters=LIBPQ | {"ssl"}, unsafe="@/"),
    "psql": Consumer("psql", ("url", "keywords"), parameters=LIBPQ | {"ssl"}, unsafe="@/"),
    "psycopg": Consumer("psycopg", ("url", "keywords"), parameters=LIBPQ | {"ssl"}, unsafe="@/"),
    "psycopg2": Consumer("psycopg2", ("url", "keywords"), parameters=LIBPQ | {"ssl"}, unsafe="@/"),
    "sqlalchemy": Consumer(
        "SQLAlchemy", schemes=("postgresql",), takes_driver=True, takes_several_hosts=False, decodes_host=False, unsafe="@"
    ),
    "asyncpg": Consumer("asyncpg", parameters=ASYNCPG, unsafe="@/?#[]"),
    "prisma": Consumer("Prisma", takes_several_hosts=False, takes_empty_host=False, unsafe=_URL_PARSER),
    "node": Consumer("node-postgres", takes_several_hosts=False, unsafe=_URL_PARSER),
    "jdbc": Consumer("the JDBC driver", ("jdbc",), ("postgresql",), takes_sockets=False, unsafe="&"),
}
ALIASES = {"pg": "node", "node-postgres": "node", "pgjdbc": "jdbc", "psycopg3": "psycopg"}
