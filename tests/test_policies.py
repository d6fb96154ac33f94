"""What a policy's expression can come to, held against the server, and what it calls for each row."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kit.analyze.findings import Finding, NotExamined, Result
from kit.analyze.policies import calls_per_row, is_always_true, truth, wrapped
from kit.checks import judge
from kit.collect.capture import capture
from kit.evidence import bundle
from kit.evidence.model import Capture
from kit.sandbox.server import Server
from kit.target import DatabaseSource, Target

# Every row that such a table can hold, as far as the expressions below can tell them apart.
ROWS = """
  (select x, y, n, m from (values (true), (false), (null)) as a(x), (values (true), (false), (null)) as b(y),
  (values (0), (1), (2), (null)) as c(n), (values (0), (1), (2)) as d(m)) as t
"""
NUMBERS = st.sampled_from(["0", "1", "2", "n", "m", "(1)::bigint"])
LEAVES = st.one_of(
    st.sampled_from(["true", "false", "null::boolean", "x", "y", "(1)::boolean", "(select true)", "exists (select 1)"]),
    st.builds("({} {} {})".format, NUMBERS, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), NUMBERS),
    st.builds("({} is {} null)".format, NUMBERS, st.sampled_from(["", "not"])),
    st.builds("({} is {} distinct from {})".format, NUMBERS, st.sampled_from(["", "not"]), NUMBERS),
    st.builds("({} = any (array[{}, {}]))".format, NUMBERS, NUMBERS, NUMBERS),
)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
        st.builds("({} is {} {})".format, inner, st.sampled_from(["", "not"]), st.sampled_from(["true", "false", "unknown"])),
        st.builds("coalesce({}, {})".format, inner, inner),
        st.builds("case when {} then {} else {} end".format, inner, inner, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=5)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(expressions=st.lists(EXPRESSIONS, min_size=60, max_size=60))
def test_what_is_said_to_be_always_true_is_so_on_the_server(server: Server, expressions: list[str]) -> None:
    columns = ", ".join(f"bool_and(coalesce({expression}, false))" for expression in expressions)
    [really] = server.execute(f"select {columns} from {ROWS}")

    said = [is_always_true(expression, {"m"}) for expression in expressions]

    assert [e for e, yes, true in zip(expressions, said, really, strict=True) if yes and not true] == []
    assert sum(map(bool, said)) >= 0.9 * sum(really)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(expressions=st.lists(EXPRESSIONS, min_size=60, max_size=60))
def test_what_is_said_to_be_folded_is_what_the_planner_folds(server: Server, database: str, expressions: list[str]) -> None:
    server.execute("create table if not exists rows (x boolean, y boolean, n integer, m integer)", database)
    with server.connect(database) as connection:
        plans = [explained(connection, f"select from rows where {expression}") for expression in expressions]
    said = [truth(expression) for expression in expressions]

    pairs = list(zip(expressions, said, plans, strict=True))
    assert [(e, yes, plan) for e, yes, plan in pairs if yes is not None and yes is not plan] == []
    assert sum(yes is not None for yes in said) >= 0.9 * sum(plan is not None for plan in plans)


def explained(connection: psycopg.Connection, statement: str) -> bool | None:
    """What the planner folds the condition to: true where no filter is left, false where no row is read."""
    lines = [line for (line,) in connection.execute(f"explain (costs off) {statement}".encode()).fetchall()]
    if lines == ["Seq Scan on rows"]:
        return True
    return False if "  One-Time Filter: false" in lines else None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", True),
        ("NULL::boolean", False),
        ("(1 = 1)", True),
        ("(1 = 2)", False),
        ("((1)::bigint = NULL::bigint)", False),
        ("((owner = auth.uid('…'::text, owner)) OR true)", True),
        ("((owner = CURRENT_USER) AND NULL::boolean)", False),
        ("(NOT ((owner = CURRENT_USER) AND NULL::boolean))", None),
        ("(owner = owner)", None),
        ("( SELECT true AS bool)", None),
        ("('…'::text = '…'::text)", None),
        ("(app.check() OR true)", None),  # an immutable function is called by the planner, and needs EXECUTE
        ("(true OR app.check())", True),
        ("((('…'::text)::integer = 1) OR true)", None),  # the planner may fail
        ("a b c", None),
    ],
)
def test_constant_conditions(expression: str, expected: bool | None) -> None:
    assert truth(expression) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "(1 = 1)",
        "((owner)::text = (CURRENT_USER)::text) OR true",
        "(NOT false)",
        "COALESCE(true, (level > 1))",
        "(owner = owner)",
        "((level > 1) OR (NOT (level > 1)) OR (level IS NULL))",
        "(note IS NULL) OR (note IS NOT NULL)",
        "(NOT (note IS DISTINCT FROM note))",
        "CASE WHEN (level > 1) THEN true ELSE true END",
        "( SELECT true AS bool)",
        "(1 = ANY (ARRAY[2, 1]))",
        "(app.allows(level) OR true)",
        "((CURRENT_USER)::text IS NOT NULL)",
    ],
)
def test_disguises_of_true(expression: str) -> None:
    assert is_always_true(expression, {"owner", "level"} if "IS NULL" not in expression else {"owner"}) is True


@pytest.mark.parametrize(
    "expression",
    [
        "false",
        "(owner = CURRENT_USER)",
        "(note = note)",  # not for a note that is NULL
        "((level = 1) OR (level = 0))",
        "(app.allows(level))",
        "(EXISTS ( SELECT 1 FROM app.members))",
        "(EXISTS ( SELECT unnest('…'::text[]) AS unnest))",
        "(level OPERATOR(app.=) level)",
        "(owner = '…'::text)",
    ],
)
def test_conditions_that_can_fail(expression: str) -> None:
    assert is_always_true(expression, {"owner", "level"}) is False


@pytest.mark.parametrize(
    "expression",
    [
        "('…'::text = '…'::text)",
        "((1 + 1) = 2)",
        "(EXISTS ( SELECT 1 LIMIT 0))",
        "<expression not readable>",
        "a b c",
        "(" * 9000,
    ],
)
def test_what_cannot_be_told_is_not_called_a_condition(expression: str) -> None:
    assert is_always_true(expression) is None


def test_calls_of_what_cannot_be_read_are_not_none() -> None:
    assert calls_per_row("<expression not readable>") is None


def test_a_call_is_named_in_every_place_but_those_that_are_asked_once() -> None:
    expression = (
        '((owner = auth.uid()) OR ("é" = ( SELECT auth.uid() AS uid)) OR app.immutable() OR app.of_row(owner) OR '
        "(EXISTS ( SELECT 1 FROM m WHERE (m.u = auth.uid()))) OR (( SELECT (auth.uid() = posts.owner)) IS TRUE) OR "
        "(lower(auth.email((1 + (2)))) = '…'::text) OR (now() > until) OR (tenant = current_setting('…'::text, true)))"
    )

    calls = calls_per_row(expression, frozenset({("app", "immutable")}))

    assert [expression[call.start : call.end] for call in calls] == [
        "auth.uid()",
        "auth.uid()",
        "auth.uid()",
        "auth.email((1 + (2)))",
        "current_setting('…'::text, true)",
    ]
    assert wrapped(expression, calls) is None


def test_what_was_wrapped_holds_no_call_any_more() -> None:
    expression = '(("ö" = auth.uid()) AND (app.f(ARRAY[1]) OR true))'

    written = wrapped(expression, calls_per_row(expression))

    assert written == '(("ö" = (select auth.uid())) AND ((select app.f(ARRAY[1])) OR true))'
    assert calls_per_row(written) == ()


SHOP = """
  create role anon; create role web;
  create schema app; grant usage on schema app to anon, web;
  create table app.carts (tenant text); create table app.orders (tenant text); create table app.old (tenant text);
  alter table app.orders enable row level security; alter table app.old enable row level security;
  create policy tenant on app.orders using (tenant = current_setting('app.tenant', true));
  create policy masked on app.old to web using ('a' = 'a');
  grant select on app.carts to anon; grant insert on app.carts to web; grant select on app.orders, app.old to web;
