"""What `kit access` does: one of five ways to ask about access, each with an answer for programs and one for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.analyze.access.comparison import compare
from kit.analyze.access.deviations import deviations
from kit.analyze.access.expected import parse_expected
from kit.analyze.access.explanation import Explanation
from kit.analyze.access.resolution import name_parts
from kit.analyze.applications import mistaken_identity
from kit.analyze.error.text import read_error
from kit.analyze.findings import quoted
from kit.case.asking import Asked, answers, frames_of, is_nowhere, works
from kit.case.collecting import progress_line
from kit.case.matrix import write_matrix
from kit.case.showing import records, table_text
from kit.errors import ParameterError, TargetError
from kit.evidence.model import Frames
from kit.present.access import explanation_text
from kit.present.access_views import ComparisonView, TrialView
from kit.target import Target, resolve

DENIED, UNSEEN = 1, 3
# What the server says when it refuses for a reason that the gates are about.
_REFUSALS = frozenset({"42501", "42P01", "42703", "3F000", "28000", "28P01", "3D000"})
_UNEXPLAINED = (
    "Every gate that was looked at is open, so this evidence does not explain the error: it was another role, database, "
    "server or time, or something that the error does not name."
)
# What decides of several answers: the first that is denied, else not known.
_ORDER = (False, None, True)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: for programs, for people, and the exit status (0 allowed, 1 denied, 3 unknown)."""

    record: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    words: str
    status: int


def explained(target: str, asked: Asked, source: str | None = None, claims: Path | None = None) -> Answered:
    """Return the gates of what is asked; with claims, also what the server itself says to a role with that token."""
    place, presented = resolve(target), None if claims is None else _claims(claims)
    if presented is not None and place.bundle is not None:
        raise TargetError("--claims needs a live server.", "Name a target that is one; a bundle can be asked without it.")
    frames, found = _looked_up(place, asked, source)
    trial = None if presented is None else _tried(place, asked, found, presented, source)
    notes, is_open = _notes(frames, asked), _is_unexplained(asked, found)
    notes += [_UNEXPLAINED] if is_open else []
    record = _record(found, notes) | ({"allowed": None} if is_open else {})
    answered = Answered(record, _words(found, notes), UNSEEN if is_open else _status(found))
    return answered if trial is None else _with_trial(answered, trial)


def _with_trial(answered: Answered, trial: dict[str, Any]) -> Answered:
    """Return the answer with what the server itself said, which decides where the two differ."""
    from kit.case.trying import contradiction, decided

    assert isinstance(answered.record, dict)
    allowed = decided(answered.record["allowed"], trial)
    differs = contradiction(answered.record["allowed"], trial)
    words = "\n\n".join([answered.words, TrialView(trial).text(), *([differs] if differs else [])])
    record = {**answered.record, "allowed": allowed, "trial": trial}
    record["notes"] = [*record["notes"], *([differs] if differs else [])]
    return Answered(record, words, {True: 0, False: DENIED, None: UNSEEN}[allowed])


def _is_unexplained(asked: Asked, found: Sequence[Explanation]) -> bool:
    """Return whether the error says that the server refused, and every gate that was looked at is open."""
    return bool(asked.error) and bool(read_error(asked.error or "").sqlstates & _REFUSALS) and all(map(works, found))


def compared(target: str, asked: Asked, *, against_role: str | None, against: str | None, source: str | None = None) -> Answered:
    """Return why one works and the other does not: for another role, or the same question of another target."""
    a = frames_of(resolve(target), source)
    b = frames_of(resolve(against)) if against else a
    first = min(answers(a, asked), key=_rank).question
    comparison = compare(a, first, b, replace(first, role=against_role or first.role), _names(target, against))
    found = [comparison.a, comparison.b]
    return Answered(comparison.to_record(), ComparisonView(comparison).text(), _status(found))


