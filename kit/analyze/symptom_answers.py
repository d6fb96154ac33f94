"""The case's symptom as questions of access, answered: what the role that it names may not do, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from kit.analyze.access.catalog import Catalog
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, GateName
from kit.analyze.access.privileges import Access
from kit.analyze.error.questions import questions_of
from kit.analyze.error.text import ErrorReading, read_error
from kit.analyze.findings import Examined, Finding, Judgement, NotExamined, Subject, quoted
from kit.errors import ParameterError
from kit.evidence.model import Frames
from kit.evidence.records import records


def refusals(frames: Frames, gates: Collection[GateName]) -> Iterator[Judgement]:
    """Yield a finding if the symptom's role is refused at one of these gates before any other.

    Nothing where the symptom names no role, or one that this server has not, or another database than this.
    """
    for position, symptom in enumerate(records(frames["symptom"])):
        reading = read_error(symptom["text"])
        if _is_anonymous(reading) and (reading.database is not None) == ("connect" in gates):
            yield NotExamined("the role of the symptom", "the symptom names none: give the whole log line, with its user=")
        answers = _answers(frames, reading)
        if answers:
            yield Examined(len(answers))
        refused = [answer for answer in answers if _stops_at(answer, gates)]
        if refused:
            yield _finding(refused, position, symptom["relation_name"])


def _is_anonymous(reading: ErrorReading) -> bool:
    """Return whether somebody was denied something, and nobody says who: then nothing clears the privileges."""
    return reading.trouble == "denied" and reading.session.role is None and reading.role is None


def _stops_at(answer: Explanation, gates: Collection[GateName]) -> bool:
    failed = answer.first_failed
    return failed is not None and not failed.is_silent and failed.name in gates


def _answers(frames: Frames, reading: ErrorReading) -> list[Explanation]:
    role = reading.session.role or reading.role
    here = frames.identity.database if frames.identity else None
    is_here = reading.session.database in (None, here)
    if role is None or not is_here or role not in set(frames["roles"]["role_name"]):
        return []
    catalog = Catalog(frames, Access(frames))
    try:
        return [explained(catalog, question) for question in questions_of(reading, frames, role, access=catalog.access)]
    except ParameterError:
        return []  # what it names is no name, or takes no such action


def _finding(refused: Sequence[Explanation], position: int, relation: str | None) -> Finding:
    role = refused[0].question.role
    remedies = dict.fromkeys(remedy.statement for answer in refused for remedy in answer.remedies)
    return Finding(
        severity="critical",
        subject=Subject("role", role),
        message=f"role {quoted(role)} is refused " + "; ".join(dict.fromkeys(map(_told, refused))),
        remedy=";\n".join(remedies) or "No single statement mends it: see the reason.",
        evidence=("symptom", (position,)),
        relations=frozenset({relation} if relation else ()),
    )


def _told(answer: Explanation) -> str:
    failed = answer.first_failed
    at = f" at {failed.name}: {failed.because}" if failed else ""
    return f"{answer.question.action} on {answer.object_name or answer.question.name}{at}"
