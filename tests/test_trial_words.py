"""What is said of a trial, and what is read for one, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from kit.case.trying import contradiction, decided, read_claims
from kit.collect.trial import try_access
from kit.collect.trial.claim_values import hider
from kit.collect.trial.plan import masked_expression
from kit.collect.trial.records import Status
from kit.errors import ParameterError
from kit.present.access_views import TrialView, trial_sentence
from kit.target import DatabaseSource


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


def _record(outcome: str, visible: int | None = None, action: str = "SELECT") -> dict[str, Any]:
    trial = {
        "outcome": outcome,
        "role": "web",
        "relation": ["app", "Odd"],
        "action": action,
        "sqlstate": "42501",
        "message": "no",
    }
    hidden = {"hidden_rows": None, "hidden_is_cut": False, "hidden_unknown_because": None, "visible_is_cut": False}
    shown: dict[str, Any] = {"asker": "kit", "settings": [], "claims": [], "notes": [], "plan": None, "sent": []}
    return {**trial, **hidden, **shown, "visible_rows": visible}


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_has_a_sign_a_sentence_of_its_own_and_a_meaning_for_the_verdict(status: str) -> None:
    view = TrialView(_record(status))

    others = [trial_sentence(_record(other)) for other in get_args(Status) if other != status]
    assert trial_sentence(view.record) not in others
    assert view.text()[0] in "✓✗?"
    assert status in str(view.html())
    assert decided(True, view.record) in (True, False, None)
    assert contradiction(None, view.record) is None


@pytest.mark.parametrize(
    ("allowed", "outcome", "verdict"),
    [
        (True, "ok", True),
        (False, "ok", False),
        (None, "ok", None),
        (True, "refused", False),
        (None, "refused", False),
        (True, "unknown", None),
        (False, "unknown", None),
        (True, "not run", True),
        (None, "not run", None),
    ],
)
def test_the_server_s_refusal_decides_and_silence_leaves_the_verdict_open(
    allowed: bool | None, outcome: str, verdict: bool | None
) -> None:
    assert decided(allowed, _record(outcome)) is verdict


def test_a_contradiction_is_said_only_where_the_server_really_answered() -> None:
    refused = contradiction(True, _record("refused"))
    assert refused is not None
    assert refused.startswith('The catalogs let web do SELECT on app."Odd", but the server refused it when it was tried (42501)')
    run = contradiction(False, _record("ok", visible=3))
    assert run is not None
    assert run.startswith('The catalogs deny web SELECT on app."Odd", but the server did it after SET ROLE')
    # EXPLAIN alone reaches neither a sequence nor a trigger.
    assert contradiction(False, _record("ok", action="INSERT")) is None
    agreed = [(True, "ok"), (False, "refused"), (None, "refused"), (True, "unknown"), (False, "not run")]
    assert [contradiction(allowed, _record(outcome)) for allowed, outcome in agreed] == [None] * len(agreed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcdef and abc", "<masked> and <masked>"),
        ("O''Hara, O'Hara", "<masked>, <masked>"),
        ("4711 web true", "<masked> web true"),
        ('{"note": "a\\nb \\u00fc"}', '{"note": "<masked>"}'),
        ("ab, masked", "ab, masked"),
    ],
)
def test_claims_are_masked_at_any_depth_and_in_any_writing(text: str, shown: str) -> None:
    claims = {
        "a": ["abc", {"b": ["abcdef"]}],
        "n": 4711,
        "r": "web",
        "t": True,
        "s": "ab",
        "o": "O'Hara",
        "x": "a\nb ü",
        "m": "ask",
    }

    hide = hider({key: value for key, value in claims.items() if key != "m"}, "web")

    assert hide(text) == shown
    assert hider(claims, "web")("ask abcdef") == "<masked> <masked>"


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
