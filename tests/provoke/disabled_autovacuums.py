"""A table that a bulk load left with autovacuum off, written as people write it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create table "Bulk load" (id bigint) with (autovacuum_enabled = off);
        create materialized view totals with (autovacuum_enabled = 'No') as select 1 as total;
        create table kept (id bigint) with (autovacuum_enabled = on);
        """,
        database,
    )
    yield {
        "expected": ('disabled_autovacuums:table:public."Bulk load"', "disabled_autovacuums:table:public.totals"),
        "absent": ("disabled_autovacuums:table:public.kept",),
    }
