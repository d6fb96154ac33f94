"""A trial changes nothing, leaves nothing behind and gives nothing away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kit.collect.trial import Trial, try_access
from kit.errors import CaptureError, ParameterError
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.test_pgbouncer import PGBOUNCER, Pool, pool
from tests.trial_stage import ALICE, BOB, attempt, changed, staged

__all__ = ["changed", "pool", "staged"]

needs_pooler = pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")


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


def test_an_error_about_a_value_does_not_repeat_it(staged: Server) -> None:
    trial = attempt(staged, statement="select * from notes where id = 'hunter2'")

    assert trial.outcome.sqlstate == "22P02"
    assert "invalid input syntax" in (trial.outcome.message or "")
    assert "hunter2" not in json.dumps(trial.to_record())


def test_an_error_that_only_rows_bring_out_is_the_outcome_and_gives_no_claim_away(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": "alice@example.com"})

    assert (trial.outcome.status, trial.outcome.sqlstate) == ("refused", "22P02")
    assert "alice" not in json.dumps(trial.to_record())


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
