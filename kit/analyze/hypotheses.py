"""The stated causes of a symptom, each supported, refuted or open by the evidence."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kit.analyze.document import Hypothesis
from kit.analyze.findings import Finding, Result
from kit.analyze.symptom import Symptom
from kit.analyze.verdict import explaining, explains
from kit.errors import ParameterError

_DENIED = frozenset({"42P01", "42501", "3F000"})
_ROLES_SHOWN = 3
_SAW_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Stated:
    """A cause that somebody has stated, and the checks that would find something if it were so."""

    statement: str
    checks: tuple[str, ...]


def hypotheses(results: Sequence[Result], symptom: Symptom | None, stated: Iterable[Stated] = ()) -> list[Hypothesis]:
    """Return the stated causes, then those worth weighing for a missing or forbidden relation; none for other symptoms."""
    return [*(_resolved(one, results, symptom) for one in stated), *_weighed(results, symptom)]


def parse_stated(text: str, known: Collection[str]) -> Stated:
    """Return what `TEXT=check,check` states; ParameterError where it names no check, or one that there is not.

    >>> parse_stated("a = b is wrong=refused_logins, missing_databases", ["refused_logins", "missing_databases"]).checks
    ('refused_logins', 'missing_databases')
    """
    # A cause may hold an equals sign; the name of a check does not.
    statement, _, names = text.rpartition("=")
    return checked(statement, [name for name in names.split(",") if name.strip()], known)


def checked(statement: str, names: Iterable[str], known: Collection[str]) -> Stated:
    """Return the stated cause; ParameterError, one sentence with near names, where it cannot be decided by these checks."""
    words, tied = " ".join(statement.split()), tuple(dict.fromkeys(name.strip() for name in names))
    if not words or not tied:
        hint = 'Write --hypothesis "the server is full=exhausted_connection_slots"; `kit checks` lists the names.'
        raise ParameterError("A hypothesis needs a text and at least one check that would decide it.", hint)
    for name in tied:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`kit checks` lists the names."
            raise ParameterError(f"The hypothesis {words!r} names no check {name!r}.", hint)
    return Stated(words, tied)


def _resolved(stated: Stated, results: Sequence[Result], symptom: Symptom | None) -> Hypothesis:
    """Return it supported where a tied check found what could explain the symptom; refuted where all are clean."""
    tied = [result for result in results if result.check in stated.checks]
    found = [f.fingerprint for result in tied for f in result.findings if explains(f, result, symptom)]
    clean = [result for result in tied if result.status == "clean" and result.complete and result.in_scope]
    against = [_examined(result, results) for result in clean]
    if found:
        return Hypothesis(statement=stated.statement, status="supported", for_=found, against=against)
    is_refuted = len(clean) == len(tied) and {result.check for result in clean} == set(stated.checks)
    return Hypothesis(statement=stated.statement, status="refuted" if is_refuted else "open", against=against)


def _examined(result: Result, results: Sequence[Result]) -> str:
    """Return the evidence against: the check, what it examined and saw, and on which source where there are several."""
    several = len({other.source for other in results if other.check == result.check}) > 1
    where = f" on {result.source}" if several else ""
    examined = f", {result.examined} examined" if result.examined else ""
    saw = f" ({'; '.join(result.saw[:_SAW_SHOWN])})" if result.saw else ""
    return f"{result.check}{where}: clean{examined}{saw}"


def _weighed(results: Sequence[Result], symptom: Symptom | None) -> list[Hypothesis]:
    if symptom is None or symptom.relation is None or symptom.sqlstates.isdisjoint(_DENIED):
        return []
    return [_never_created(results, symptom), _not_permitted(results, symptom), _migration(results, symptom)]


def _never_created(results: Sequence[Result], symptom: Symptom) -> Hypothesis:
    statement = f'The relation "{symptom.relation}" was never created in this database.'
    found = _fingerprints(explaining(results, "schema", symptom))
    if symptom.relation_exists is None:
        return Hypothesis(statement=statement, status="open")
    if symptom.relation_exists:
        return Hypothesis(statement=statement, status="refuted", against=["relations"])
    return Hypothesis(statement=statement, status="supported", for_=found or ["relations"])


def _not_permitted(results: Sequence[Result], symptom: Symptom) -> Hypothesis:
    explained = explaining(results, "privileges", symptom)
    statement = f'"{symptom.relation}" is there, but {_kept_out(explained, symptom)} may not reach it.'
    found = _fingerprints(explained)
    complete = all(result.complete for result in results if result.layer == "privileges" and result.in_scope)
    if found:
        return Hypothesis(statement=statement, status="supported", for_=found)
    if symptom.relation_exists is False:
        return Hypothesis(statement=statement, status="refuted", against=["relations"])
    if complete and symptom.relation_exists:
        return Hypothesis(statement=statement, status="refuted", against=["schema_grants"])
    return Hypothesis(statement=statement, status="open")


def _kept_out(findings: Iterable[Finding], symptom: Symptom) -> str:
    """Return the roles that the findings keep from the relation, in words."""
    roles = [f.subject.name for f in findings if f.subject.kind == "role" and symptom.relation in f.relations]
    names = [f'"{name}"' for name in dict.fromkeys(roles)]
    if not names:
        return "the role that asks"
    if len(names) > _ROLES_SHOWN:
        names[_ROLES_SHOWN:] = [f"{len(names) - _ROLES_SHOWN} more"]
    return f"role {names[0]}" if len(names) == 1 else f"roles {', '.join(names[:-1])} and {names[-1]}"


def _migration(results: Sequence[Result], symptom: Symptom) -> Hypothesis:
    statement = "A failed or unfinished migration left the relation out."
    failed = _fingerprints(f for r in results if r.check == "failed_migrations" for f in r.findings)
    if symptom.relation_exists:
        return Hypothesis(statement=statement, status="refuted", for_=failed, against=["relations"])
    return Hypothesis(statement=statement, status="supported" if failed else "open", for_=failed)


def _fingerprints(findings: Iterable[Finding]) -> list[str]:
    return [finding.fingerprint for finding in findings]
