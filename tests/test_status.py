"""`kit status`, read as a chat would read it: true for every kind of case, and nothing in it that must not leave."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from kit.analyze.document import FindingsDocument, Hypothesis
from kit.analyze.hypotheses import Stated
from kit.case import folders
from kit.case.judging import Question, judged
from kit.case.notes import add_note
from kit.case.status import LINE_LIMIT, LINES, Told, is_harmless, status_of, told
from kit.cli import app
from kit.collect.capture import capture
from kit.evidence import bundle
from kit.evidence.model import Capture
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests.conftest import Staged
from tests.run_support import BUNDLE

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SYMPTOM = 'relation "siwe_nonces" does not exist'
INCIDENT_C = (
    Stated("the instance is MySQL, not PostgreSQL", ("unreachable_servers",)),
    Stated("database connection timeout", ("unreachable_servers", "connections_near_limit")),
)


@pytest.fixture(scope="module")
def recorded() -> Capture:
    return bundle.load(BUNDLE)


def said(document: FindingsDocument, *before: FindingsDocument) -> Told:
    found = told(document, [*before, document], NOW)
    assert 5 <= len(found.lines) <= LINES
    assert all(len(line) <= LINE_LIMIT and line == " ".join(line.split()) and line.isprintable() for line in found.lines)
    return found


def line(found: Told, head: str) -> str:
    return next(line for line in found.lines if line.startswith(head))


def live(server: Server, database: str, question: Question) -> FindingsDocument:
    return judged(capture(Target(database, (DatabaseSource("database", server.dsn(database)),))), question)


def test_incident_a_names_layer_role_and_schema(recorded: Capture) -> None:
    window = datetime(2026, 11, 20, 7, 0, tzinfo=UTC)
    found = said(judged(recorded, Question("login-outage", SYMPTOM, window)))
    assert found.lines[0] == "login-outage: BROKEN at privileges (schemas without USAGE: role shop_api in auth)."
    assert "migrations that failed or did not finish" in line(found, "Seen as well, without explaining the symptom:")
    assert line(found, "Since:").startswith(
        "Since: 2026-11-20 07:00 UTC, by the case's window; first seen by the kit 2026-11-20 "
    )
    assert "schema" in line(found, "Cleared:")
    assert line(found, "Ruled out:").startswith('Ruled out: The relation "siwe_nonces" was never created in this database; ')
    assert line(found, "Next: apply the grants")
    assert found.lines[-1].endswith("(told 2026-11-20 09:00 UTC).")


def test_several_layers_are_told_in_ladder_order(recorded: Capture) -> None:
    found = said(judged(recorded, Question("all")))
    broken = [entry.layer for entry in judged(recorded, Question("all")).layers if entry.status == "broken"]
    assert len(broken) >= 2
    assert [words.partition(" (")[0] for words in found.broken] == broken
    assert line(found, "Also broken, further on: change (")


def test_incident_c_the_database_is_innocent(server: Server, database: str) -> None:
    found = said(live(server, database, Question("staging-down", "database timeout", hypotheses=INCIDENT_C)))
    assert found.status == "healthy"
    assert found.lines[0].startswith("staging-down: NOT the database")
    assert line(found, "Ruled out:") == "Ruled out: the instance is MySQL, not PostgreSQL; database connection timeout."
    assert line(found, "Since:") == "Since: not known; no window was given."
    assert line(found, "Next: look at the service")
    assert "reachability" in line(found, "Cleared:")


def test_a_healthy_case(server: Server, database: str) -> None:
    found = said(live(server, database, Question("daily")))
    assert (found.lines[0], line(found, "Next:")) == ("daily: HEALTHY, no broken layer.", "Next: none needed.")
    assert line(found, "Not examined:") == "Not examined: nothing in scope; out of scope: service."


def test_a_server_that_cannot_be_reached_and_not_its_address() -> None:
    dead = Target("10.11.12.13", (DatabaseSource("database", "host=127.0.0.1 port=1 user=kit dbname=secretbase"),))
    found = said(judged(capture(dead), Question("dead", hypotheses=INCIDENT_C)))
    assert found.lines[0].startswith("dead: BROKEN at reachability")
    assert "privileges" in line(found, "Not examined:")
    assert "Ruled out" not in " ".join(found.lines)
    for address in ("127.0.0.1", "10.11.12.13", "secretbase"):
        assert address not in "\n".join(found.lines)


def test_an_open_case_says_what_was_not_seen(recorded: Capture) -> None:
    document = judged(recorded, Question("open", 'database "nowhere" does not exist'))
    layers = [
        entry.model_copy(update={"status": "not examined" if entry.layer == "authentication" else "cleared"})
        for entry in document.layers
    ]
    verdict = document.verdict.model_copy(update={"status": "open", "layer": "authentication"})
    found = said(document.model_copy(update={"layers": layers, "verdict": verdict}))
    assert found.lines[0] == "open: OPEN, no broken layer was found so far."
    assert line(found, "Not examined:") == "Not examined: authentication."
    assert line(found, "Next: let the kit see authentication")


def test_since_when_goes_back_through_the_captures(recorded: Capture) -> None:
    now = judged(recorded, Question("case", SYMPTOM))
    healthy = now.verdict.model_copy(update={"status": "healthy", "layer": None})
    history = []
    for hours, verdict in ((5, now.verdict), (4, healthy), (3, now.verdict), (2, now.verdict)):
        at = now.started_at - timedelta(hours=hours)
        history.append(now.model_copy(update={"started_at": at, "verdict": verdict}))
    first = now.started_at - timedelta(hours=3)
    assert f"first seen by the kit {first:%Y-%m-%d %H:%M} UTC" in line(said(now, *history), "Since:")


def test_the_command_and_its_json(staged: Staged, tmp_path: Path) -> None:
    database = DatabaseSource("database", staged.shop.kit_dsn)
    taken = capture(Target(staged.shop.database, (database,), cloud=staged.exports))
    document = judged(taken, Question("case", staged.shop.symptom, staged.shop.since, staged.shop.until))
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / folders.FINDINGS).write_text(document.to_json())
    add_note("case", "a note that stays inside", tmp_path)
    shown = CliRunner().invoke(app, ["status", "case", "--reports", str(tmp_path)])
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) <= LINES
    assert shown.stdout.startswith("case: BROKEN at privileges")
    assert "stays inside" not in shown.stdout
    assert not re.search(r"@|://|\d+\.\d+\.\d+\.\d+|/cloudsql|gserviceaccount", shown.stdout)
    assert not any(secret in shown.stdout for secret in staged.shop.secrets)
    record = json.loads(CliRunner().invoke(app, ["status", "case", "--reports", str(tmp_path), "--json"]).stdout)
    assert (record["status"], record["layer"]) == ("broken", "privileges")
    assert record["lines"][:-1] == shown.stdout.splitlines()[:-1]


def test_no_case_and_a_broken_one(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["status", "none", "--reports", str(tmp_path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "There is no report of a case 'none'" in ended.stderr
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / folders.FINDINGS).write_text('{"format": 1')
    assert CliRunner().invoke(app, ["status", "case", "--reports", str(tmp_path)]).exit_code == 2
    (tmp_path / "case" / folders.FINDINGS).unlink()
    add_note("case", "before the first run", tmp_path)
    with pytest.raises(Exception, match="There is no report"):
        status_of("case", tmp_path)


UNTOLD = [
    "10.0.0.7", "db.internal.example.com", "fe80::1ff:fe23", "kit@example.com", "postgresql://kit:hunter2@db/x",
    "/cloudsql/p:r:i", "-----BEGIN PRIVATE KEY-----",
    "select * from users where id = 4", "UPDATE accounts SET paid", "password hunter2", "'anna'", "4111111111111111",
    "<script>alert(1)</script>", "\x1b[31mred", "tbl\u202egnp", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0abcd.dozjgNryP4J3",
    "select 1", "host staging-db-1", "pwd hunter2", "token ya29.abcdefg", "it is a8f3k2m9q1x7",
    "AKIAIOSFODNN7EXAMPLE", "proj-123456789012",
    "8.8.8.8:5432", "db.local", "$1 = 3", "0123456789abcdef0123456789abcdef", "+49 171 5555555",
]  # fmt: skip


@pytest.mark.parametrize("text", UNTOLD)
def test_what_must_not_leave_the_team_does_not(recorded: Capture, text: str) -> None:
    """Planted wherever a document holds text that somebody else wrote."""
    document = judged(recorded, Question("case"))
    assert not is_harmless(text), text
    planted = said(planted_in(document, text))
    joined = "\n".join(planted.lines)
    assert text not in joined
    assert "hunter2" not in joined
    assert planted.status == "broken"


def planted_in(document: FindingsDocument, text: str) -> FindingsDocument:
    """Return the document with the text in the place of everything that is not the kit's own word."""

    def finding(entry: Any) -> Any:
        subject = entry.subject.model_copy(update={"name": text, "schema_": text, "database": text})
        return entry.model_copy(update={"message": text, "remedy": text, "subject": subject, "fingerprint": text})

    results = [
        result.model_copy(update={"findings": [finding(f) for f in result.findings], "reason": text, "source": text})
        for result in document.results
    ]
    return document.model_copy(
        update={
            "results": results,
            "targets": [text],
            "symptom": text,
            "verdict": document.verdict.model_copy(update={"summary": text}),
            "layers": [entry.model_copy(update={"reason": text}) for entry in document.layers],
            "hypotheses": [Hypothesis(statement=text, status="refuted", against=[text])],
            "changes": [
                change.model_copy(update={"summary": text, "outcome": text, "source": text}) for change in document.changes
            ],
        }
    )


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_any_text_makes_plain_lines(text: str) -> None:
    document = judged_once()
    said(planted_in(document, text))


_ONCE: list[FindingsDocument] = []


def judged_once() -> FindingsDocument:
    if not _ONCE:
        _ONCE.append(judged(bundle.load(BUNDLE), Question("case")))
    return _ONCE[0]


@pytest.mark.parametrize(
    "text",
    [
        "database connection timeout",
        "the instance is MySQL, not PostgreSQL",
        'The relation "siwe_nonces" was never created in this database.',
        "the pool of 20 connections is too small",
        "revision session-api-00036 never got ready",
        "the server is full",
        "table oauth2clients is missing",
    ],
)
def test_plain_causes_are_told(text: str) -> None:
    assert is_harmless(text)
