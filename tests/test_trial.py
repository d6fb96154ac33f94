"""Row security, tried on a server staged as Supabase stages one: the answer is the server's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.case.trying import read_claims, tried
from kit.collect.trial import trial_evidence, try_access
from kit.collect.trial.plan import masked_expression
from kit.errors import ParameterError, TargetError
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.trial_stage import ALICE, BOB, attempt, changed, staged

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
