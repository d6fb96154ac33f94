"""What people see of an answer about access: one sentence, the chain with its break, the remedy, the proof; never markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import BrowserContext

from kit.analyze import whereabouts
from kit.analyze.access.comparison import compare
from kit.analyze.access.explain import explain
from kit.analyze.access.explanation import GATES, Explanation, Gate, Question
from kit.collect.postgres import collect_database
from kit.collect.trial import try_access
from kit.evidence.model import Frames
from kit.present.access import GATE_SIGNS, AccessChain, AccessStory, explanation_text, sentence
from kit.present.access_map import access_by_schema
from kit.present.access_proof import proof
from kit.present.access_views import ComparisonView, TrialView, Whereabouts
from kit.present.displays import Display
from kit.present.plots import Figure
from kit.report.assets import write_assets
from kit.report.pages import notebook_page
from kit.report.sanitize import clean_html
from kit.sandbox import server as sandbox
from kit.sandbox.server import Server
from kit.target import DatabaseSource
from tests.browser import look
from tests.test_present import LAB_TAGS, read

HOSTILE = "<script>alert(1)</script>\"'\n\u202e&lt;b"
LONG = "n" * 63
SHOP = """
create role app_owner; create role service login; create role readers; create role asker login in role readers;
create role group_only; create role late login valid until '2020-01-01'; create role outsider login;
create schema app authorization app_owner; create schema shut authorization app_owner;
create schema off_path authorization app_owner;
grant usage on schema app, off_path to service, asker;
alter role service set search_path = app, shut; alter role asker set search_path = app;
set role app_owner;
create table app.orders (id serial, total int, secret text); create table shut.siwe_nonces (id int);
create table off_path.far (id int);
create table app.quiet (id int); alter table app.quiet enable row level security; insert into app.quiet values (1);
create table app.few_rows (id int); alter table app.few_rows enable row level security;
insert into app.few_rows values (1), (2), (3);
create policy few on app.few_rows for select to service using (id < 3);
create table app.untouched (id int); create view app.seen as select id from app.orders;
create function app.guarded() returns boolean language sql stable as 'select true';
revoke execute on function app.guarded() from public;
create table app.checked (id int, ok boolean default app.guarded());
grant select, insert on app.orders to service; grant select (id, total) on app.orders to readers;
grant select on app.seen to service;
grant select, insert, update, delete on app.quiet, app.few_rows to service;
grant select on shut.siwe_nonces, off_path.far to service;
grant insert on app.checked to service;
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Server]:
    with sandbox.running() as running:
        running.execute(SHOP)
        running.create_database("closed")
        running.execute("revoke connect on database closed from public")
        yield running


def frames_of(running: Server, database: str = "postgres") -> Frames:
    return Frames(collect_database(DatabaseSource("database", running.dsn(database)))[0])


@pytest.fixture(scope="module")
def frames(shop: Server) -> Frames:
    return frames_of(shop)


Ask = Callable[..., Explanation]


@pytest.fixture(scope="module")
def ask(frames: Frames) -> Ask:
    return lambda role, action, name, **more: explain(frames, Question(role, action, name, **more))


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (("service", "SELECT", "orders"), "service can read app.orders."),
        (("service", "SELECT", "siwe_nonces"), "service cannot read siwe_nonces: it may not enter schema shut."),
        (("service", "SELECT", "untouched"), "service cannot read untouched: it has no SELECT privilege on it."),
        (("service", "DELETE", "app.orders"), "service cannot delete from app.orders: it has no DELETE privilege on it."),
        (("service", "TRUNCATE", "seen"), "service cannot truncate seen: TRUNCATE is not for a view."),
        (("service", "SELECT", "far"), "service cannot read far: its search_path does not lead to off_path.far."),
        (
            ("service", "SELECT", "order"),
            "service cannot read order: its search_path leads to no relation of that name; perhaps app.orders is meant.",
        ),
        (("service", "SELECT", "app.zzz"), "service cannot read app.zzz: there is no such relation."),
        (
            ("asker", "SELECT", "orders", ("secret",)),
            "asker cannot read orders: it lacks the privilege on some of the columns.",
        ),
        (
            ("service", "SELECT", "quiet"),
            "service can read app.quiet without an error, but sees no row: row security leaves it none.",
        ),
        (("service", "SELECT", "few_rows"), "service can read app.few_rows, but sees only the rows that row security leaves it."),
        (("service", "INSERT", "quiet"), "service cannot insert into quiet: row security lets none of its rows in."),
        (("service", "INSERT", "orders"), "service cannot insert into orders: it may not use the sequence behind a default."),
        (
            ("service", "INSERT", "checked"),
            "service cannot insert into checked: something that runs with it, a function or a foreign key, is refused.",
        ),
        (
            ("late", "SELECT", "app.orders"),
            "late cannot read app.orders: it cannot log in now, and 2 more gates are shut.",
        ),
        (
            ("outsider", "SELECT", "app.orders"),
            "outsider cannot read app.orders: it may not enter schema app, and it has no SELECT privilege on it.",
        ),
    ],
)
def test_every_outcome_is_one_plain_sentence(ask: Ask, question: Any, words: str) -> None:
    role, action, name, *columns = question
    answer = ask(role, action, name, columns=columns[0] if columns else None)
    assert sentence(answer) == words
    assert explanation_text(answer).splitlines()[0][2:] == words


