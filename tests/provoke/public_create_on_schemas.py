"""A schema in which every role may create."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create schema everybodys; grant create, usage on schema everybodys to public", database)
    try:
        yield {"expected": ("public_create_on_schemas:schema:everybodys",)}
    finally:
        server.execute("drop schema everybodys", database)
