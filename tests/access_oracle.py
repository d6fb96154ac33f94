"""Every statement that the explainer judges is really tried, as the role, and rolled back: where the two differ."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from kit.analyze.access.catalog import Catalog as Objects
from kit.analyze.access.catalog import Relation
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, Question
from kit.sandbox.server import Server
from tests.random_catalog import Catalog
from tests.random_uses import COUNTED, Name, extend
from tests.test_access import frames_of

# What the server says when it refuses for reasons of access: privileges, names, policies that read themselves, views.
REFUSALS = {"42501", "42P01", "3F000", "42P17", "55000", "0A000", "42809"}
DOUBT = re.compile("as the caller, and its text names|whether the server comes to that is not known")


ROLES = 6


@dataclass(frozen=True)
class Trial:
    """A statement, and the question that it asks of the explainer."""

    statement: str
    action: str
    columns: tuple[str, ...] | None = None
    reads: tuple[str, ...] | None = None


TRIALS = (
    Trial("select count(*) from {}", "SELECT", ()),
    Trial("select count(x) from {} as x", "SELECT", ("*",)),
    Trial("select count(a) from {}", "SELECT", ("a",)),
    Trial("select count(b) from {} where a is not null", "SELECT", ("a", "b")),
    Trial("insert into {} default values", "INSERT", ()),
    Trial("insert into {} (a, b) values (12, 12)", "INSERT", ("a", "b")),
    Trial("insert into {} (a, b) values (12, 12) returning a", "INSERT", ("a", "b"), ("a",)),
    Trial("update {} set a = 12", "UPDATE", ("a",)),
    Trial("update {} set a = 12 returning b", "UPDATE", ("a",), ("b",)),
    Trial("update {} set b = 12 where a > 0", "UPDATE", ("b",), ("a",)),
    Trial("delete from {}", "DELETE"),
    Trial("delete from {} where b > 0", "DELETE", None, ("b",)),
    Trial("truncate {}", "TRUNCATE"),
)


@dataclass(frozen=True)
class Outcome:
    """What the server said: nothing, or its SQLSTATE and words; and the number of rows."""

    sqlstate: str | None
    words: str
    rows: int


@contextlib.contextmanager
def staged(running: Server, seed: int) -> Iterator[tuple[Catalog, dict[Name, Name]]]:
    catalog = Catalog(seed, running.version)
    running.create_database(catalog.database)
    try:
        statements = catalog.build()
        bases = extend(catalog)
        with running.connect(catalog.database) as connection:
            for statement in statements:
                connection.execute(statement)
        yield catalog, bases
    finally:
        with running.connect() as connection:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(catalog.database)))
            for role in reversed(catalog.roles):
                connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))


# Tries each statement and takes it back: as whoever calls, many in one go.
TRIES = """
create schema tries; grant usage on schema tries to public;
create function tries.all(statements text[]) returns table (state text, words text, touched bigint) language plpgsql as $$
declare statement text; number bigint;
begin
  foreach statement in array statements loop
    begin
      number := 0;
      if statement like 'select%' then
        execute statement into number;
      else
        execute statement; get diagnostics number = row_count;
      end if;
      raise exception 'done' using errcode = 'ZZ999';
    exception when others then
      state := sqlstate; words := sqlerrm; touched := number; return next;
    end;
  end loop;
end $$
"""


@dataclass(frozen=True)
class Case:
    """One statement of one role, with the explainer's answer."""

    trial: Trial
    relation: Relation
    answer: Explanation

    @property
    def statement(self) -> str:
        return self.trial.statement.format(self.relation.qualified)


@dataclass
class Compared:
    """What became of the verdicts of one catalog."""

    verdicts: int = 0
    unknown: int = 0
    remedies: int = 0
    differences: list[str] = field(default_factory=list)


def compare(running: Server, seed: int) -> Compared:
    """Every statement of some roles in one random catalog, judged and tried."""
    compared = Compared()
    with staged(running, seed) as (catalog, bases):
        objects = Objects(frames_of(running, catalog.database))
        with running.connect(catalog.database, autocommit=False) as connection:
            connection.execute(TRIES)
            # More catalogs find more than more roles in one.
            for role in catalog.chance.sample(catalog.roles, ROLES):
                cases = [case(objects, role, relation, trial) for relation in relations_of(objects) for trial in TRIALS]
                _try_all(connection, role, cases, bases, compared)
    return compared


