"""An Alembic ledger, which holds the current version and nothing of what failed; and one of Prisma's, which does."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server
from tests.provoke.failed_migrations import LEDGER


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create table alembic_version (version_num varchar(32) not null primary key)", database)
    server.execute("insert into alembic_version values ('ab12')", database)
    server.execute(LEDGER, database)
    yield {
        "expected": ("silent_ledgers:table:public.alembic_version",),
        "absent": ("silent_ledgers:table:public._prisma_migrations",),
        "repair": lambda server, database: server.execute("drop table alembic_version", database),
    }
