"""The stated causes of a symptom, each supported, refuted or open by the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kit.analyze.document import Hypothesis
from kit.analyze.findings import Finding, Result
from kit.analyze.symptom import Symptom
from kit.analyze.verdict import explaining

_DENIED = frozenset({"42P01", "42501", "3F000"})
_ROLES_SHOWN = 3


def hypotheses(results: Sequence[Result], symptom: Symptom | None) -> list[Hypothesis]:
    """Return the causes worth weighing for a missing or forbidden relation; none for other symptoms."""
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
