"""Row security, tried on a server staged as Supabase stages one: nothing is changed, and the answer is the server's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.case.trying import read_claims, tried
from kit.collect.trial import Trial, trial_evidence, try_access
from kit.collect.trial.plan import masked_expression
from kit.errors import CaptureError, ParameterError, TargetError
from kit.sandbox import binaries
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.test_pgbouncer import PGBOUNCER, Pool, pool

__all__ = ["pool"]

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
needs_pooler = pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")


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


def test_a_user_sees_the_own_rows_and_the_others_are_counted_as_hidden(staged: Server) -> None:
    alice, bob, nobody = (attempt(staged, claims=claims) for claims in ({"sub": ALICE}, {"sub": BOB}, None))

    assert [(trial.rows.visible, trial.rows.hidden) for trial in (alice, bob, nobody)] == [(3, 7), (7, 3), (0, 10)]
    assert {trial.outcome.status for trial in (alice, bob, nobody)} == {"ok"}
    assert alice.is_row_security_active is True
    assert alice.asker == "postgres"


@pytest.mark.parametrize("style", ["both", "legacy only"])
def test_claims_come_in_both_styles_because_either_alone_would_answer_otherwise(staged: Server, style: str) -> None:
    claims = {"sub": ALICE, "role": "authenticated", "app_metadata": {"org": "blue"}}
    if style == "both":
        trial = attempt(staged, "orders", claims=claims)
        assert (trial.rows.visible, trial.rows.hidden) == (2, 4)
        assert {"request.jwt.claims", "request.jwt.claim", "request.jwt.claim.sub", "request.jwt.claim.role"} == set(trial.claims)
        return
    with staged.connect(autocommit=False) as connection:
        for key in ("sub", "role"):
            connection.execute("select set_config(%s, %s, true)", (f"request.jwt.claim.{key}", claims[key]))
        connection.execute("set local role authenticated")
        assert connection.execute("select count(*) from orders").fetchone() == (0,)


def test_a_policy_that_reads_only_the_legacy_claim_sees_it_too(staged: Server, changed: Any) -> None:
    changed(
        "create policy old on plain using (current_setting('request.jwt.claim.level', true)::int > 5); "
        "alter table plain enable row level security",
        "drop policy old on plain; alter table plain disable row level security",
    )

    assert attempt(staged, "plain", claims={"level": 9}).rows.visible == 20
    assert attempt(staged, "plain", claims={"level": 2}).rows.visible == 0


def test_a_role_that_bypasses_row_security_sees_all(staged: Server) -> None:
    trial = attempt(staged, role="service_role", claims={"sub": ALICE})

    assert (trial.rows.visible, trial.rows.hidden, trial.is_row_security_active) == (10, 0, False)


def test_an_asker_who_does_not_see_all_rows_says_that_the_hidden_ones_are_unknown(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": ALICE}, user="authenticator")

    assert (trial.rows.visible, trial.rows.hidden) == (3, None)
    assert "would be affected by row-level security" in (trial.rows.why_unknown or "")


def test_counting_is_bounded_and_says_where_it_was_cut(staged: Server) -> None:
    cut = attempt(staged, claims={"sub": BOB}, count_limit=5)
    half = attempt(staged, claims={"sub": ALICE}, count_limit=5)

    assert (cut.rows.visible, cut.rows.is_cut, cut.rows.hidden) == (5, True, None)
    assert [text.endswith("limit 6) as bounded") for text in cut.sent if "count(*)" in text] == [True, True]
    assert (half.rows.visible, half.rows.is_cut, half.rows.hidden, half.rows.is_hidden_cut) == (3, False, 2, True)


@pytest.mark.parametrize(
    ("relation", "caller"),
    [
        ("traced", "the policy traced on public.traced"),
        ("traced_view", "the view public.traced_view"),
    ],
)
def test_a_function_without_execute_is_found_before_anything_runs(
    staged: Server, changed: Any, relation: str, caller: str
) -> None:
    changed("revoke execute on function leaves_a_trace() from public", "grant execute on function leaves_a_trace() to public")
    log = Log(staged)

    trial = attempt(staged, relation)

    assert trial.outcome.status == "not run"
    assert "public.leaves_a_trace()" in (trial.outcome.message or "")
    assert [(called.signature, called.called_by) for called in trial.denied] == [("public.leaves_a_trace()", caller)]
    assert "THE FUNCTION WAS RUN" not in log.text
    assert "set_config('role'" not in log.text


def test_the_same_function_with_execute_is_run(staged: Server) -> None:
    log = Log(staged)

    trial = attempt(staged, "traced", user="authenticator")

    assert trial.outcome.status == "ok"
    assert "THE FUNCTION WAS RUN" in log.text


@pytest.mark.parametrize(
    "statement",
    [
        "select leaves_a_trace()",
        "select * from plain where public.leaves_a_trace()",
        "select * from (select outer_one()) as x",
        "with a as (select 1) update notes set words = (select leaves_a_trace()::text)",
        "select id from traced_view",
        "insert into unanswered (id) values (1)",
        "select id from plain as p where p.in_a_row",
        "select id from plain where id === 4",
        "select wrapped(1)",
    ],
)
def test_a_function_deep_behind_a_statement_is_found_too(staged: Server, changed: Any, statement: str) -> None:
    changed(
        "create function in_a_row(plain) returns boolean language sql stable as 'select leaves_a_trace()';"
        "create function wrapped(int, text default '') returns boolean language sql stable"
        " as 'select public.in_a_row(p) from plain as p';"
        "create function equals(int, int) returns boolean language sql stable as 'select $1 = $2 and leaves_a_trace()';"
        "create operator === (function = equals, leftarg = int, rightarg = int);"
        "revoke execute on function leaves_a_trace() from public",
        "drop operator === (int, int); drop function in_a_row(plain), wrapped(int, text), equals(int, int);"
        "grant execute on function leaves_a_trace() to public",
    )
    log = Log(staged)

    trial = attempt(staged, "plain", "SELECT", statement=statement)

    assert trial.outcome.status == "not run"
    assert [called.signature for called in trial.denied] == ["public.leaves_a_trace()"]
    assert "THE FUNCTION WAS RUN" not in log.text


def test_a_function_that_another_role_s_policy_calls_does_not_stop_the_trial(staged: Server, changed: Any) -> None:
    changed(
        "revoke execute on function leaves_a_trace() from public; drop policy traced on traced",
        "grant execute on function leaves_a_trace() to public; create policy traced on traced using (leaves_a_trace())",
    )

    trial = attempt(staged, "traced")

    assert (trial.outcome.status, trial.rows.visible, trial.denied) == ("ok", 0, ())


def test_a_security_definer_function_is_not_looked_into(staged: Server, changed: Any) -> None:
    changed(
        "revoke execute on function leaves_a_trace() from public;"
        "create function guard() returns boolean language sql stable security definer as 'select public.leaves_a_trace()'",
        "grant execute on function leaves_a_trace() to public; drop function guard()",
    )

    assert attempt(staged, "plain", statement="select * from plain where guard()").outcome.status == "ok"


def test_a_body_put_together_at_run_time_is_named_as_unread(staged: Server, changed: Any) -> None:
    changed(
        "create function dynamic() returns boolean language plpgsql as "
        "$$ declare a boolean; begin execute 'select leaves_' || 'a_trace()' into a; return a; end $$",
        "drop function dynamic()",
    )

    trial = attempt(staged, "plain", statement="select dynamic()")

    assert trial.unread_functions == ("the function public.dynamic() (plpgsql)",)


def test_an_asker_who_may_not_set_the_role_gets_a_clear_answer_and_nothing_is_tried(staged: Server) -> None:
    log = Log(staged)

    trial = attempt(staged, user="stranger")

    assert (trial.may_set_role, trial.outcome.status) == (False, "not run")
    assert "stranger is not a member of authenticated" in (trial.outcome.message or "")
    assert "explain" not in log.text


def test_from_16_on_a_membership_without_set_is_not_enough(staged: Server, changed: Any) -> None:
    if staged.version < 16:
        pytest.skip("the SET option is of 16")
    changed("grant authenticated to stranger with set false", "revoke authenticated from stranger")

    assert "without the SET option" in (attempt(staged, user="stranger").outcome.message or "")


@pytest.mark.parametrize("action", ["INSERT", "UPDATE", "DELETE"])
def test_a_change_is_only_explained_and_leaves_rows_sequence_and_transaction_id_alone(staged: Server, action: str) -> None:
    before = _state(staged)

    trial = attempt(staged, action=action, claims={"sub": ALICE})

    assert (trial.outcome.status, trial.is_row_security_active) == ("ok", True)
    assert _state(staged) == before
    assert trial.plan is not None
    assert trial.plan.startswith(action.capitalize())
    staged.execute("select nextval('notes_id_seq')")
    assert _state(staged) != before


def test_a_given_statement_is_explained_with_its_literals_left_out(staged: Server) -> None:
    statement = f"delete from notes where words = 'hunter2' and user_id = '{BOB}' and id > 4711;"

    trial = attempt(staged, action="DELETE", claims={"sub": ALICE}, statement=statement)

    shown = json.dumps(trial.to_record())
    assert trial.outcome.status == "ok"
    assert "auth.uid" in shown
    assert "(words = ?::text)" in (trial.plan or "")
    assert all(value not in shown for value in ("hunter2", BOB, "4711", ALICE))


@pytest.mark.parametrize(
    ("relation", "action", "sqlstate"),
    [("plain", "INSERT", "42501"), ("plain", "DELETE", "42501"), ("nowhere", "UPDATE", "42P01"), ("nowhere", "SELECT", "42P01")],
)
def test_what_the_server_refuses_is_told_in_its_own_words(staged: Server, relation: str, action: str, sqlstate: str) -> None:
    trial = attempt(staged, relation, action)

    assert (trial.outcome.status, trial.outcome.sqlstate) == ("refused", sqlstate)
    assert relation in (trial.outcome.message or "")


def test_an_error_about_a_value_does_not_repeat_it(staged: Server) -> None:
    trial = attempt(staged, statement="select * from notes where id = 'hunter2'")

    assert trial.outcome.sqlstate == "22P02"
    assert "invalid input syntax" in (trial.outcome.message or "")
    assert "hunter2" not in json.dumps(trial.to_record())


def test_an_error_that_only_rows_bring_out_is_the_outcome_and_gives_no_claim_away(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": "alice@example.com"})

    assert (trial.outcome.status, trial.outcome.sqlstate) == ("refused", "22P02")
    assert "alice" not in json.dumps(trial.to_record())


def test_what_locks_and_time_prevent_is_unknown_and_not_refused(staged: Server, changed: Any) -> None:
    with staged.connect(autocommit=False) as holder:
        holder.execute("lock table plain in access exclusive mode")
        locked = attempt(staged, "plain", action="SELECT", role="authenticated")
    changed(
        "create policy writes on plain using (nextval('notes_id_seq') > 0); alter table plain enable row level security",
        "drop policy writes on plain; alter table plain disable row level security",
    )
    writing = attempt(staged, "plain")

    assert (locked.outcome.status, locked.outcome.sqlstate) == ("unknown", "55P03")
    assert (writing.outcome.status, writing.rows.visible) == ("ok", None)
    assert "25006" in (writing.rows.why_unknown or "")


def test_claims_that_the_database_s_encoding_cannot_hold_are_a_reason_and_no_crash(staged: Server) -> None:
    staged.execute("create database small encoding 'LATIN1' locale 'C' template template0")
    staged.execute("create table notes (id int); grant select on notes to authenticated", "small")
    source = DatabaseSource("database", staged.dsn("small"))

    trials = [try_access(source, "authenticated", ("public", "notes"), "SELECT", {"name": name}) for name in ("ünï", "❤")]

    assert [trial.outcome.status for trial in trials] == ["ok", "not run"]
    staged.execute("drop database small")


@pytest.mark.parametrize("action", ["TRUNCATE", "REFERENCES", "MAINTAIN"])
def test_an_action_that_only_doing_it_could_try_is_not_tried(staged: Server, action: str) -> None:
    trial = attempt(staged, action=action)

    assert trial.outcome.status == "not run"
    assert action in (trial.outcome.message or "")


def test_the_role_s_own_settings_hold_in_the_trial(staged: Server, changed: Any) -> None:
    changed(
        "alter role authenticated set search_path = auth;"
        "alter role authenticated in database postgres set statement_timeout = '90s'",
        "alter role authenticated reset search_path;alter role authenticated in database postgres reset statement_timeout",
    )

    trial = attempt(staged, "notes", statement="select * from notes")

    settings = {name: (value, origin) for name, value, origin in trial.settings}
    assert (trial.outcome.sqlstate, settings["search_path"]) == ("42P01", ("auth", "role"))
    assert settings["statement_timeout"] == ("8000ms", "the kit's limit")
    assert settings["app.tenant"] == ("<masked>", "role")
    assert "session_replication_role" in trial.settings_left_out


def test_the_statement_timeout_of_the_role_ends_what_the_role_runs(staged: Server, changed: Any) -> None:
    changed(
        "alter role authenticated set statement_timeout = '50ms';"
        "create policy slow on plain using (pg_sleep(20) is null); alter table plain enable row level security",
        "alter role authenticated set statement_timeout = '3s'; drop policy slow on plain;"
        "alter table plain disable row level security",
    )

    trial = attempt(staged, "plain")

    assert (trial.outcome.status, trial.rows.visible) == ("ok", None)
    assert "57014" in (trial.rows.why_unknown or "")
    assert trial.seconds < 5


def test_a_custom_setting_of_the_role_reaches_the_policies(staged: Server, changed: Any) -> None:
    changed(
        "create policy tenant on plain using (current_setting('app.tenant') = 'north');"
        "alter table plain enable row level security",
        "drop policy tenant on plain; alter table plain disable row level security",
    )

    assert attempt(staged, "plain").rows.visible == 20


@pytest.mark.parametrize(
    "value",
    [
        "' || pg_sleep(9) || '",
        "a\\'b\\",
        "'; drop table notes; --",
        "ünï❤",
        "x" * 50_000,
        "$$",
        "",
        "hostile null ",
        "%s %(x)s :a",
        "line\nline",
    ],
)
def test_a_hostile_claim_stays_a_value(staged: Server, changed: Any, value: str) -> None:
    changed(
        "create table seen (json text, legacy text); grant select on seen to authenticated;"
        "alter table seen enable row level security;"
        "create policy seen on seen using (current_setting('request.jwt.claims')::jsonb ->> 'note' = json"
        " and current_setting('request.jwt.claim.note') = legacy)",
        "drop table seen",
    )
    with staged.connect() as connection:
        connection.execute("insert into seen values (%s, %s)", (value, value))

    trial = attempt(staged, "seen", claims={"note": value, "it's": value, "a.b": [value]})

    assert (trial.outcome, trial.rows.visible) == (type(trial.outcome)("ok"), 1)
    assert not value.strip() or value not in "\n".join(trial.sent)
    assert staged.execute("select count(*) from notes") == [(10,)]


def test_hostile_names_stay_names(staged: Server, changed: Any) -> None:
    changed(
        """create schema "Odd ""schema"; create role "o'role; --"; grant usage on schema "Odd ""schema" to "o'role; --";
        create table "Odd ""schema"."a'b\\""c" (id int); insert into "Odd ""schema"."a'b\\""c" values (1);
        create function "Odd ""schema"."f'(g)"() returns boolean language sql stable as 'select true';
        create policy "p'""q" on "Odd ""schema"."a'b\\""c" using ("Odd ""schema"."f'(g)"());
        alter table "Odd ""schema"."a'b\\""c" enable row level security;
        grant select on "Odd ""schema"."a'b\\""c" to "o'role; --" """,
        """drop schema "Odd ""schema" cascade; drop role "o'role; --" """,
    )

    trial = attempt(staged, "a'b\\\"c", schema='Odd "schema', role="o'role; --")

    assert (trial.outcome.status, trial.rows.visible, trial.rows.hidden) == ("ok", 1, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "select 1; select 2",
        "copy notes to program 'touch /tmp/x'",
        "do $$ begin end $$",
        "call p()",
        "explain analyze delete from notes",
        "select 1 into planted",
        "set role postgres",
        "",
        "-- nothing",
        "selec 1",
        "select '\0'",
        "select " + "1+" * 60_000 + "1",
        "prepare p as select 1",
        "truncate notes",
    ],
)
def test_anything_but_one_statement_on_rows_is_refused_before_connecting(statement: str) -> None:
    with pytest.raises(ParameterError):
        try_access(DatabaseSource("database", "host=/nowhere"), "r", ("public", "notes"), "SELECT", None, statement)


def test_a_statement_with_parameters_is_explained_generically_from_16_on(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": ALICE}, statement="select * from notes where id = $1 and words = 'x'")

    if staged.version < 16:
        assert trial.outcome.status == "not run"
        assert "PostgreSQL 16" in (trial.outcome.message or "")
    else:
        assert "(id = $1)" in (trial.plan or "")
        assert trial.rows.visible == 3


def test_a_statement_with_parameters_may_hold_no_semicolon(staged: Server) -> None:
    before = _state(staged)

    trial = attempt(staged, statement="select * from notes where id = $1 and words = '; drop table notes'")

    assert trial.outcome.status == "not run"
    assert _state(staged) == before


def test_an_unknown_role_is_an_error(staged: Server) -> None:
    with pytest.raises(ParameterError, match="no role 'nobody'"):
        attempt(staged, role="nobody")


def test_a_server_that_does_not_answer_is_an_error_without_the_password() -> None:
    source = DatabaseSource("database", "postgresql://kit:hunter2secret@/x?host=/nowhere")

    with pytest.raises(CaptureError) as raised:
        try_access(source, "r", ("public", "notes"), "SELECT")

    assert "hunter2secret" not in str(raised.value)


def test_every_statement_is_sent_read_only_marked_and_kept_for_the_reader(staged: Server) -> None:
    log = Log(staged)

    trial = attempt(staged, claims={"sub": ALICE})

    entries = re.findall(r"^postgres\|LOG:  (?:execute <unnamed>|statement): (.*)", log.text, re.MULTILINE)
    begins = [entry for entry in entries if entry.startswith("BEGIN")]
    asked = [
        entry for entry in entries if not re.match(r"BEGIN READ ONLY$|COMMIT$|ROLLBACK$|SAVEPOINT|RELEASE|ROLLBACK TO", entry)
    ]
    assert set(begins) == {"BEGIN READ ONLY"}
    assert all(re.match(r"(select|explain|set) /\* incident-kit (trial|limits) \*/ ", entry) for entry in asked)
    assert sum("/* incident-kit trial */" in text for text in trial.sent) == sum("incident-kit trial" in entry for entry in asked)
    assert trial.sent.count("begin read only") == len(begins)


def test_a_superuser_who_asks_is_told_what_a_policy_s_function_could_do(staged: Server) -> None:
    told = [any("superuser" in note for note in attempt(staged, user=user).notes) for user in ("postgres", "authenticator")]

    assert told == [True, False]


def test_rows_are_counted_of_the_relation_even_where_the_statement_is_about_another(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": ALICE}, statement="select id from plain")

    assert (trial.is_row_security_active, trial.rows.visible, trial.rows.hidden) == (False, 3, 7)


def test_a_trial_becomes_evidence(staged: Server) -> None:
    evidence = trial_evidence(attempt(staged, claims={"sub": ALICE}))

    row = evidence.frame.iloc[0]
    assert (row["role_name"], row["outcome"], row["visible_rows"], row["hidden_rows"]) == ("authenticated", "ok", 3, 7)
    assert ALICE not in evidence.provenance.text


def test_a_plan_s_expression_loses_its_literals_and_keeps_its_names() -> None:
    text = """((words = 'O''Hara; "x"'::text) AND ("o'clock" = E'a\\\\b') AND (hashed SubPlan 2) AND (n = -5))"""

    assert masked_expression(text) == """((words = ?::text) AND ("o'clock" = ?) AND (hashed SubPlan 2) AND (n = -?))"""
    assert masked_expression("a = 'open") == "?"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.c2lnbmF0dXJl", "are not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": NaN}', "are not JSON"),
        (b'{"a": "\xff"}', "are not JSON"),
        (b'{"a": "\\ud800"}', "are not JSON"),
        (b'{"a": ' + b"[" * 30_000, "are not JSON"),
        (b'{"a": "' + b"x" * 64_000 + b'"}', "larger than 64,000 bytes"),
        (json.dumps({f"c{n}": n for n in range(501)}).encode(), "more than 500"),
        (None, "cannot be read"),
    ],
)
def test_claims_that_are_no_object_are_refused_without_being_repeated(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "claims.json"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ParameterError, match=words) as raised:
        read_claims(file)

    assert "eyJ" not in str(raised.value)


def test_the_glue_tries_on_the_target_s_database(staged: Server, tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    file.write_text(json.dumps({"sub": ALICE}))

    trial = tried(resolve(staged.dsn()), "authenticated", ("public", "notes"), "select", read_claims(file))

    assert trial.rows.visible == 3
    with pytest.raises(TargetError, match="no live database"):
        tried(Target("saved", bundle=tmp_path), "authenticated", ("public", "notes"), "SELECT")


@pytest.fixture
def guarded(pool: Pool) -> Iterator[Pool]:
    """The pool's application may become a role to which a table shows two of three rows."""
    pool.server.execute(
        "create role trial_reader; grant trial_reader to pooled; alter role trial_reader set statement_timeout = '1s';"
        "create table guarded (owner text); insert into guarded values ('a'), ('a'), ('b');"
        "grant select on guarded to trial_reader;"
        "create policy own on guarded using (owner = coalesce(current_setting('request.jwt.claims', true)::json ->> 'sub', 'b'));"
        "alter table guarded enable row level security",
        pool.database,
    )
    yield pool
    pool.server.execute("drop owned by trial_reader; drop role trial_reader", pool.database)


