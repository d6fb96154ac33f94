"""A table that was created under a name in mixed case, while the application asks for it in small letters."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute('create table "Siwe_Nonces" (nonce text)', database)
    yield {
        "symptom": 'ERROR: relation "siwe_nonces" does not exist',
        "expected": ("missing_relations:table:siwe_nonces",),
        "repair": lambda server, database: server.execute('alter table "Siwe_Nonces" rename to siwe_nonces', database),
    }