def _try_all(connection: psycopg.Connection, role: str, cases: list[Case], bases: dict[Name, Name], compared: Compared) -> None:
    compared.verdicts += len(cases)
    for item, outcome in zip(cases, tried(connection, role, [item.statement for item in cases]), strict=True):
        base = bases.get((str(item.relation.schema), item.relation.name))
        compared.unknown += item.answer.allowed is None
        if fault := disagreement(item.answer, outcome, is_counted=base is not None):
            compared.differences.append(told(role, item, fault, outcome))
    denied = [item for item in cases if item.answer.to_record()["remedy"] and not _has_unknown(item.answer)]
    for item in denied[:: max(1, len(denied) // 15)]:
        compared.remedies += 1
        if fault := unmended(connection, role, item):
            compared.differences.append(told(role, item, *fault))


def _has_unknown(answer: Explanation) -> bool:
    return any(gate.status == "unknown" or (gate.status == "failed" and DOUBT.search(gate.because)) for gate in answer.gates)


def told(role: str, item: Case, fault: str, outcome: Outcome, parts: Sequence[str] = ()) -> str:
    gates = [f"{gate.name} {gate.status}: {gate.because}" for gate in item.answer.gates if gate.status in ("failed", "unknown")]
    lines = [f"{role}: {item.statement}", f"{fault}; server: {outcome}; rows {item.answer.rows}", *gates, *parts]
    return "\n    ".join(lines)


def relations_of(objects: Objects) -> list[Relation]:
    found = [relation for relation in objects.relations.values() if relation.kind != "sequence"]
    return [relation for relation in found if {"a", "b"} <= set(objects.columns[relation.oid])]


def case(objects: Objects, role: str, relation: Relation, trial: Trial) -> Case:
    question = Question(role, trial.action, relation.qualified, columns=trial.columns, read_columns=trial.reads)
    return Case(trial, relation, explained(objects, question))


def tried(connection: psycopg.Connection, role: str, statements: list[str]) -> list[Outcome]:
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    rows = connection.execute("select * from tries.all(%s)", [statements]).fetchall()
    connection.execute("reset role")
    return [Outcome(None, "", found) if state == "ZZ999" else Outcome(state, words, 0) for state, words, found in rows]


def unmended(connection: psycopg.Connection, role: str, item: Case) -> tuple[str, Outcome, list[str]] | None:
    """What is wrong with the remedy: the server refuses it, it does not help, or a part of it is not needed."""
    behind = [gate for gate in item.answer.gates if gate.name not in ("login", "connect")]
    mended = [gate.remedy.statement for gate in behind if gate.status == "failed" and gate.remedy]
    parts = list(dict.fromkeys(part for statements in mended for part in statements.split(";\n")))
    outcome = after(connection, role, item, parts)
    if refuses(outcome):
        return "the remedy does not help", outcome, parts
    # A policy may be needed to see any row at all, without which there is no error; a constraint's function is, for a row.
    # Two gates may each need the same relation, of roles that inherit from each other or of one on its columns and the other not.
    needed = Counter(_privilege_and_object(part) for part in parts)
    single = [part for part in parts if needed[_privilege_and_object(part)] == 1]
    others = {part: [other for other in parts if other != part] for part in single if len(parts) > 1 and part.startswith("grant")}
    without = {part: after(connection, role, item, rest) for part, rest in others.items()}
    is_update = item.trial.action in ("UPDATE", "DELETE")
    needless = [part for part, found in without.items() if found.sqlstate is None and (found.rows or not is_update)]
    return ("a part of the remedy is not needed", outcome, needless) if needless else None


def _privilege_and_object(grant: str) -> tuple[str, str]:
    start, _, rest = grant.partition(" on ")
    return " ".join(start.split()[:2]), rest.rpartition(" to ")[0]


def after(connection: psycopg.Connection, role: str, item: Case, remedies: list[str]) -> Outcome:
    connection.execute("savepoint remedy")
    try:
        for remedy in remedies:
            connection.execute(remedy.encode())
        return tried(connection, role, [item.statement])[0]
    finally:
        connection.execute("rollback to savepoint remedy")


def refuses(outcome: Outcome) -> bool:
    return outcome.sqlstate in REFUSALS and "new row violates" not in outcome.words


def disagreement(answer: Explanation, outcome: Outcome, *, is_counted: bool) -> str | None:
    behind = [gate for gate in answer.gates if gate.name not in ("login", "connect")]
    failed = [gate for gate in behind if gate.status == "failed" and not gate.is_silent]
    refused = outcome.sqlstate in REFUSALS
    of_a_row = refused and "row-level security policy" in outcome.words
    if any(gate.status == "unknown" for gate in behind) and not failed:
        doubts = [gate.because for gate in behind if gate.status == "unknown"]
        return None if all(DOUBT.search(because) for because in doubts) else "unknown"
    if failed and not refused:
        # A WITH CHECK that lets nothing through, or a constraint's function, is met only by a row.
        names = {gate.name for gate in failed}
        is_unmet = names <= {"row security", "function"} and answer.question.action in ("UPDATE", "DELETE") and outcome.rows == 0
        # The data may be refused before a constraint's function or a foreign key is come to.
        is_of_data = names == {"function"} and (outcome.sqlstate or "").startswith(("23", "44"))
        return None if (is_unmet and outcome.sqlstate is None) or is_of_data else "denied, but the server does it"
    if refused and not failed:
        return None if of_a_row and answer.rows == "filtered" else "allowed, but the server refuses"
    if outcome.sqlstate is None and is_counted and answer.question.action == "SELECT":
        expected = {"all": outcome.rows == COUNTED, "none": outcome.rows == 0, "filtered": outcome.rows <= COUNTED}
        return None if answer.rows and expected[answer.rows] else f"rows {answer.rows}"
    return None
