"""A service whose password has expired, and one whose password expired before Christ."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role "Expired service" login valid until '2001-02-03 04:05:06+00';
        create role expired_long_ago login valid until '-infinity';
        """,
        database,
    )
    try:
        yield {
            "symptom": 'FATAL: password authentication failed for user "Expired service"',
            "expected": ('expired_login_roles:role:"Expired service"', "expired_login_roles:role:expired_long_ago"),
        }
    finally:
        server.execute('drop role "Expired service", expired_long_ago', database)
