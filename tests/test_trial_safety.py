"""A trial changes nothing, leaves nothing behind and gives nothing away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kit.collect.trial import Trial, try_access
from kit.errors import CaptureError, ParameterError
from kit.present.access_views import TrialView
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.test_pgbouncer import PGBOUNCER, Pool, pool
from tests.trial_stage import ALICE, Log, attempt, changed, staged

__all__ = ["changed", "pool", "staged"]

needs_pooler = pytest.mark.skipif(not PGBOUNCER.exists(), reason=f"{PGBOUNCER} is not installed: the pooler is NOT tested")


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
    asked = [entry for entry in entries if not re.match(r"BEGIN READ ONLY$|ROLLBACK$|SAVEPOINT|RELEASE|ROLLBACK TO", entry)]
    assert set(begins) == {"BEGIN READ ONLY"}
    assert "COMMIT" not in entries
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


def test_a_notification_of_a_policy_s_function_is_never_delivered(staged: Server, changed: Any) -> None:
    changed(
        "create function tells() returns boolean language plpgsql as $$ begin perform pg_notify('trial', 'x');"
        " return true; end $$; create policy telling on plain using (tells()); alter table plain enable row level security",
        "drop policy telling on plain; drop function tells(); alter table plain disable row level security",
    )
    with staged.connect() as listener:
        listener.execute("listen trial")
        trial = attempt(staged, "plain")
        with staged.connect() as application:
            application.execute("set role authenticated")
            application.execute("select tells()")
            process = application.info.backend_pid
        # They come in the order of the commits: one of the trial would be the first.
        first = [told.pid for told in listener.notifies(timeout=10, stop_after=1)]

    assert (trial.rows.visible, first) == (20, [process])
    assert any("Volatile functions of policies run when rows are counted" in note and "tells()" in note for note in trial.notes)


@needs_pooler
@pytest.mark.parametrize("answer", ["true", "1 / 0 = 1"])
def test_advisory_locks_of_a_policy_s_function_do_not_stay_on_a_pooled_connection(guarded: Pool, answer: str) -> None:
    guarded.server.execute(
        "create function locks(text) returns boolean language plpgsql as"
        f" $$ begin perform pg_advisory_lock(4711); return {answer}; end $$;"
        "create policy locking on guarded as restrictive using (locks(owner))",
        guarded.database,
    )

    trial = _through(guarded)

    assert trial.outcome.sqlstate == (None if answer == "true" else "22012")
    assert guarded.server.execute("select count(*) from pg_locks where locktype = 'advisory'", guarded.database) == [(0,)]


@needs_pooler
def test_advisory_locks_of_the_application_are_left_to_it(guarded: Pool) -> None:
    with guarded.connect() as application:
        application.execute("select pg_advisory_lock(815)")

    trial = _through(guarded)

    assert trial.outcome.status == "not run"
    assert "holds advisory locks of its application" in (trial.outcome.message or "")
    held = "select objid::int from pg_locks where locktype = 'advisory'"
    assert guarded.server.execute(held, guarded.database) == [(815,)]


@pytest.mark.parametrize(
    ("raising", "told"),
    [
        ("raise exception 'no tenant for %', lower(mail)", "the function raised an exception (P0001)"),
        ("raise exception 'no % for %', (select words from notes limit 1), 'x'", "the function raised an exception (P0001)"),
        ("raise exception 'no tenant for %', mail using errcode = '28000'", "the function raised an exception (28000)"),
        ("execute format('select 1 from %I', mail)", 'relation "<masked>" does not exist'),
        ("execute format('select 1 from %I', upper(mail))", 'relation "<masked>" does not exist'),
    ],
)
def test_no_value_of_the_claims_and_no_word_of_a_function_is_told(staged: Server, changed: Any, raising: str, told: str) -> None:
    changed(
        "create function guards() returns boolean language plpgsql stable security definer as $$ declare mail text :="
        f" current_setting('request.jwt.claims')::json -> 'app_metadata' -> 'mails' ->> 0; begin {raising}; return true; end $$;"
        "create policy guarding on plain using (guards()); alter table plain enable row level security",
        "drop policy guarding on plain; drop function guards(); alter table plain disable row level security",
    )

    trial = attempt(staged, "plain", claims={"app_metadata": {"mails": ["Joe.Secret@example.com"]}, "n": 7})

    shown = json.dumps(trial.to_record()) + TrialView(trial.to_record()).text()
    assert (trial.outcome.status, trial.outcome.message) == ("refused", told)
    assert "joe.secret" not in shown.lower()
    assert "words 1" not in shown


@pytest.mark.parametrize(
    "body",
    [
        "returns text language plpgsql as $$ begin reset role; return ''; end $$",
        "returns text language plpgsql as $$ begin set local session authorization default; return ''; end $$",
        "returns text language plpgsql as $$ begin perform set_config('role', 'none', true); return ''; end $$",
        "returns text language sql stable as $$ select pg_catalog.set_config('ro' || 'le', 'none', true) $$",
        "returns text language sql as $$ reset role; select ''::text $$",
        "returns text language plpgsql as $$ begin execute 're' || 'set ro' || 'le'; return ''; end $$",
        "returns text language plpgsql as $$ begin do 'begin reset role; end'; return ''; end $$",
        (
            "returns text language plpgsql as $$ declare c refcursor; answer text; begin open c for execute"
            " 'select set_conf' || 'ig(''ro' || 'le'', ''none'', true)'; fetch c into answer; return answer; end $$"
        ),
        (
            "returns text language sql as $$ select min(word) from"
            " ts_stat('select to_tsvector(set_conf' || 'ig(''ro' || 'le'', ''none'', true))') $$"
        ),
        "returns text language plpgsql set role to postgres as $$ begin return current_user; end $$",
    ],
)
def test_a_superuser_s_trial_runs_nothing_that_can_leave_the_role(staged: Server, changed: Any, body: str) -> None:
    changed(
        f"create function leaves() {body}; create policy leaving on plain using (leaves() is not null);"
        "alter table plain enable row level security",
        "drop policy leaving on plain; drop function leaves(); alter table plain disable row level security",
    )
    with staged.connect(autocommit=False) as superuser:
        superuser.execute("set local role authenticated")
        superuser.execute("select leaves()")
        is_undone = superuser.execute("select current_user").fetchone() == ("postgres",)
    log = Log(staged)

    trial, plain = attempt(staged, "plain"), attempt(staged, "plain", user="authenticator")

    assert is_undone == ("set role to" not in body)
    assert trial.outcome.status == "not run"
    assert "the asker is a superuser, and SET ROLE may be undone by" in (trial.outcome.message or "")
    assert "leaves()" in (trial.outcome.message or "")
    assert "set_config('role'" not in log.text.split("authenticator|")[0]
    assert plain.outcome.status != "not run"


def test_a_role_that_may_run_programs_is_asked_as_carefully_as_a_superuser(staged: Server, changed: Any) -> None:
    changed(
        "grant pg_execute_server_program to authenticator;"
        "create function leaves() returns text language sql as 'reset role; select 1::text';"
        "create policy leaving on plain using (leaves() is not null); alter table plain enable row level security",
        "drop policy leaving on plain; drop function leaves(); alter table plain disable row level security;"
        "revoke pg_execute_server_program from authenticator",
    )

    trial = attempt(staged, "plain", user="authenticator")

    assert trial.outcome.status == "not run"
    assert "may run programs or open files on the server" in (trial.outcome.message or "")


def test_words_in_a_body_that_leave_no_role_stop_no_trial(staged: Server, changed: Any) -> None:
    changed(
        "create function keeps() returns boolean language plpgsql security definer as"
        " $$ declare role text := 'set_config'; begin execute 'select 1'; return role <> 'reset role'; end $$;"
        "create policy keeping on plain using (keeps() and auth.role() is not null); alter table plain enable row level security",
        "drop policy keeping on plain; drop function keeps(); alter table plain disable row level security",
    )

    assert attempt(staged, "plain", claims={"sub": ALICE}).rows.visible == 20


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
