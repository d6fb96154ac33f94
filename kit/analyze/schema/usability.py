"""Whether a role can use what is expected: each action of each table, asked of the explainer of access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, Question
from kit.analyze.access.holding import held
from kit.analyze.access.resolution import close_to, session_path
from kit.analyze.findings import quoted
from kit.analyze.schema.actual import Actual
from kit.analyze.schema.comparison import NOT_EXAMINED, Difference, Place, located
from kit.analyze.schema.expected import ExpectedRelation, ExpectedSchema, Use


def role_path(catalog: Catalog, role: str) -> tuple[str, ...] | None:
    """Return the schemas in which a session of the role looks, those that it may use first; None where not known.

    A schema without USAGE is left out by the server without a word: what stands in it is named, not found.
    """
    path = session_path(catalog, role)
    if not path.is_known:
        return None
    there = [schema for schema in dict.fromkeys(path.entries) if schema in catalog.schemas]
    return tuple(sorted(there, key=lambda schema: not held(catalog, role, catalog.schemas[schema], "USAGE")))


def missing_role(catalog: Catalog, role: str) -> Difference | None:
    """Return the difference that the role itself is not there, or None where it is."""
    names = catalog.access.graph.names
    if role in names:
        return None
    near = close_to(role, names)
    words = f" Near it: {', '.join(map(quoted, near))}." if near else ""
    because = f"There is no role {quoted(role)} on this server.{words}"
    return Difference("role", "missing", because, expected=role, actual=f"near: {', '.join(near)}" if near else None)


def usability(
    catalog: Catalog, expected: ExpectedSchema, role: str, path: Iterable[str], actual: Actual | None = None
) -> Iterator[Difference]:
    """Yield what the role cannot do with the tables that are there, one difference for each gate that fails."""
    actual, schemas = actual or Actual(catalog.frames), tuple(path)
    for relation in expected.relations:
        place = located(actual, relation, schemas)
        if place is not None:
            yield from _of_place(catalog, actual, place, role)


def _of_place(catalog: Catalog, actual: Actual, place: Place, role: str) -> Iterator[Difference]:
    there = actual.columns.get(place.row["relation_oid"], {})
    answers = {use.action: _asked(catalog, place.expected, use, role, there) for use in place.expected.uses}
    failed = {action: answer for action, answer in answers.items() if answer.first_failed}
    for gate in dict.fromkeys(answer.first_failed.name for answer in failed.values() if answer.first_failed):
        mine = {action: a for action, a in failed.items() if a.first_failed and a.first_failed.name == gate}
        yield _denied(place, role, gate, mine)
    unknown = [action for action, answer in answers.items() if answer.allowed is None and not answer.first_failed]
    if unknown:
        reasons = dict.fromkeys(g.because for action in unknown for g in answers[action].gates if g.status == "unknown")
        because = f"Whether {quoted(role)} may {', '.join(unknown)} {place.qualified} is not known: {'; '.join(reasons)}."
        yield place.difference("access", NOT_EXAMINED, because, expected=", ".join(unknown))


def _asked(catalog: Catalog, relation: ExpectedRelation, use: Use, role: str, there: Mapping[str, Any]) -> Explanation:
    """Return the answer for the table, and where that is no, or no column is expected, the end of it.

    The table is asked about first: what a role lacks altogether is granted on the table, not on its columns of today.
    """
    whole = Question(role, use.action, relation.qualified)
    answer = explained(catalog, whole) if use.columns is None else None
    columns = _columns(relation, use, there)
    if (answer is not None and answer.first_failed) or not columns:
        return answer or explained(catalog, whole)
    return explained(catalog, replace(whole, columns=columns))


def _columns(relation: ExpectedRelation, use: Use, there: Mapping[str, Any]) -> tuple[str, ...]:
    named = use.columns
    if named is None and use.action != "DELETE":
        is_change = use.action in ("INSERT", "UPDATE")
        named = tuple(c.name for c in relation.columns if not (is_change and c.is_generated))
    return tuple(name for name in named or () if name in there)


def _denied(place: Place, role: str, gate: str, answers: Mapping[str, Explanation]) -> Difference:
    actions = ", ".join(answers)
    reasons = dict.fromkeys(a.first_failed.because for a in answers.values() if a.first_failed)
    is_silent = all(answer.allowed for answer in answers.values())
    cannot = f"gets no row from {actions} on" if is_silent else f"may not {actions}"
    because = f"{quoted(role)} {cannot} {place.qualified} ({gate}): {'; '.join(reasons)}."
    statements = dict.fromkeys(remedy.statement for answer in answers.values() for remedy in answer.remedies)
    remedy = ";\n".join(statements) or None
    return place.difference("access", "not usable", because, expected=actions, actual=gate, remedy=remedy)
