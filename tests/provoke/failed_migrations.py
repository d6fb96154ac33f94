"""A migration that Prisma began an hour ago and never finished; another one that did finish stands beside it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

LEDGER = """
create table public._prisma_migrations (
  id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null,
  logs text, rolled_back_at timestamptz, started_at timestamptz not null default now(),
  applied_steps_count integer not null default 0
);
insert into public._prisma_migrations (id, checksum, migration_name, started_at, finished_at, logs)
values ('1', 'a', '20260101000000_init', now() - interval '2 hours', now() - interval '2 hours', null),
       ('2', 'b', '20260102000000_add_nonces', now() - interval '1 hour', null, 'ERROR: something')
"""
NAME = '"20260102000000_add_nonces"'


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(LEDGER, database)
    yield {
        "expected": (f"failed_migrations:migration:public.{NAME}",),
        "absent": ('failed_migrations:migration:public."20260101000000_init"',),
        "repair": lambda server, database: server.execute(
            "update public._prisma_migrations set rolled_back_at = now() where id = '2'", database
        ),
    }
