"""A service that may read a table whose only policy is for another role: it gets zero rows and no error."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

ROLES = "rows_service, rows_reader"


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role rows_service login; create role rows_reader login; create table notes (n int); insert into notes values (1);
        alter table notes enable row level security; grant select on notes to rows_service, rows_reader;
        create policy readers on notes for select to rows_reader using (true);
        """,
        database,
    )
    try:
        yield {
            "symptom": "users see zero rows of notes",
            "expected": ("hidden_rows:role:notes.rows_service",),
            "absent": ("hidden_rows:role:notes.rows_reader",),
        }
    finally:
        server.execute(f"drop owned by {ROLES} cascade; drop role {ROLES}", database)
