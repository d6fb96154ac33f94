"""Views over tables with row security that show every row to whoever asks, one of them through another."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role anon;
        create role views_owner;
        create role views_bound;
        create schema books;
        create table books.loans (reader text);
        alter table books.loans enable row level security;
        create policy own on books.loans using (reader = current_user);
        create view books.all_loans as select * from books.loans;
        create view books."Nested loans" as select * from books.all_loans;
        create view books.nobodys as select * from books.loans;
        create view books.bound as select * from books.loans;
        alter view books.bound owner to views_bound;
        create view books.of_bound as select * from books.loans;
        create view books.writable as select reader from books.loans;
        create role views_service login;
        grant usage on schema books to anon, views_owner, views_bound, views_service;
        grant select on books.loans to views_bound;
        grant select on books.all_loans, books."Nested loans", books.bound to anon;
        grant select on books.of_bound to views_bound;
        grant select, insert on books.writable to anon;
        grant select on books.all_loans to views_service;
        """,
        database,
    )
    has_invoker = server.execute("select current_setting('server_version_num')::integer >= 150000", database) == [(True,)]
    if has_invoker:
        server.execute("alter view books.nobodys set (security_invoker = 1); grant select on books.nobodys to anon", database)
    views = ("all_loans", '"Nested loans"', "of_bound", "writable")
    read = "select count(*) from books."
    given = {
        "expected": tuple(f"definer_views:view:books.{name}" for name in views),
        "kept": (
            *(("anon", f"{read}{name}") for name in ("all_loans", '"Nested loans"', "writable")),
            ("anon", "insert into books.writable values (current_user)"),
            ("views_bound", f"{read}of_bound"),
            ("views_service", f"{read}all_loans"),
        ),
        "absent": ("definer_views:view:books.nobodys", "definer_views:view:books.bound"),
    }
    try:
        yield given if has_invoker else {**given, "repair": repair}
    finally:
        server.execute("drop schema books cascade", database)
        server.execute("drop role anon, views_owner, views_bound, views_service", database)


def repair(server: Server, database: str) -> None:
    """Give the views to an owner whom the policies bind, as the remedy before 15 asks."""
    server.execute(
        """
        grant select, insert on books.loans to views_owner;
        alter view books.writable owner to views_owner;
        alter view books.all_loans owner to views_owner;
        alter view books."Nested loans" owner to views_owner;
        alter view books.of_bound owner to views_owner;
        """,
        database,
    )