@pytest.mark.parametrize(
    ("kind", "action", "name", "words"),
    [
        ("schema", "USAGE", "shut", "service cannot use schema shut: it has no USAGE privilege on it."),
        ("schema", "CREATE", "app", "service cannot create anything in schema app: it has no CREATE privilege on it."),
        (
            "function",
            "EXECUTE",
            "app.guarded()",
            "service cannot execute function app.guarded(): it has no EXECUTE privilege on it.",
        ),
        ("database", "CONNECT", "postgres", "service can connect to database postgres."),
    ],
)
def test_other_objects_have_their_sentence_too(ask: Ask, kind: Any, action: str, name: str, words: str) -> None:
    assert sentence(ask("service", action, name, kind=kind)) == words


def test_a_database_that_may_not_be_connected_to_is_said_so(shop: Server) -> None:
    answer = explain(frames_of(shop, "closed"), Question("service", "CONNECT", "closed", kind="database"))
    assert sentence(answer).startswith("service cannot connect to database closed: it cannot connect to the database")


def test_what_could_not_be_judged_is_not_known(frames: Frames) -> None:
    [login, *rest] = explain(frames, Question("service", "SELECT", "orders")).gates
    gates = (login, *(Gate(gate.name, "unknown", "masked") if gate.name == "name resolution" else gate for gate in rest))
    answer = Explanation(Question("service", "SELECT", "orders"), gates, None)
    assert sentence(answer) == "Whether service can read orders is not known: the gate name resolution could not be judged."
    assert explanation_text(answer).startswith("? ")


def test_the_chain_shows_every_gate_and_breaks_once_at_the_first_that_failed(ask: Ask) -> None:
    answer = ask("outsider", "SELECT", "app.orders")
    html, text = AccessChain(answer).html(), explanation_text(answer)
    assert html.count("the chain breaks here") == text.count("the chain breaks here") == 1
    shown = re.sub(r"<[^>]+>", " ", html)
    places = [
        shown.index(f" {gate.name} ") if gate.status != "not applicable" else shown.index(f"– {gate.name}:")
        for gate in answer.gates
    ]
    assert places == sorted(places)
    assert len(places) == len(GATES)
    torn = shown.index("the chain breaks here")
    assert shown.index(" name resolution ") < torn < shown.index(" schema usage ")
    assert all(f"{GATE_SIGNS[gate.status]} {gate.name}" in text for gate in answer.gates)


def test_the_break_is_told_in_words_signs_and_lines_not_in_colour_alone(ask: Ask) -> None:
    html = AccessChain(ask("service", "SELECT", "siwe_nonces")).html()
    assert "✗ failed" in html
    assert "5px double" in html
    assert 'aria-label="The 10 gates in the server&#x27;s order: ' in html
    assert "the chain breaks at gate 4, schema usage." in html


def test_a_silent_break_says_that_no_error_comes(ask: Ask) -> None:
    text = explanation_text(ask("service", "SELECT", "quiet"))
    assert text.startswith("✗ ")
    assert "the chain breaks here: no error comes" in text


def test_the_remedy_says_who_may_run_it_and_what_it_opens(ask: Ask, shop: Server) -> None:
    text = explanation_text(ask("service", "SELECT", "siwe_nonces"))
    assert "grant usage on schema shut to service;" in text
    assert "Who may run it: app_owner (its owner)" in text
    assert "What else it opens: " in text
    assert "What mends it" not in explanation_text(ask("service", "SELECT", "orders"))


def test_the_pages_and_jupyterlab_keep_all_of_the_picture(ask: Ask, frames: Frames) -> None:
    answers = tuple(ask("service", "SELECT", name) for name in ("orders", "siwe_nonces", "quiet", "nowhere"))
    html = str(AccessStory(answers, "Four questions.", frames).html())
    assert read(html).tags <= LAB_TAGS
    kept, made = read(clean_html(html)), read(html)
    assert (kept.tags, kept.attributes, kept.styles) == (made.tags, made.attributes, made.styles)
    assert re.sub(r"<[^>]+>", "", clean_html(html)).count("✗ failed") == 3


