"""What the other databases of the server hold, where the collector was run in them too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kit.collect.elsewhere import COLUMNS as ELSEWHERE
from kit.collect.elsewhere import Answer, others, put_together
from kit.collect.queries import elsewhere_queries
from kit.evidence.columns import conform
from kit.evidence.model import Evidence, Gap

__all__ = ["ELSEWHERE", "elsewhere"]

NOT_ASKED = "the files hold no answer of it"
_INCOMPLETE = "the files hold no list of its relations"


def elsewhere(
    evidence: Mapping[str, Evidence], gaps: Mapping[str, Gap], answered: Mapping[str, Mapping[str, Evidence]]
) -> tuple[Mapping[str, Evidence], Mapping[str, Gap]]:
    """Return the three frames of the other databases, or their gaps where it is not known which there are.

    `answered` is the evidence of every other database that the files hold answers of, by its name.
    """
    if "databases" not in evidence:
        reason = f"which databases there are is not known: {gaps['databases'].reason}"
        return {}, dict.fromkeys(ELSEWHERE, Gap(kind=gaps["databases"].kind, reason=reason))
    databases = evidence["databases"]
    answers = list(_answers(others(databases.frame), answered))
    return put_together(answers, evidence, databases.provenance.at, 0.0), {}


def _answers(names: list[str], answered: Mapping[str, Mapping[str, Evidence]]) -> Iterator[Answer]:
    for name in names:
        found = answered.get(name)
        if found is None:
            yield Answer(name, "not asked", NOT_ASKED)
        elif "relations" not in found or "migration_ledgers" not in found:
            yield Answer(name, "not asked", _INCOMPLETE)
        else:
            own = {key: found[key] for key in ("migration_ledgers", "migrations") if key in found}
            yield Answer(name, "read", None, {**own, "relations_elsewhere": _narrowed(found["relations"])})


def _narrowed(relations: Evidence) -> Evidence:
    """Return the relations with the columns alone that are asked of another database."""
    columns = elsewhere_queries()["relations_elsewhere"][0].columns
    frame = conform(relations.frame[[column.name for column in columns]], columns)
    return replace(relations, frame=frame, columns=columns)
