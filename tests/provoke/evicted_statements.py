"""More different statements than pg_stat_statements keeps."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute("create extension pg_stat_statements; select pg_stat_statements_reset()", database)
    [(most,)] = server.execute("show pg_stat_statements.max")
    # Literals do not tell statements apart, operators do.
    shapes = itertools.product("+-*", repeat=9)
    texts = ["select 1" + " ".join(f" {sign} 1" for sign in signs) for signs in itertools.islice(shapes, int(most) + 100)]
    server.execute(";".join(texts), database)
    yield {
        "expected": ('evicted_statements:setting:"pg_stat_statements.max"',),
        "repair": lambda server, database: server.execute("select pg_stat_statements_reset()", database),
    }