def test_a_story_puts_what_fails_first_and_folds_what_works(ask: Ask) -> None:
    answers = tuple(ask("service", "SELECT", name) for name in ("orders", "quiet", "siwe_nonces"))
    story = AccessStory(answers, "From the statement of the symptom.")
    heads = [line for line in story.text().splitlines() if line.startswith(("✗ service", "✓ service"))]
    assert [line.split(" ")[2:5] for line in heads] == [
        ["cannot", "read", "siwe_nonces:"],
        ["can", "read", "app.quiet"],
        ["can", "read", "app.orders."],
    ]
    assert "3 questions: 1 denied, 1 no rows, 1 allowed." in story.text()
    assert story.html().count("<details") == 1
    assert "<details" not in AccessStory(answers[:1]).html()


def test_a_story_without_questions_says_what_was_looked_at() -> None:
    assert AccessStory(()).text() == "No question about access was asked."
    assert AccessStory((), "The symptom names no relation.").text() == "The symptom names no relation."


def test_the_proof_is_the_rows_on_the_object_or_that_there_is_none(ask: Ask, frames: Frames) -> None:
    [usage] = proof(ask("service", "SELECT", "siwe_nonces"), frames)
    assert usage.words.endswith("about schema shut; none of them is for service or for everybody.")
    assert set(usage.frame["grantee_name"]) == {"app_owner"}
    views = {view.words.split(",")[0]: view for view in proof(ask("asker", "SELECT", "orders"), frames)}
    columns = proof(ask("asker", "SELECT", "orders", columns=("secret",)), frames)[0]
    assert list(columns.frame.iloc[list(columns.marked)]["grantee_name"]) == ["readers", "readers"], "by membership"
    assert views["policies"].words.endswith("none is about app.orders.")


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Frames, list[Explanation]]]:
    with sandbox.running() as running, running.connect() as connection:
        for name in (HOSTILE, LONG):
            quoted = '"' + name.replace('"', '""') + '"'
            connection.execute(
                f"create role {quoted} login; create schema {quoted}; create table {quoted}.{quoted} (id int)".encode()
            )
            connection.execute(f"alter role {quoted} set search_path = {quoted}".encode())
        found = frames_of(running)
        names = [(name, '"' + name.replace('"', '""') + '"') for name in (HOSTILE, LONG)]
        answers = [explain(found, Question(name, "SELECT", written)) for name, written in names]
        answers.append(explain(found, Question(HOSTILE, "DELETE", '"' + "w" * 200 + '"')))
        yield found, answers


def test_hostile_names_stay_text_on_one_line(odd: tuple[Frames, list[Explanation]]) -> None:
    found, answers = odd
    for answer in answers:
        html = AccessStory((answer,), "", found).html()
        assert not {"script", "b", "img"} & read(str(html)).tags
        assert "\u202e" not in html + explanation_text(answer)
        assert len(sentence(answer)) < 500
        assert "\n" not in sentence(answer)
    lines = explanation_text(answers[0]).splitlines()
    assert "[LF]" in lines[0]
    assert "it may not enter schema" in lines[0]
    assert len([line for line in lines if line.startswith(("  ✓", "  ✗", "  –", "  ?"))]) == 10


def page(folder: Path, *shown: Display) -> Path:
    """Write a report's page that shows the displays."""
    write_assets(folder)
    cells = [new_markdown_cell("# Permissions")]
    cells += [new_code_cell("x", execution_count=1, outputs=[new_output("display_data", data=one.bundle())]) for one in shown]
    path = folder / "permissions.html"
    path.write_text(
        notebook_page(new_notebook(cells=cells), title="Permissions", status="ok", case="x", nav=[]), encoding="utf-8"
    )
    return path


