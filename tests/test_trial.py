"""Row security, tried on a server staged as Supabase stages one: the answer is the server's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.case.trying import read_claims, tried
from kit.collect.trial import trial_evidence, try_access
from kit.errors import TargetError
from kit.present.access_views import TrialView
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.trial_stage import ALICE, BOB, Log, attempt, changed, staged

__all__ = ["changed", "staged"]


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


def test_rows_are_counted_of_the_relation_even_where_the_statement_is_about_another(staged: Server) -> None:
    trial = attempt(staged, claims={"sub": ALICE}, statement="select id from plain")

    assert (trial.is_row_security_active, trial.rows.visible, trial.rows.hidden) == (False, 3, 7)


def test_a_trial_becomes_evidence(staged: Server) -> None:
    evidence = trial_evidence(attempt(staged, claims={"sub": ALICE}))

    row = evidence.frame.iloc[0]
    assert (row["role_name"], row["outcome"], row["visible_rows"], row["hidden_rows"]) == ("authenticated", "ok", 3, 7)
    assert ALICE not in evidence.provenance.text


def test_the_glue_tries_on_the_target_s_database(staged: Server, tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    file.write_text(json.dumps({"sub": ALICE}))

    trial = tried(resolve(staged.dsn()), "authenticated", ("public", "notes"), "select", read_claims(file))

    assert trial.rows.visible == 3
    with pytest.raises(TargetError, match="no live database"):
        tried(Target("saved", bundle=tmp_path), "authenticated", ("public", "notes"), "SELECT")


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


def test_what_a_lock_prevents_is_shown_as_not_found_out(staged: Server) -> None:
    with staged.connect(autocommit=False) as holder:
        holder.execute("lock table plain in access exclusive mode")
        view = TrialView(attempt(staged, "plain").to_record())

    start = (
        "? Whether authenticated may SELECT on public.plain was not found out (55P03): canceling statement due to lock timeout."
    )
    assert view.text().splitlines()[0] == start
    assert "unknown" in str(view.html())
