"""Policies that ask who is there for every row, one of them in spite of a wrapped call beside."""

import contextlib
from collections.abc import Iterator
from typing import Any

from kit.sandbox.server import Server


@contextlib.contextmanager
def provoke(server: Server, database: str) -> Iterator[dict[str, Any]]:
    server.execute(
        """
        create schema auth;
        create function auth.uid() returns uuid stable language sql as $$ select null::uuid $$;
        create function auth.zero() returns uuid immutable language sql as $$ select null::uuid $$;
        create function auth.may(tenant text) returns boolean stable language sql as $$ select true $$;
        create schema notes;
        create table notes.bare (owner_id uuid);
        create table notes."Mixed Ä" (owner_id uuid, "Prüfer" uuid);
        create table notes.wrapped (owner_id uuid, tenant text);
        create table notes.members (owner_id uuid, note_id bigint);
        create table notes.through_members (note_id bigint);
        create policy own on notes.bare using (owner_id = auth.uid()) with check (auth.uid() = owner_id);
        create policy "Ä own" on notes."Mixed Ä" using (owner_id = auth.uid() or "Prüfer" = (select auth.uid()));
        create policy own on notes.wrapped
          using (owner_id = (select auth.uid()) or owner_id = auth.zero() or auth.may(tenant) or tenant = current_user);
        create policy members on notes.through_members for select
          using (exists (select 1 from notes.members as m where m.owner_id = auth.uid() and m.note_id = through_members.note_id));
        alter table notes.bare enable row level security;
        alter table notes."Mixed Ä" enable row level security;
        alter table notes.wrapped enable row level security;
        alter table notes.through_members enable row level security;
        """,
        database,
    )
    try:
        yield {
            "expected": (
                "policy_functions_per_row:table:notes.bare",
                'policy_functions_per_row:table:notes."Mixed Ä"',
                "policy_functions_per_row:table:notes.through_members",
            ),
            "absent": ("policy_functions_per_row:table:notes.wrapped",),
        }
    finally:
        server.execute("drop schema notes, auth cascade", database)
