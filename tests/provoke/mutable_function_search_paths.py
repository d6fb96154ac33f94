"""SECURITY DEFINER functions that look names up where their caller tells them to."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create schema "Bank";
        create type "Bank".currency as enum ('EUR');
        create function "Bank".pay(amount numeric, "in" "Bank".currency) returns numeric security definer
          language sql as $$ select amount $$;
        create function "Bank".pay(amount numeric) returns numeric security definer language sql as $$ select amount $$;
        create procedure "Bank".close(inout done boolean) security definer language plpgsql as $$ begin done := true; end $$;
        create function "Bank".on_change() returns trigger security definer language plpgsql as $$ begin return new; end $$;
        create function "Bank".guarded() returns integer security definer set search_path = '' language sql as $$ select 1 $$;
        create function "Bank".as_caller() returns integer language sql as $$ select 1 $$;
        """,
        database,
    )
    try:
        yield {
            "expected": tuple(f'mutable_function_search_paths:function:"Bank".{name}' for name in ("pay", "close", "on_change")),
            "absent": tuple(f'mutable_function_search_paths:function:"Bank".{name}' for name in ("guarded", "as_caller")),
        }
    finally:
        server.execute('drop schema "Bank" cascade', database)
