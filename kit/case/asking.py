"""Questions of access for the command line and the notebooks: what is asked, of which evidence, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from pglast import parser

from kit.analyze import whereabouts
from kit.analyze.access.catalog import WANTED, Catalog
from kit.analyze.access.explain import explained
from kit.analyze.access.explanation import Explanation, ObjectKind, Question
from kit.analyze.access.privileges import NEEDS, Access
from kit.analyze.access.search_path import identifiers
from kit.analyze.document import FindingsDocument
from kit.analyze.error.questions import questions_of
from kit.analyze.error.text import read_error
from kit.analyze.findings import quoted
from kit.analyze.placeholders import readable
from kit.analyze.service_roles import ServiceRoles
from kit.analyze.statement.access import asked_of
from kit.case.sources import database_source
from kit.case.tables import ELSEWHERE
from kit.collect.queries import fact_queries
from kit.errors import CaptureError, ParameterError
from kit.evidence.model import Capture, Frames, Source
from kit.present.access import AccessStory
from kit.present.access_views import Whereabouts
from kit.present.displays import Display, Sentence
from kit.target import Target

# A symptom names no role: so many of the roles that may log in are asked about.
ROLES_LIMIT = 25
_FIRST_ACTION = {"function": "EXECUTE", "schema": "USAGE", "type": "USAGE", "database": "CONNECT"}
_EVIDENCE = {*NEEDS, *WANTED, "settings", "session", "default_privileges", "foreign_keys", "migration_ledgers"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks: an object and an action, a statement, or the text of an error; the role may stand in the last."""

    role: str | None = None
    action: str = "SELECT"
    name: str | None = None
    kind: ObjectKind = "relation"
    columns: tuple[str, ...] | None = None
    statement: str | None = None
    error: str | None = None


def asked_for(
    role: str | None,
    action: str | None,
    objects: Mapping[str, str | None],
    columns: str | None,
    statement: str | None,
    error: str | None,
) -> Asked:
    """Return what the words of the command line ask; ParameterError where they name two things."""
    named = [(kind, name) for kind, name in objects.items() if name is not None]
    if len(named) + bool(statement) > 1 or (error and named):
        hint = "Give one of --relation, --function, --schema, --type, --database, --statement; or --error alone."
        raise ParameterError("More than one thing is named.", hint)
    kind, name = named[0] if named else ("relation", None)
    if statement and (action or columns):
        raise ParameterError("A statement says by itself what it does.", "Leave out --action and --columns.")
    listed = None if columns is None else identifiers(columns)
    if columns is not None and listed is None:
        raise ParameterError(f"{columns!r} is no list of columns.", 'Write it as SQL would: id,"Order date".')
    chosen = (action or _FIRST_ACTION.get(kind, "SELECT")).upper()
    return Asked(role, chosen, name, cast(ObjectKind, kind), listed, statement, error)


def evidence_wanted(*, elsewhere: bool = False) -> tuple[str, ...]:
    """Return the names of the evidence that a question of access needs; with what other databases hold, if asked for."""
    return (*sorted(_EVIDENCE & fact_queries().keys()), *(ELSEWHERE if elsewhere else ()))


def frames_of(target: Target, source: str | None = None, *, elsewhere: bool = False) -> Frames:
    """Return the frames of one database of a target, captured now or from its bundle.

    TargetError for an unknown source; CaptureError where the server did not answer.
    """
    from kit.case.collecting import collected

    taken = collected(target, only=evidence_wanted(elsewhere=elsewhere))
    return Frames(_reached(database_source(taken, source), target.name))


def answers(frames: Frames, asked: Asked) -> list[Explanation]:
    """Return an explanation for each thing that is asked; UnknownRole or ParameterError where it cannot be asked."""
    access = Access(frames)
    catalog = Catalog(frames, access)
    questions = _questions(frames, asked, access)
    if not questions:
        raise ParameterError(
            "Nothing in it needs a privilege that could be asked about.", "Give a statement that names a relation."
        )
    found = [explained(catalog, question) for question in questions]
    return found if not asked.error or asked.statement else [_refused_action(catalog, answer, asked.error) for answer in found]