@needs_pooler
def test_through_a_pooler_nothing_stays_on_the_connection(guarded: Pool) -> None:
    before = _of_connection(guarded)

    trial = _through(guarded)

    assert (trial.outcome.status, trial.rows.visible) == ("ok", 1)
    assert _of_connection(guarded) == before


@needs_pooler
def test_claims_that_would_stay_on_a_pooled_connection_are_not_set(guarded: Pool) -> None:
    before = _of_connection(guarded)

    trial = _through(guarded, {"sub": "a"})

    assert trial.outcome.status == "not run"
    assert "goes through a pooler and does not know request.jwt.claims" in (trial.outcome.message or "")
    assert _of_connection(guarded) == before


@needs_pooler
def test_claims_that_the_application_sets_itself_are_set_through_a_pooler_and_gone_afterwards(guarded: Pool) -> None:
    with guarded.connect() as application:
        for name in ("request.jwt.claims", "request.jwt.claim", "request.jwt.claim.sub", "request.jwt.claim.role"):
            application.execute("select set_config(%s, 'x', true)", (name,))
    before = _of_connection(guarded)

    trial = _through(guarded, {"sub": "a"})

    assert (trial.outcome.status, trial.rows.visible) == ("ok", 2)
    assert _of_connection(guarded) == before


def _through(pool: Pool, claims: dict[str, Any] | None = None) -> Trial:
    return try_access(DatabaseSource("database", pool.dsn), "trial_reader", ("public", "guarded"), "SELECT", claims)


def _of_connection(pool: Pool) -> list[Any]:
    with pool.connect() as application:
        row = application.execute(
            "select current_user, session_user, current_setting('request.jwt.claims', true),"
            " current_setting('request.jwt.claim.sub', true), pg_current_snapshot()::text"
        ).fetchone()
    return [row, pool.settings()]


def _state(server: Server) -> list[tuple[Any, ...]]:
    return server.execute(
        "select (select count(*) from notes), (select last_value from notes_id_seq), pg_current_snapshot()::text,"
        " (select md5(string_agg(n::text, ',' order by id)) from notes as n)"
    )
