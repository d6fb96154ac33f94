"""What an explanation says where the evidence is not whole, or where no privilege decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kit.analyze.access.explain import explain
from kit.analyze.access.explanation import Explanation, Question
from kit.analyze.document import Verdict
from kit.case.asking import Asked, answers
from kit.case.judging import Question as CaseQuestion
from kit.case.judging import judged
from kit.collect.capture import capture
from kit.errors import ParameterError
from kit.evidence.model import Frames
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target
from tests.test_access import source_of

SETUP = """
create table t (id int, "Order date" date); create view counted as select count(*) as n from t;
create table secured (a int); alter table secured enable row level security; create policy nobody on secured using (false);
create schema app; create table app.orders (id int);
create schema other; create table other.hidden (id int);
grant all on t, counted, secured to doubt_app, doubt_team; grant usage on schema app to doubt_app, doubt_team;
grant select on app.orders to doubt_app, doubt_team;
alter role doubt_login in database {database} set search_path = app;
"""


@pytest.fixture
def place(server: Server, database: str) -> Iterator[str]:
    server.execute(
        "create role doubt_app login; create role doubt_team; create role doubt_login login noinherit in role doubt_team"
    )
    server.execute(SETUP.replace("{database}", database), database)
    yield database
    server.execute("drop owned by doubt_app, doubt_team, doubt_login", database)
    server.execute("drop role doubt_app, doubt_login, doubt_team")


def asked(server: Server, database: str, action: str, name: str, role: str = "doubt_app", **more: tuple[str, ...]) -> Explanation:
    return explain(Frames(source_of(server, database)), Question(role, action, name, **more))


def gate(answer: Explanation, name: str) -> tuple[str, str]:
    return next((gate.status, gate.because) for gate in answer.gates if gate.name == name)


def test_what_is_locked_is_not_known(server: Server, place: str) -> None:
    assert asked(server, place, "SELECT", "secured").rows == "none"
    assert asked(server, place, "INSERT", "counted").allowed is False
    with server.connect(place, autocommit=False) as holder:
        holder.execute("lock table secured in access exclusive mode")
        hidden, view = asked(server, place, "SELECT", "secured"), asked(server, place, "INSERT", "counted")
    assert (hidden.allowed, hidden.rows, gate(hidden, "row security")[0]) == (None, None, "unknown")
    assert (view.allowed, gate(view, "view owner")[0]) == (None, "unknown")


def test_a_column_that_is_not_there(server: Server, place: str) -> None:
    answer = asked(server, place, "SELECT", "t", columns=("Order Date", "xmin", "*"))
    assert (answer.allowed, answer.first_failed.name, answer.near) == (False, "name resolution", ('"Order date"',))
    frames = Frames(source_of(server, place))
    [answer] = answers(frames, Asked("doubt_app", statement="select nope from t order by 1"))
    assert "public.t has no column nope" in gate(answer, "name resolution")[1]
    [answer] = answers(frames, Asked("doubt_app", statement="select id as nope from t order by nope"))
    assert answer.allowed is True, "a name that the statement gives is no column of the table"


def test_sessions_that_cannot_write(server: Server, place: str) -> None:
    server.execute("alter role doubt_app set default_transaction_read_only = on")
    try:
        answer = asked(server, place, "INSERT", "t")
        assert (answer.allowed, answer.first_failed.name) == (False, "connect")
        assert asked(server, place, "SELECT", "t").allowed is True
        with server.connect(place, "doubt_app") as connection, pytest.raises(Exception, match="read-only"):
            connection.execute("insert into t values (1)")
        server.execute(answer.to_record()["remedy"])
        with server.connect(place, "doubt_app") as connection:
            connection.execute("insert into t values (1)")
    finally:
        server.execute("alter role doubt_app reset all")
    source = source_of(server, place)
    standby = Frames(replace(source, identity=source.identity.model_copy(update={"in_recovery": True})))
    assert explain(standby, Question("doubt_app", "DELETE", "t")).allowed is False
    assert explain(standby, Question("doubt_app", "SELECT", "t")).allowed is True


def test_a_role_that_is_another_from_the_start(server: Server, place: str) -> None:
    server.execute("alter role doubt_login set role = 'doubt_team'")
    answer = asked(server, place, "SELECT", "app.orders", "doubt_login")
    assert gate(answer, "connect")[0] == "unknown"
    assert "doubt_team" in gate(answer, "connect")[1]


def test_a_group_has_the_path_of_who_logs_in(server: Server, place: str) -> None:
    answer = asked(server, place, "SELECT", "orders", "doubt_team")
    assert (answer.allowed, answer.object_name) == (True, "app.orders"), "SET ROLE applies no settings of its own"
    with server.connect(place, "doubt_login") as connection:
        connection.execute("set role doubt_team")
        connection.execute("select * from orders")
    remedy = asked(server, place, "SELECT", "hidden", "doubt_team").gates[2].remedy
    assert remedy.statement.startswith("alter role doubt_login in database")


def test_an_empty_path_is_mended_by_a_list_that_the_server_takes(server: Server, place: str) -> None:
    server.execute("alter role doubt_app set search_path = ''")
    statement = asked(server, place, "SELECT", "orders").to_record()["remedy"]
    server.execute(statement, place)
    with server.connect(place, "doubt_app") as connection:
        connection.execute("select * from orders")


def test_an_error_proves_what_it_says(server: Server, place: str) -> None:
    frames = Frames(source_of(server, place))
    [answer] = answers(frames, Asked("doubt_app", error="permission denied for table orders"))
    assert answer.question.action == "INSERT", "SELECT is granted, so it was another action"
    assert gate(answer, "name resolution")[0] == "passed", "the server had found it"
    with pytest.raises(ParameterError, match="Nothing in it"):
        answers(frames, Asked("doubt_app", statement="select 1"))


def test_a_grant_to_strangers_says_so(server: Server, database: str) -> None:
    server.execute("create role anon; create table notes (n int); create table kept (n int)", database)
    server.execute("alter table kept enable row level security; create policy p on kept using (n > 1)", database)
    try:
        answer = asked(server, database, "SELECT", "notes", "anon")
        assert any("strangers" in words for words in answer.to_record()["opens"])
        kept = asked(server, database, "SELECT", "kept", "anon")
        assert not any("strangers" in words for words in kept.to_record()["opens"])
    finally:
        server.execute("drop role anon")


def test_zero_rows_lead_to_the_table_and_not_to_another_leak(server: Server, place: str) -> None:
    server.execute("create table leak (n int); grant all on leak to public; create role authenticated", place)
    server.execute(
        "grant all on leak to authenticated; create table half (n int); alter table half enable row level security", place
    )
    server.execute("create policy p on half using (n > 1); grant select on half to doubt_app", place)
    try:
        said = {name: verdict_of(server, place, f"users see zero rows of {name}") for name in ("secured", "half", "nowhere")}
    finally:
        server.execute("drop owned by authenticated; drop role authenticated", place)
    assert (said["secured"].status, said["secured"].layer) == ("broken", "row security")
    assert '"doubt_app"' in said["secured"].summary or "doubt_app may read" in said["secured"].summary
    assert (said["half"].status, said["nowhere"].status) == ("open", "open"), "which rows, or which table, nobody knows"


def verdict_of(server: Server, database: str, symptom: str) -> Verdict:
    taken = capture(Target("doubts", (DatabaseSource("database", server.dsn(database)),)))
    return judged(taken, CaseQuestion("doubts", symptom)).verdict


def test_a_bundle_without_calls_still_clears_a_plain_table(server: Server, place: str) -> None:
    source = source_of(server, place)
    older = Frames(replace(source, evidence={k: v for k, v in source.evidence.items() if k != "function_uses"}))
    assert explain(older, Question("doubt_app", "SELECT", "t")).allowed is True
    assert explain(older, Question("doubt_app", "SELECT", "counted")).allowed is None
    assert explain(older, Question("doubt_app", "DELETE", "t")).allowed is None, "a trigger may be there"
