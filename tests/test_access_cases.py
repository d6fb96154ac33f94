"""The rules of the server that the explainer once had wrong, each alone: a set-up, a statement, and the gate that stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from psycopg import errors, sql

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation
from kit.analyze.statement.access import asked_of
from kit.sandbox.server import Server
from tests.access_oracle import frames_of


@dataclass(frozen=True)
class Case:
    """`gate` is the first that fails (None: the statement runs), as the role of that name; `rows` what it leaves."""

    setup: str
    statement: str
    gate: str | None = None
    rows: str | None = "all"
    since: int = 13


# A table of the owner's with rows, a function that the role may not call, and a table that it may not read.
BASE = """
create table t (a int, b int); insert into t select g, g from generate_series(5, 15) as g;
create table u (a int, b int); insert into u select g, g from generate_series(5, 15) as g;
create function f(int) returns boolean language plpgsql immutable as 'begin return true; end';
revoke execute on function f from public;
grant all on t to {role}; alter table t owner to {owner}; grant select on u to {owner};
"""
SECURED = "alter table t enable row level security; "
COMPUTED = """
create view v as select a, (select count(*) from u)::int as b from t; alter view v owner to {middle};
grant all on v to {role}; grant all on t to {middle};
"""

CASES = {
    "a sub-select in a view's column is not asked where another column is read": Case(COMPUTED, "select a from v"),
    "a sub-select in a view's column is asked where that column is read": Case(COMPUTED, "select b from v", "view owner", None),
    "a sub-select in a column of a view below is asked only where it is read": Case(
        COMPUTED + "create view w as select a, b from v; grant select on w to {role}", "select a from w"
    ),
    "a column of a view below is read by the condition of the view": Case(
        COMPUTED + "create view w as select a from v where b > 0; grant select on w to {role}",
        "select a from w",
        "view owner",
        None,
    ),
    "an insert through a view does not look at its condition": Case(
        "create view v as select a, b from t where f(a); alter view v owner to {owner}; grant all on v to {role}",
        "insert into v (a) values (1)",
    ),
    "an insert through a view with a check option does": Case(
        """create view v as select a, b from t where f(a) with check option; alter view v owner to {owner};
        grant all on v to {role}""",
        "insert into v (a) values (1)",
        "function",
        None,
    ),
    "a cascaded check option holds for the view below": Case(
        """create view v as select a, b from t where f(a); alter view v owner to {owner};
        create view w as select a, b from v with cascaded check option; alter view w owner to {owner};
        grant all on w to {role}""",
        "insert into w (a) values (1)",
        "function",
        None,
    ),
    "a computed column of a view cannot be written": Case(COMPUTED, "update v set b = 1", "view owner", None),
    "a renamed column of a view is the base's": Case(
        """create view v as select b as a, a as b from t; alter view v owner to {middle}; grant all on v to {role};
        grant update (a) on t to {middle}""",
        "update v set b = 1",
    ),
    "a renamed column of a view is not the base's of the same name": Case(
        """create view v as select b as a, a as b from t; alter view v owner to {middle}; grant all on v to {role};
        grant update (a) on t to {middle}""",
        "update v set a = 1",
        "view owner",
        None,
    ),
    "a constraint's function is called for a row": Case("alter table t add check (f(a))", "update t set a = 1", "function", None),
    "a constraint's function is not called without a row": Case(
        SECURED + "alter table t add check (f(a))", "update t set a = 1", "row security", "none"
    ),
    "the function of a WITH CHECK is called before there is a row": Case(
        SECURED + "create policy p on t for update using (false) with check (f(a))", "update t set a = 1", "row security", "none"
    ),
    "a permissive true folds the others away": Case(
        SECURED + "create policy p on t using (true); create policy q on t using (f(a))", "select a from t"
    ),
    "a function of a policy is called as the caller": Case(
        SECURED + "create policy p on t using (f(a))", "select a from t", "function", None
    ),
    "a function beside a constant false is not called": Case(
        SECURED + "create view v as select a from t where f(a); alter view v owner to {middle}; grant select on v to {role}; "
        "grant select on t to {middle}",
        "select a from v",
        "row security",
        "none",
        17,
    ),
    "a function in a policy's sub-select is called even beside a constant false": Case(
        SECURED + """create policy p on t using (false);
        create policy q on t as restrictive using (exists (select from u)); grant select on u to {role};
        alter table u enable row level security; create policy p on u using (f(a))""",
        "select a from t",
        "row security",
        "none",
    ),
    "an identity column needs no privilege on its sequence": Case(
        "alter table t add c int generated always as identity", "insert into t (a) values (1)"
    ),
    "a default with nextval does": Case("alter table t add c serial", "insert into t (a) values (1)", "sequence", None),
    "a security_invoker view inside another is asked as the caller": Case(
        """create view v with (security_invoker = true) as select a from u; alter view v owner to {owner};
        create view w as select a from v; alter view w owner to {owner}; grant select on w to {role}""",
        "select a from w",
        "view owner",
        None,
        15,
    ),
    "EXECUTE in a view is the caller's": Case(
        "create view v as select a from t where f(a); alter view v owner to {owner}; grant select on v to {role}",
        "select a from v",
        "function",
        None,
    ),
    "a policy's sub-select is asked as whoever the policy is applied to": Case(
        SECURED + "create policy p on t using (exists (select from u))", "select a from t", "row security", None
    ),
    "a policy that reads its own table": Case(
        SECURED + "create policy p on t using (exists (select from t as x))", "select a from t", "row security", None
    ),
    "a policy that reads its own table is met even where it is folded away": Case(
        SECURED + "create policy p on t using (true); create policy q on t using (exists (select from t as x))",
        "select a from t",
        "row security",
        None,
    ),
    "a policy that reads a view that reads the table": Case(
        """create view v as select a from t; alter view v owner to {middle}; grant select on t to {middle};
        grant select on v to {role};
        alter table t enable row level security; create policy p on t using (exists (select from v))""",
        "select a from v",
        "row security",
        None,
    ),
    "RETURNING needs SELECT": Case(
        "revoke select on t from {role}", "insert into t (a) values (1) returning a", "column privilege", None
    ),
    "RETURNING has the new row meet the policies of SELECT": Case(
        SECURED + "create policy p on t for insert with check (true)",
        "insert into t (a) values (1) returning a",
        "row security",
        "none",
    ),
    "a generated column is made anew only where its columns change": Case(
        "alter table t add c boolean generated always as (f(a)) stored; alter table t disable trigger all", "update t set b = 1"
    ),
    "a generated column's function is not made ready without a row": Case(
        SECURED + "alter table t add c boolean generated always as (f(a)) stored",
        "update t set a = 1",
        "row security",
        "none",
        16,
    ),
    "a trigger's condition is called as the caller": Case(
        """create function n() returns trigger language plpgsql as 'begin return new; end';
        create trigger n before update on t for each row when (f(new.a)) execute function n()""",
        "update t set a = 1",
        "function",
        None,
    ),
    "a disabled trigger is not": Case(
        """create function n() returns trigger language plpgsql as 'begin return new; end';
        create trigger n before update on t for each row when (f(new.a)) execute function n(); alter table t disable trigger n""",
        "update t set a = 1",
    ),
    "a foreign key is checked as the owner of the other table": Case(
        """create table k (a int primary key); insert into k values (1); alter table k owner to {middle};
        revoke all on k from {middle}; alter table t add foreign key (b) references k not valid""",
        "insert into t (b) values (1)",
        "function",
        None,
    ),
    "a foreign key is not checked where its column is not written": Case(
        """create table k (a int primary key); insert into k values (1); alter table k owner to {middle};
        revoke all on k from {middle}; alter table t add foreign key (b) references k not valid""",
        "update t set a = 1",
    ),
    "a view with an INSTEAD OF trigger takes changes, and so does a view of it": Case(
        """create view v as select a, count(*) as b from t group by a; grant all on v to {owner}; alter view v owner to {owner};
        create function n() returns trigger language plpgsql as 'begin return new; end';
        create trigger n instead of insert on v for each row execute function n();
        create view w as select a, b from v; alter view w owner to {owner}; grant all on w to {role}""",
        "insert into w (a) values (1)",
    ),
    "ON CONFLICT DO UPDATE needs UPDATE": Case(
        "alter table t add unique (a); revoke update on t from {role}",
        "insert into t (a, b) values (5, 1) on conflict (a) do update set b = 2",
        "object privilege",
        None,
    ),
    "FOR UPDATE needs UPDATE": Case(
        "revoke update on t from {role}", "select a from t for update", "object privilege", None
    ),
    "a partition that is named directly is asked for itself": Case(
        "create table p (a int) partition by range (a); create table p1 partition of p default; grant select on p to {role}",
        "select a from p1",
        "object privilege",
        None,
    ),
    "a partition below its parent is not asked": Case(
        "create table p (a int) partition by range (a); create table p1 partition of p default; grant select on p to {role}",
        "select a from p",
    ),
}  # fmt: skip


@pytest.fixture
def roles(server: Server, database: str) -> Iterator[dict[str, str]]:
    names = {key: f"{key}_{time.monotonic_ns()}" for key in ("owner", "middle", "role")}
    for name in names.values():
        server.execute(f"create role {name} login")
    yield names
    with server.connect(database) as connection:
        for name in names.values():
            connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", list(CASES))
def test_the_rule_is_the_servers(server: Server, database: str, roles: dict[str, str], name: str) -> None:
    case = CASES[name]
    if server.version < case.since:
        pytest.skip(f"holds from PostgreSQL {case.since} on")
    with server.connect(database) as connection:
        for part in (BASE, case.setup):
            for key, value in roles.items():
                part = part.replace(f"{{{key}}}", value)
            connection.execute(part.encode())
    answers = judged(server, database, roles["role"], case.statement)
    refused = tried(server, database, roles["role"], case.statement)
    stopping = [answer for answer in answers if answer.first_failed]
    assert (stopping[0].first_failed.name if stopping else None) == case.gate, [answer.to_record() for answer in answers]
    assert all(answer.allowed is not None for answer in answers)
    assert (any(answer.allowed is False for answer in answers)) == (refused is not None), refused
    assert answers[0].rows == case.rows or stopping


def judged(server: Server, database: str, role: str, statement: str) -> list[Explanation]:
    frames = frames_of(server, database)
    catalog = Catalog(frames)
    return [explained(catalog, question) for question in asked_of(statement, role, frames)]


def tried(server: Server, database: str, role: str, statement: str) -> str | None:
    """What the server says to the role that has logged in."""
    with server.connect(database, user=role) as connection:
        try:
            connection.execute(statement.encode())
        except (errors.InsufficientPrivilege, errors.InvalidObjectDefinition, errors.FeatureNotSupported) as error:
            return str(error)
    return None
