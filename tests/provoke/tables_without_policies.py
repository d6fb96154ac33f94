"""Row security that was enabled before anybody wrote a policy: the service reads zero rows."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role policies_service login;
        create schema silent;
        create table silent.messages (message_id bigint);
        insert into silent.messages values (1);
        alter table silent.messages enable row level security;
        create policy in_office_hours on silent.messages as restrictive using (true);
        grant usage on schema silent to policies_service;
        grant select on silent.messages to policies_service;
        """,
        database,
    )
    try:
        yield {"expected": ("tables_without_policies:table:silent.messages",), "repair": repair}
    finally:
        server.execute("drop schema silent cascade; drop owned by policies_service; drop role policies_service", database)


def repair(server: Server, database: str) -> None:
    """Write the policy that the remedy asks for."""
    server.execute("create policy everything on silent.messages for select to policies_service using (true)", database)
