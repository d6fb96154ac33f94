"""A server staged as Supabase stages one, and trials on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kit.collect.trial import Trial, try_access
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource

ALICE, BOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
LOGGED = {"log_statement": "all", "log_line_prefix": "%u|", "autovacuum": "off"}
VERSIONS = [None, *(pytest.param(major, marks=pytest.mark.matrix) for major in binaries.MATRIX_VERSIONS)]
STAGE = f"""
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role stranger login;
create role owner_of_all nologin;
grant anon, authenticated, service_role to authenticator;
alter role authenticated set statement_timeout = '3s';
alter role authenticated set app.tenant = 'north';
alter role authenticated set session_replication_role = 'replica';
create schema auth;
grant usage on schema auth to anon, authenticated, service_role;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
create function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text $$;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
create function public.leaves_a_trace() returns boolean language plpgsql stable as $$
  begin raise log 'THE FUNCTION WAS RUN'; return true; end $$;
create function public.outer_one() returns boolean language plpgsql stable as $$
  declare answer boolean; begin answer := public.leaves_a_trace(); return answer; end $$;
create table public.notes (id serial primary key, user_id uuid, org text, words text);
insert into public.notes (user_id, org, words)
  select case when n <= 3 then '{ALICE}'::uuid else '{BOB}'::uuid end, case when n <= 2 then 'blue' else 'red' end, 'words ' || n
  from generate_series(1, 10) as n;
alter table public.notes enable row level security;
create policy own_rows on public.notes to authenticated using (auth.uid() = user_id) with check (auth.uid() = user_id);
grant select, insert, update, delete on public.notes to authenticated, anon, service_role;
grant usage on sequence public.notes_id_seq to authenticated;
create table public.orders (id int, org text);
insert into public.orders select n, case when n <= 2 then 'blue' else 'red' end from generate_series(1, 6) as n;
alter table public.orders enable row level security;
create policy own_org on public.orders to authenticated
  using (org = auth.jwt() -> 'app_metadata' ->> 'org' and auth.role() = 'authenticated');
grant select on public.orders to authenticated;
create table public.traced (id int);
insert into public.traced values (1);
alter table public.traced enable row level security;
create policy traced on public.traced using (public.leaves_a_trace());
create policy for_others on public.traced to owner_of_all using (public.leaves_a_trace());
grant select on public.traced to authenticated, anon;
create view public.traced_view as select id from public.traced where public.leaves_a_trace();
grant select on public.traced_view to authenticated;
create table public.plain (id int);
insert into public.plain select generate_series(1, 20);
grant select on public.plain to authenticated;
create table public.unanswered (id int, made_by boolean default public.leaves_a_trace());
grant insert on public.unanswered to authenticated;
"""


@pytest.fixture(scope="module", params=VERSIONS)
def staged(request: pytest.FixtureRequest) -> Iterator[Server]:
    chosen = None if request.param is None else binaries.npm(request.param)
    with sandbox.running(chosen, settings=LOGGED) as running:
        running.execute(STAGE)
        yield running


@pytest.fixture
def changed(staged: Server) -> Iterator[Any]:
    """Run statements that the test undoes."""
    undo: list[str] = []

    def change(statements: str, back: str) -> None:
        undo.append(back)
        staged.execute(statements)

    yield change
    for statements in reversed(undo):
        staged.execute(statements)


def attempt(
    server: Server,
    relation: str = "notes",
    action: str = "SELECT",
    claims: dict[str, Any] | None = None,
    statement: str | None = None,
    *,
    role: str = "authenticated",
    user: str = "postgres",
    schema: str = "public",
    count_limit: int = 100_000,
) -> Trial:
    source = DatabaseSource("database", server.dsn(user=user))
    return try_access(source, role, (schema, relation), action, claims, statement, count_limit=count_limit)


@dataclass(slots=True)
class Log:
    """What the server wrote since this was made."""

    server: Server
    start: int = 0

    def __post_init__(self) -> None:
        self.start = self.server.log_file.stat().st_size

    @property
    def text(self) -> str:
        return self.server.log_file.read_bytes()[self.start :].decode()