"""


@pytest.fixture
def shop(server: Server, database: str) -> Iterator[str]:
    server.execute(SHOP, database)
    yield server.dsn(database)
    server.execute("drop schema app cascade; drop role anon; drop role web", database)


def taken(dsn: str, exposed: tuple[str, ...] | None = None) -> Capture:
    return capture(Target("shop", (DatabaseSource("database", dsn, exposed=exposed),)))


def result(capture: Capture, check: str) -> Result:
    return next(result for result in judge(capture) if result.check == check)


def told(capture: Capture, check: str) -> list[Finding]:
    return list(result(capture, check).findings)


EXPOSED = "exposed_tables_without_row_security"


def test_who_is_exposed_is_for_the_team_to_say_and_goes_with_the_bundle(shop: str, tmp_path) -> None:
    by_default, named = taken(shop), taken(shop, ("public", "web"))
    bundle.save(named, tmp_path / "bundle")

    [read] = told(by_default, EXPOSED)
    [written] = told(bundle.load(tmp_path / "bundle"), EXPOSED)

    assert (read.severity, '"anon" may SELECT' in read.message) == ("warning", True)
    assert (written.severity, '"web" may INSERT' in written.message, "anon" in written.message) == ("critical", True, False)
    assert told(named, EXPOSED) == told(bundle.load(tmp_path / "bundle"), EXPOSED)


def test_nobody_may_be_exposed(shop: str) -> None:
    assert result(taken(shop, ()), EXPOSED).status == "clean"


def test_an_exposed_role_that_is_not_there_is_not_called_clean(shop: str) -> None:
    found = result(taken(shop, ("public", "wbe")), EXPOSED)

    assert (found.complete, [unseen.subject for unseen in found.not_examined]) == (False, ["wbe"])


def test_a_grant_to_public_is_told_once_where_nobody_else_is_exposed(shop: str, server: Server, database: str) -> None:
    server.execute("grant usage on schema app to public; grant select on app.carts to public", database)
    both = taken(shop, ("public",))

    assert told(both, EXPOSED) == []
    assert "public_grants:tables:app" in [finding.fingerprint for finding in told(both, "public_grants")]


def test_a_masked_text_makes_the_remedy_words_and_a_constant_not_examined(shop: str) -> None:
    found = taken(shop, ("web",))
    [per_row] = told(found, "policy_functions_per_row")

    assert "current_setting()" in per_row.message
    assert "in a sub-select of its own" in per_row.remedy
    assert list(result(found, "always_true_policies").not_examined) == [
        NotExamined('policy "masked" of app.old', "its condition was locked, is masked, or could not be read")
    ]


def test_many_tables_of_one_schema_are_one_finding(shop: str, server: Server, database: str) -> None:
    server.execute(
        """
        do $$ begin for n in 1..30 loop
          execute format('create table app."T %s" (a text); grant update on app."T %s" to anon', n, n);
        end loop; end $$
        """,
        database,
    )

    [found] = told(taken(shop), EXPOSED)

    assert (found.fingerprint, found.severity, found.value) == (f"{EXPOSED}:schema:app", "critical", 31)
    assert len(found.evidence[1]) == 31
    assert len(found.remedy) < 1000


def test_a_function_that_a_policy_calls_is_to_keep_its_execute(shop: str, server: Server, database: str) -> None:
    server.execute(
        """
        create function app.is_mine(wanted text) returns boolean stable security definer set search_path = app, pg_temp
          language sql as $$ select exists (select from orders where tenant = wanted) $$;
        create policy mine on app.old to web using (app.is_mine(tenant));
        """,
        database,
    )

    [found] = told(taken(shop, ("web",)), "definer_functions")

    assert (found.severity, '"mine"' in found.message or "mine call" in found.message) == ("info", True)
    assert "revoke" not in found.remedy


def test_a_view_is_not_to_show_nothing_once_it_asks_its_caller(shop: str, server: Server, database: str) -> None:
    server.execute(
        """
        create table app.words (word text, secret text); alter table app.words enable row level security;
        create view app.all_words as select word from app.words; grant select on app.all_words to web;
        """,
        database,
    )
    [closed] = told(taken(shop, ("web",)), "definer_views")
    server.execute("create policy a_few on app.words for select to web using (word > '')", database)
    [open_] = told(taken(shop, ("web",)), "definer_views")

    assert closed.remedy.startswith("Decide which rows of app.words each reader is to see.")
    if server.version >= 15:
        altered = "alter view app.all_words set (security_invoker = true)"
        assert open_.remedy == f"grant select (word) on app.words to web;\n{altered}"


def test_row_security_is_not_enabled_before_all_who_use_the_table_have_a_policy(shop: str, server: Server, database: str) -> None:
    server.execute("create policy mine on app.carts to web using (tenant > '')", database)

    [found] = told(taken(shop, ("anon", "web")), "policies_without_row_security")

    assert found.remedy.startswith("Write policies for anon (SELECT), who would be left nothing")


def test_a_view_over_a_view_that_asks_its_caller_hides_what_the_policies_hide(shop: str, server: Server, database: str) -> None:
    if server.execute("select current_setting('server_version_num')::integer < 150000") == [(True,)]:
        pytest.skip("security_invoker is of 15")
    server.execute(
        """
        create view app.asks with (security_invoker = on) as select * from app.orders;
        create view app.above as select * from app.asks;
        create view app.opens as select * from app.orders;
        grant select on app.asks, app.above, app.opens to web;
        insert into app.orders values ('someone');
        """,
        database,
    )
    seen = {
        name: server.execute(f"set role web; select count(*) from app.{name}", database)[-1][0]
        for name in ("asks", "above", "opens")
    }

    found = {finding.subject.name for finding in told(taken(shop, ("web",)), "definer_views")}

    assert found == {name for name, rows in seen.items() if rows} == {"opens"}
