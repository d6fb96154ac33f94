"""Policies that look like protection and let everybody at everything."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create role anon;
        create schema posts;
        create table posts.plain (author text);
        create table posts.hidden (author text not null, is_draft boolean);
        create table posts.read_only (author text);
        create table posts.narrowed (author text);
        create table posts.own (author text);
        create table posts.not_granted (author text);
        create policy anything on posts.plain using (true);
        create policy own on posts.plain using (author = current_user);
        create policy "Odd "" one" on posts.hidden for update using (author = author)
          with check (coalesce(is_draft, true) is not null);
        create policy readers on posts.read_only for select using (1 = 1);
        create policy anything on posts.narrowed using (not false);
        create policy but_own on posts.narrowed as restrictive using (author = current_user);
        create policy own on posts.own using (author = current_user or false);
        create policy anything on posts.not_granted using (true);
        grant usage on schema posts to anon;
        grant select, insert, update, delete on posts.plain, posts.hidden, posts.read_only, posts.narrowed, posts.own to anon;
        do $$ declare name text; begin
          for name in select tablename from pg_tables where schemaname = 'posts' loop
            execute format('alter table posts.%I enable row level security', name);
          end loop;
        end $$;
        """,
        database,
    )
    try:
        yield {
            "expected": tuple(f"always_true_policies:table:posts.{name}" for name in ("plain", "hidden", "read_only")),
            "absent": tuple(f"always_true_policies:table:posts.{name}" for name in ("narrowed", "own", "not_granted")),
            "repair": repair,
        }
    finally:
        server.execute("drop schema posts cascade; drop role anon", database)


def repair(server: Server, database: str) -> None:
    """Write the conditions, or drop the policy, as the remedy asks."""
    server.execute(
        """
        drop policy anything on posts.plain;
        alter policy "Odd "" one" on posts.hidden using (author = current_user) with check (author = current_user);
        alter policy readers on posts.read_only using (author = current_user);
        """,
        database,
    )