def _refused_action(catalog: Catalog, answer: Explanation, error: str) -> Explanation:
    """Return the answer for the action that is refused: "denied" without a statement does not say which one it was."""
    reading, question = read_error(error), answer.question
    if not works(answer) or reading.trouble != "denied" or reading.statement is not None or question.kind != "relation":
        return answer
    others = (explained(catalog, replace(question, action=action)) for action in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"))
    return next((other for other in others if not works(other) and _is_possible(other)), answer)


def works(answer: Explanation) -> bool:
    """Return whether nothing stands in the way, not even silently."""
    return answer.allowed is True and answer.first_failed is None


def _is_possible(answer: Explanation) -> bool:
    """Return whether the action is one for this kind of relation at all."""
    return not any(gate.because.startswith(f"{answer.question.action} is not for a") for gate in answer.gates)


def is_nowhere(found: Iterable[Explanation]) -> bool:
    """Return whether something was not found in this database, so that the others are worth a look."""
    return any(answer.object_name is None and answer.question.kind == "relation" for answer in found)


def story(capture: Capture, document: FindingsDocument, role: str, relation: str, action: str) -> Display:
    """Return the answers about a case: to what is given, else to its symptom, else to its first finding about a role."""
    source = next((source for source in capture.sources if "relations" in source.evidence), None)
    if source is None:
        return Sentence("No database was reached, so nothing can be said about its permissions.")
    frames = Frames(source)
    try:
        asked, origin = _asked_by_case(frames, document, role, relation, action.upper())
        found = tuple(answer for item in asked for answer in answers(frames, item))
    except (ParameterError, KeyError) as error:
        return Sentence(str(error))
    return AccessStory(_the_telling(found), origin, frames)


def whereabouts_of(capture: Capture, document: FindingsDocument, name: str) -> Display:
    """Return where a name is in the databases that were looked at."""
    source = next((source for source in capture.sources if "relations" in source.evidence), None)
    reading = read_error(document.symptom or "")
    wanted = name or (reading.relation and ".".join(quoted(part) for part in (reading.schema, reading.relation) if part))
    if source is None or not wanted:
        return Sentence(
            "Nothing is searched for: the case's symptom names no relation." if source else "No database was reached."
        )
    frames = Frames(source)
    role = reading.session.role if reading.session.role in set(frames["roles"]["role_name"]) else None
    return Whereabouts(
        wanted, whereabouts.search(frames, wanted, None if name else reading.column, role), whereabouts.databases(frames)
    )


def _questions(frames: Frames, asked: Asked, access: Access) -> list[Question]:
    role = asked.role
    if asked.error:
        found = questions_of(read_error(asked.error), frames, role, asked.statement, access)
        if not found:
            hint = "Give --relation and --action, or --statement."
            raise ParameterError("The error names nothing whose access could be asked about.", hint)
        return found
    if role is None:
        raise ParameterError("No role is named.", "Give --role, or --error with a log line that names it.")
    if asked.statement:
        refuse_several(asked.statement)
        return asked_of(asked.statement, role, frames, access)
    if asked.name is None:
        raise ParameterError(
            "Nothing is named to ask about.", "Give --relation (or --function, --schema …), --statement or --error."
        )
    return [Question(role, asked.action, asked.name, asked.kind, asked.columns)]


def refuse_several(text: str) -> None:
    """Raise ParameterError where the text holds more than one statement."""
    if len(parser.parse_sql(readable(text)[0])) > 1:
        raise ParameterError("There is more than one statement.", "Give them one at a time: each has its own answer.")


def _asked_by_case(frames: Frames, document: FindingsDocument, role: str, relation: str, action: str) -> tuple[list[Asked], str]:
    if relation:
        roles = [role] if role else _services(frames)
        return [Asked(name, action or "SELECT", relation) for name in roles], ""
    if document.symptom:
        reading = read_error(document.symptom)
        named = role or reading.session.role or reading.role
        accused = [] if named else _accused(document)
        roles = [named] if named else accused or _services(frames)
        asked = [Asked(name, error=document.symptom) for name in roles] if _names_something(reading) else []
        if asked:
            whom = "" if named else ", for the roles that findings name" if accused else ", for every role that may log in"
            return asked, f"Asked by the case's symptom{whom}."
    return _asked_by_finding(document, role, action)


def _accused(document: FindingsDocument) -> list[str]:
    """Return the roles that critical findings about access are about: the symptom itself seldom names one."""
    found = (finding for result, finding in document.findings() if result.area in ("permissions", "triage"))
    return list(dict.fromkeys(f.subject.name for f in found if f.subject.kind == "role" and f.severity == "critical"))


def _names_something(reading: object) -> bool:
    return any(getattr(reading, name) for name in ("relation", "schema", "function", "sequence", "statement"))


def _asked_by_finding(document: FindingsDocument, role: str, action: str) -> tuple[list[Asked], str]:
    for result, finding in document.findings():
        if result.area == "permissions" and finding.subject.kind == "role" and finding.subject.schema_:
            schema = quoted(finding.subject.schema_)
            asked = Asked(role or finding.subject.name, action or "USAGE", schema, "schema")
            return [asked], f"Asked by the first finding about a role ({result.check})."
    return [], "The case has no symptom that names anything, and no finding about a role: give a role and a relation."


def _services(frames: Frames) -> list[str]:
    return list(ServiceRoles(frames, Access(frames)))[:ROLES_LIMIT]


def _the_telling(found: tuple[Explanation, ...]) -> tuple[Explanation, ...]:
    """Return the answers that tell something: those that fail, and one that works beside them."""
    failing = [answer for answer in found if not works(answer)]
    working = [answer for answer in found if works(answer)]
    return (*failing, *working[: max(1, 3 - len(failing))])


def _reached(source: Source, target: str) -> Source:
    missing = [name for name in NEEDS if name not in source.evidence]
    if missing:
        reasons = "; ".join(dict.fromkeys(_reasons(source, missing)))
        raise CaptureError(f"The access evidence of {target} did not come: {reasons}.", f"See `kit run CASE --target {target}`.")
    return source


def _reasons(source: Source, missing: Iterable[str]) -> Iterator[str]:
    attempts = source.evidence.get("connection")
    failed = [] if attempts is None else attempts.frame["message"].dropna().tolist()
    yield from failed or [source.gaps[name].reason for name in missing if name in source.gaps] or ["not captured"]
