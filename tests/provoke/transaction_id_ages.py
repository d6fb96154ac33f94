"""A database that has not been frozen for some thousand transactions."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server

TRANSACTIONS = 3_000


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        f"do $$ begin for i in 1..{TRANSACTIONS} loop perform txid_current(); commit; end loop; end $$",
        database,
    )
    yield {
        "thresholds": {"warning_age": TRANSACTIONS, "warning_freeze_factor": 0, "critical_age": TRANSACTIONS},
        "expected": (f"transaction_id_ages:database:{database}",),
    }
