"""Stated causes, resolved by the checks they are tied to: on results, on real servers, and through a whole run."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit import checks
from kit.analyze.document import FindingsDocument, Hypothesis
from kit.analyze.findings import Finding, NotExamined, Result, Subject
from kit.analyze.hypotheses import Stated, hypotheses, parse_stated
from kit.analyze.symptom import parse_symptom
from kit.case import folders
from kit.case.judging import Question, judged
from kit.cli import app
from kit.collect.capture import capture
from kit.errors import ParameterError, TargetError
from kit.report.running import with_hypotheses
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target, resolve
from tests.run_support import order, working_copy

NOT_POSTGRES = Stated("the instance is MySQL, not PostgreSQL", ("unreachable_servers",))
TIMEOUT = Stated("database connection timeout", ("unreachable_servers", "exhausted_connection_slots", "connections_near_limit"))
INCIDENT_C = (NOT_POSTGRES, TIMEOUT)
KNOWN = list(checks.registry())


def result(check: str, status: str = "clean", source: str = "database", **more: object) -> Result:
    found = Finding(
        "critical", Subject("table", "t"), "words", "", ("relations", (0,)), check=check, fingerprint=f"{check}:table:t"
    )
    findings = (found,) if status == "findings" else ()
    return Result(check, "triage", "schema", source, status, findings=findings, **{"examined": 3, **more})  # type: ignore[arg-type]


def only(results: list[Result], *tied: str, symptom: str | None = None) -> Hypothesis:
    found, *_ = hypotheses(results, parse_symptom(symptom), [Stated("it is so", tied)])
    return found


def test_refuted_only_where_every_tied_check_is_clean_and_complete() -> None:
    clean = [result("a"), result("b")]
    assert only(clean, "a", "b") == Hypothesis(
        statement="it is so", status="refuted", against=["a: clean, 3 examined", "b: clean, 3 examined"]
    )
    unseen = (NotExamined("t", "hidden"),)
    for other in (
        result("b", not_examined=unseen),
        result("b", "skipped", reason="not reached"),
        result("b", "failed", reason="KeyError"),
        result("b", "skipped", source="", in_scope=False),
    ):
        found = only([result("a"), other], "a", "b")
        assert (found.status, found.for_, found.against) == ("open", [], ["a: clean, 3 examined"])
    assert only([result("a")], "a", "b").status == "open", "a check without a result"
    assert only([], "a").status == "open"


def test_supported_by_one_finding_on_any_source() -> None:
    several = [result("a", source="api"), result("a", "findings", source="worker"), result("b", "skipped")]
    found = only(several, "a", "b")
    assert (found.status, found.for_, found.against) == ("supported", ["a:table:t"], ["a on api: clean, 3 examined"])


def test_a_finding_that_cannot_explain_the_symptom_supports_nothing() -> None:
    found = [result("a", "findings", explains=frozenset({"42501"})), result("b")]
    assert only(found, "a", "b", symptom="ERROR: permission denied for table t").status == "supported"
    assert only(found, "a", "b", symptom='database "x" does not exist').status == "open", "nor is it refuted: a is not clean"
    assert only(found, "a", "b", symptom="staging is down").status == "supported", "words exclude nothing"


WRONG = {
    "the server is full": "A hypothesis needs a text and at least one check",
    "=unreachable_servers": "A hypothesis needs a text and at least one check",
    "it is full=": "A hypothesis needs a text and at least one check",
    "it is full=unreachable_server": "names no check 'unreachable_server'. Did you mean unreachable_servers",
    "it is full=refused_logins,xyzzy": "names no check 'xyzzy'. `kit checks` lists the names.",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_a_wrong_word_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_stated(text, KNOWN)
    assert said in str(caught.value)


def test_a_cause_may_hold_an_equals_sign_and_lines() -> None:
    text = "max_connections = 100\n is  too few = exhausted_connection_slots, refused_logins,"
    assert parse_stated(text, KNOWN) == Stated(
        "max_connections = 100 is too few", ("exhausted_connection_slots", "refused_logins")
    )


def live(dsn: str, stated: tuple[Stated, ...], symptom: str | None = None) -> FindingsDocument:
    taken = capture(Target("shop", (DatabaseSource("database", dsn),)))
    return judged(taken, Question("case", symptom, hypotheses=stated))


def test_incident_c_both_are_refuted_by_a_server_that_answers(server: Server, database: str) -> None:
    document = live(server.dsn(database), INCIDENT_C, "database timeout")
    assert [(h.statement, h.status) for h in document.hypotheses] == [(s.statement, "refuted") for s in INCIDENT_C]
    assert {words.partition(":")[0] for words in document.hypotheses[1].against} == set(TIMEOUT.checks)
    assert all("clean" in words for h in document.hypotheses for words in h.against)


def test_a_server_that_is_down_supports_one_and_leaves_the_other_open() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stated = (Stated("the server is down", ("unreachable_servers",)), Stated("it is full", ("connections_near_limit",)))
    down, full = live(f"host=127.0.0.1 port={port} user=kit dbname=shop", stated).hypotheses
    assert (down.status, full.status) == ("supported", "open")
    assert down.for_[0].startswith("unreachable_servers:")


def test_those_the_kit_weighs_itself_come_after(server: Server, database: str) -> None:
    document = live(server.dsn(database), (NOT_POSTGRES,), 'relation "gone" does not exist')
    assert document.hypotheses[0].statement == NOT_POSTGRES.statement
    assert len(document.hypotheses) == 4


TOML = """
[targets.shop]
dsn = "host=127.0.0.1 dbname=shop user=kit"
hypotheses = [
  {statement = "database connection timeout", checks = ["unreachable_servers", "connections_near_limit"]},
]
"""


def test_the_target_s_own_causes_come_first_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kit.toml").write_text(TOML)
    monkeypatch.setenv("KIT_CONFIG", str(tmp_path / "kit.toml"))
    asked = replace(order(tmp_path), target=resolve("shop"))
    given = ["it is full=connections_near_limit", "database connection timeout=unreachable_servers,connections_near_limit"]
    stated = with_hypotheses(asked, given).question.hypotheses
    assert [one.statement for one in stated] == ["database connection timeout", "it is full"]
    for wrong in ("hypotheses = 3", "hypotheses = [{statement = 'a'}]", "hypotheses = [{statement = 'a', checks = 'b'}]"):
        (tmp_path / "kit.toml").write_text(f"[targets.shop]\ndsn = 'dbname=x'\n{wrong}\n")
        with pytest.raises(TargetError, match="hypotheses of"):
            resolve("shop")


def test_no_password_of_the_target_stands_in_a_cause(tmp_path: Path) -> None:
    target = Target("shop", (DatabaseSource("database", "postgresql://kit:Xq7secretWord@db/shop"),))
    asked = replace(order(tmp_path), target=target)
    [stated] = with_hypotheses(asked, ["the password Xq7secretWord is wrong=refused_logins"]).question.hypotheses
    assert "Xq7secretWord" not in stated.statement


def test_a_refuted_cause_stays_in_the_report(server: Server, database: str, tmp_path: Path) -> None:
    working_copy(tmp_path / "case", "triage", "1 + 1")
    hostile = "<script>alert(1)</script> is slow=connections_near_limit"
    words = ["run", "case", "--target", server.dsn(database), "--reports", str(tmp_path), "--only", "triage"]
    words += ["--hypothesis", f"{NOT_POSTGRES.statement}=unreachable_servers", "--hypothesis", hostile]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code in (0, 1, 3), ended.stderr
    found = json.loads((tmp_path / "case" / folders.FINDINGS).read_text())["hypotheses"]
    assert [(h["statement"], h["status"]) for h in found] == [
        (NOT_POSTGRES.statement, "refuted"),
        ("<script>alert(1)</script> is slow", "refuted"),
    ]
    assert found[0]["against"][0].startswith("unreachable_servers: clean")
    page = (tmp_path / "case" / "index.html").read_text()
    assert NOT_POSTGRES.statement in page
    assert "unreachable_servers: clean" in page
    assert "<script>alert(1)" not in page


def test_a_wrong_check_ends_before_anything_is_asked(tmp_path: Path) -> None:
    words = ["run", "case", "--target", "postgresql://127.0.0.1:1/x", "--reports", str(tmp_path / "none")]
    ended = CliRunner().invoke(app, [*words, "--hypothesis", "it is full=conections_near_limit"])
    assert (ended.exit_code, (tmp_path / "none").exists()) == (2, False)
    assert "Did you mean connections_near_limit" in ended.stderr