def expected(target: str, file: Path, source: str | None = None) -> Answered:
    """Return what deviates from the access that a team's file expects."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise ParameterError(f"{file} cannot be read: {reason}.", "Name a TOML file of [[access]] entries.") from None
    found = deviations(frames_of(resolve(target), source), parse_expected(text, file.name))
    is_unseen = bool((found["actual"] == "not examined").any())
    words = table_text(found) if len(found) else f"Everything that {file.name} expects holds."
    status = UNSEEN if is_unseen and (found["actual"] == "not examined").all() else DENIED if len(found) else 0
    return Answered(records(found), words, status)


def written(target: str, out: Path, source: str | None = None, roles: Sequence[str] = ()) -> Answered:
    """Write the matrix of all roles and objects as Parquet."""
    frames = frames_of(resolve(target), source)
    with progress_line() as told:
        count = write_matrix(frames, out, roles or None, progress=told)
    return Answered({"matrix": str(out), "rows": count}, f"Matrix:  {out}\nRows:    {count}", 0)


def _looked_up(place: Target, asked: Asked, source: str | None) -> tuple[Frames, list[Explanation]]:
    frames = frames_of(place, source)
    found = answers(frames, asked)
    if place.bundle is None and is_nowhere(found):
        # Not in this database: the instance's others are worth a connection each.
        frames = frames_of(place, source, elsewhere=True)
        found = answers(frames, asked)
    return frames, found


def _claims(path: Path) -> Mapping[str, Any]:
    from kit.case.trying import read_claims  # it brings the driver along, which a bundle does not need

    return read_claims(path)


def _tried(
    place: Target, asked: Asked, found: Sequence[Explanation], claims: Mapping[str, Any], source: str | None
) -> dict[str, Any]:
    from kit.case import trying

    answer = found[0]
    if answer.object_name is None or answer.question.kind != "relation":
        raise ParameterError("There is no relation to try.", "Give --relation with a table or view that is there.")
    schema, name = name_parts(answer.object_name)
    trial = trying.tried(
        place, answer.question.role, (str(schema), name), answer.question.action, claims, asked.statement, source
    )
    return trial.to_record()


def _notes(frames: Frames, asked: Asked) -> list[str]:
    """Return what the error's log line says against what was looked at and who is connected; and what was not shown."""
    unseen = _unseen(frames)
    if not asked.error:
        return unseen
    session = read_error(asked.error).session
    here = frames.identity.database if frames.identity else None
    who = _differs("role", session.role, asked.role, "was asked about")
    where = _differs("database", session.database, here, "was looked at")
    mistaken = mistaken_identity(frames, session.role or asked.role, session.database) if "sessions" in frames else None
    return [*(note for note in (who, where, mistaken) if note), *unseen]


def _unseen(frames: Frames) -> list[str]:
    """Return what no plain role is shown; the gates are judged by catalogs that everybody reads."""
    identity = frames.identity
    if identity is None or identity.is_superuser:
        return []
    hidden = "pg_authid (whether a role has a password) and some settings"
    return [f"Asked as {quoted(identity.user)}, from whom the server hides {hidden}; no verdict here rests on them."]


def _differs(noun: str, said: str | None, looked_at: str | None, words: str) -> str | None:
    if said is None or looked_at is None or said == looked_at:
        return None
    return f"The error comes from {noun} {quoted(said)}; what {words} is {quoted(looked_at)}."


def _record(found: Sequence[Explanation], notes: Sequence[str]) -> dict[str, Any]:
    """Return the answer that decides the exit status, with all of them beside it where there are several."""
    first = min(found, key=_rank).to_record()
    if len(found) == 1:
        return {**first, "notes": list(notes)}
    every = [answer.to_record() for answer in found]
    stopped = [record for record in every if record["first_failed"]]
    # What mends the whole statement is all of it, or nothing where a part has no remedy.
    parts = dict.fromkeys(part for record in stopped for part in (record["remedy"] or "").split(";\n"))
    remedy = ";\n".join(parts) if stopped and "" not in parts else None
    opens = list(dict.fromkeys(words for record in stopped for words in record["opens"]))
    run_by = " / ".join(dict.fromkeys(record["run_by"] for record in stopped if record["run_by"])) or None
    return {**first, "remedy": remedy, "run_by": run_by, "opens": opens, "notes": list(notes), "answers": every}


def _rank(answer: Explanation) -> tuple[int, bool]:
    return _ORDER.index(answer.allowed), answer.first_failed is None


def _words(found: Sequence[Explanation], notes: Sequence[str]) -> str:
    return "\n\n".join([*map(explanation_text, found), *notes])


def _status(found: Sequence[Explanation]) -> int:
    verdicts = [answer.allowed for answer in found]
    return DENIED if False in verdicts else UNSEEN if None in verdicts else 0


def _names(target: str, against: str | None) -> tuple[str, str] | None:
    return None if against is None else (resolve(target).name, resolve(against).name)
