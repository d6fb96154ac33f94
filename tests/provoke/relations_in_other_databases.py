"""Migrations that ran in the database beside the one that the service asks."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    other = f"{database} production"
    server.create_database(other)
    try:
        server.execute(
            """
            create schema auth;
            create table auth.siwe_nonces (nonce text);
            create table auth.schema_migrations (version text);
            insert into auth.schema_migrations values ('20260313150000');
            """,
            other,
        )
        yield {
            "symptom": 'ERROR: relation "siwe_nonces" does not exist',
            "expected": ("relations_in_other_databases:table:siwe_nonces",),
            # The service is sent to the database that has it.
            "repair": lambda server, _: server.dsn(other),
        }
    finally:
        server.execute(f'drop database "{other}" with (force)')