def test_the_chain_fits_a_phone_whatever_the_names(
    context: BrowserContext, tmp_path: Path, odd: tuple[Frames, list[Explanation]], ask: Ask, frames: Frames
) -> None:
    found, answers = odd
    stories = [
        AccessStory((ask("service", "SELECT", "siwe_nonces"),), "", frames),
        *(AccessStory((a,), "", found) for a in answers),
    ]
    seen = look(context, page(tmp_path, *stories))
    seen.page.set_viewport_size({"width": 360, "height": 780})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = seen.page.evaluate(
        "[...document.querySelectorAll('.kit-link')].map(b => b.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    assert len(boxes) == 10 * len(stories)
    assert all(0 <= left < right <= 360 for left, right in boxes)
    cut = "[...document.querySelectorAll('.kit-link')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert seen.page.evaluate(cut) == 0, "a long name is broken, not cut off"
    seen.assert_quiet()


def test_the_links_stay_told_apart_without_colour(context: BrowserContext, tmp_path: Path, ask: Ask) -> None:
    seen = look(context, page(tmp_path, AccessChain(ask("service", "SELECT", "siwe_nonces"))))
    seen.page.emulate_media(media="print")
    styles = seen.page.evaluate("[...document.querySelectorAll('.kit-link')].map(b => getComputedStyle(b).borderTopStyle)")
    assert styles[:4] == ["solid", "solid", "solid", "double"]
    assert set(styles[5:]) <= {"dotted", "solid"}


def cell(role: str, schema: str, allowed: int, filtered: int = 0, action: str = "SELECT") -> dict[str, Any]:
    return {
        "role": role,
        "schema": schema,
        "action": action,
        "relations": 200,
        "allowed": allowed,
        "after_set_role": 0,
        "filtered": filtered,
        "hidden": 0,
    }


def test_a_map_of_200_roles_and_10000_tables_stays_readable() -> None:
    schemas = [f"tenant_{number:02}" for number in range(48)] + ["auth", "billing"]
    rows = [cell(f"member_{number:03}", schema, 200 if schema == "billing" else 0) for number in range(150) for schema in schemas]
    rows += [cell(f"service_{n:02}", s, (n * 37 + i * 11) % 201, 3) for n in range(49) for i, s in enumerate(schemas)]
    rows += [cell("anon", schema, 200, 200) for schema in schemas]
    drawn = access_by_schema(pd.DataFrame(rows), focus=("service_07",))
    assert isinstance(drawn, Figure)
    names = drawn.json["layout"]["yaxis"]["ticktext"]
    assert [name.split()[0] for name in names[:2]] == ["service_07", "anon"], (
        "who was asked about stands first, then whom strangers may become"
    )
    assert "member_000 + 149" in names, "150 roles that can do the same share a line"
    assert len(names) <= 30
    assert len(drawn.json["layout"]["xaxis"]["ticktext"]) <= 8
    assert "And " in drawn.alt
    assert "more schemas." in drawn.alt
    assert len(json.dumps(drawn.json)) < 60_000
    plotly.graph_objects.Figure({key: drawn.json[key] for key in ("data", "layout")})


def test_the_map_has_a_word_and_a_sign_for_each_kind_and_no_markup() -> None:
    rows = [cell("a", "x", 200), cell("a", "y", 7), cell("b", "x", 200, 200), cell("b", "y", 0), cell("<b>&", "<script>", 7)]
    drawn = access_by_schema(pd.DataFrame(rows))
    assert isinstance(drawn, Figure)
    assert [trace["name"] for trace in drawn.json["data"][1:]] == ["● all", "◐ some", "▽ filtered by row security", "– none"]
    signs = {sign for row in drawn.json["data"][0]["text"] for sign in row}
    assert signs == {"●", "◐", "▽", "–"}
    assert "<" not in json.dumps(drawn.json).replace("<br>", "")
    assert access_by_schema(pd.DataFrame(rows), action="TRUNCATE").text() == "No role and schema were compared for TRUNCATE."


def test_two_identities_are_told_apart_by_what_differs(frames: Frames) -> None:
    found = compare(frames, Question("service", "SELECT", "app.orders"), frames, Question("outsider", "SELECT", "app.orders"))
    view = ComparisonView(found)
    assert view.text().splitlines()[0] == found.summary
    assert "schema usage" in view.text()
    assert "grant usage on schema app to outsider;" in view.text()
    assert read(str(view.html())).tags <= LAB_TAGS
    assert "✓ passed" in view.html()
    assert "✗ failed" in view.html()


def test_a_trial_says_how_many_rows_are_seen_and_hidden_and_what_was_sent(shop: Server) -> None:
    tried = try_access(DatabaseSource("database", shop.dsn()), "service", ("app", "few_rows"), "SELECT")
    view = TrialView(tried.to_record())
    assert view.text().splitlines()[0] == "✓ service sees 2 rows of app.few_rows; row security hides 1 row from it."
    assert "Show the statements that were sent" in view.html()
    assert "asked by postgres; read only" in view.text()
    refused = TrialView(try_access(DatabaseSource("database", shop.dsn()), "outsider", ("app", "few_rows"), "SELECT").to_record())
    assert refused.text().startswith("✗ The server refused SELECT on app.few_rows to outsider (42501): permission denied")


def test_a_name_is_found_or_said_to_be_nowhere(frames: Frames) -> None:
    databases = whereabouts.databases(frames)
    view = Whereabouts("siwe_nonces", whereabouts.search(frames, "siwe_nonces", role="service"), databases)
    assert view.words.startswith("siwe_nonces is shut.siwe_nonces, a table of app_owner in database postgres.")
    near = Whereabouts("siwe_nonce", whereabouts.search(frames, "siwe_nonce"), databases)
    assert near.words.startswith("Nothing that was looked at is called siwe_nonce, but 1 name like it.")
    nowhere = Whereabouts(HOSTILE, whereabouts.search(frames, '"zzzz"'), databases)
    assert not {"script", "b"} & read(str(nowhere.html())).tags
    assert "\u202e" not in nowhere.text()
