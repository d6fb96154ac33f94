"""What `kit diff` does: two captures, identities, services or revisions, one that works and one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.analyze.access.search_path import identifiers
from kit.analyze.cloud.comparison import Deployed
from kit.analyze.differences.comparing import SourcePair, compare_roles, compare_services, compare_sources
from kit.analyze.differences.deployed import names_of
from kit.analyze.differences.judgements import FindingChanges, finding_changes
from kit.analyze.differences.model import Differences
from kit.analyze.symptom import Symptom, parse_symptom
from kit.case.sides import Side, last_two, side
from kit.errors import ParameterError, UnknownRole, UsageError
from kit.evidence.model import Capture, Frames, Source
from kit.present.differences import listing, told
from kit.present.displays import Display

DIFFERENT, UNSEEN = 1, 3
Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: a record for programs, words for people, the exit status (0, 1 or 3)."""

    record: Mapping[str, Any]
    words: str
    status: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What two things are compared within the sides; at most one of them, and with none the whole captures."""

    sources: str | None = None
    roles: str | None = None
    services: str | None = None
    revisions: str | None = None

    @property
    def chosen(self) -> str | None:
        """Return the name of the one that is asked for; ParameterError where there are several."""
        found = [name for name in self.__slots__ if getattr(self, name) is not None]
        if len(found) > 1:
            raise ParameterError("One kind of thing is compared at a time.", f"Give one of {', '.join(f'--{n}' for n in found)}.")
        return found[0] if found else None


def diff(a: str, b: str | None, asked: Asked, symptom: str | None = None, reports: Path | None = None) -> Answer:
    """Return in what A, which works, and B, which fails, differ; without B, the last two captures of the case A.

    UsageError where something that is named is not there.
    """
    pair = _pair(getattr(asked, asked.chosen), asked.chosen, b) if asked.chosen else None
    sides = _sides(a, b, pair, reports)
    if symptom is not None:
        sides = (sides[0].judged_with(symptom), sides[1].judged_with(symptom))
    return _COMPARED[asked.chosen or "captures"](*sides, pair or ("", ""))


def shown_against(other: str, capture: Capture, symptom: str | None) -> Display:
    """Return in what a case, bundle or target, which works, and a capture, which fails, differ, as a table to look at."""
    works = side(other)
    pairs = list(_paired(works.capture.sources, capture.sources))
    return listing(compare_sources(pairs, parse_symptom(symptom), same_target=works.capture.target == capture.target))


def _sides(a: str, b: str | None, pair: Names | None, reports: Path | None) -> tuple[Side, Side]:
    if b is not None:
        return side(a, reports), side(b, reports)
    if pair is None:
        return last_two(a, reports)
    one = side(a, reports)
    return one, one


def _pair(text: str, kind: str, b: str | None) -> Names:
    names = identifiers(text) if kind == "roles" else tuple(name.strip() for name in text.split(","))
    if not names or not all(names) or len(names) > 2 or (len(names) == 1 and b is None) or (names[0] == names[-1] and b is None):
        hint = f"Write --{kind} WORKS,FAILS; one name only where two captures are given."
        raise ParameterError(f"--{kind} names the two {kind} to compare.", hint)
    return names[0], names[-1]


def _symptom(a: Side, b: Side) -> Symptom | None:
    return parse_symptom(b.symptom or a.symptom)


def _captures(a: Side, b: Side, _: Names) -> Answer:
    pairs = list(_paired(a.capture.sources, b.capture.sources))
    found = compare_sources(pairs, _symptom(a, b), same_target=a.capture.target == b.capture.target)
    names = {theirs.name: ours.name for ours, theirs in pairs if ours and theirs}
    return _answer(a, b, found, finding_changes(a.document, b.document, names))


def _paired(ours: Iterable[Source], theirs: Iterable[Source]) -> Iterable[SourcePair]:
    """Yield the sources of both sides by name; a kind of which each side has but one needs no name."""
    left, right = list(ours), list(theirs)
    for one in list(left):
        alike = [other for other in right if other.name == one.name and other.kind == one.kind]
        if not alike and sum(s.kind == one.kind for s in ours) == sum(s.kind == one.kind for s in theirs) == 1:
            alike = [other for other in right if other.kind == one.kind]
        if alike:
            left.remove(one)
            right.remove(alike[0])
            yield one, alike[0]
    yield from ((one, None) for one in left)
    yield from ((None, other) for other in right)


def _sources(a: Side, b: Side, names: Names) -> Answer:
    one, other = a.source(names[0]), b.source(names[1])
    if one.kind != other.kind:
        hint = "Name two databases, or two sources of cloud exports."
        raise UsageError(f"{one.name} is a {one.kind} source, {other.name} a {other.kind} source.", hint)
    found = compare_sources([(one, other)], _symptom(a, b), same_target=a.capture.target == b.capture.target)
    return _answer(a, b, found, finding_changes(a.document, b.document, {other.name: one.name}), "source", names)


def _roles(a: Side, b: Side, names: Names) -> Answer:
    frames = tuple(_with_role(side, name) for side, name in zip((a, b), names, strict=True))
    return _answer(a, b, compare_roles(frames[0], names[0], frames[1], names[1], _symptom(a, b)), None, "role", names)


def _with_role(of: Side, name: str) -> Frames:
    """Return the first database that knows the role; UnknownRole where none does."""
    found = [Frames(source) for source in of.capture.sources if "roles" in source.evidence]
    known = [str(role) for frames in found for role in frames["roles"]["role_name"]]
    if name not in known:
        hint = f"Known: {', '.join(role for role in known if not role.startswith('pg_'))}."
        raise UnknownRole(f"{of.name} has no role {name!r}.", hint if found else "Its roles were not captured.")
    return next(frames for frames in found if name in set(frames["roles"]["role_name"]))


def _deployed(kind: str) -> Callable[[Side, Side, Names], Answer]:
    def compared(a: Side, b: Side, names: Names) -> Answer:
        one, other = (_deployment(side, kind, name) for side, name in zip((a, b), names, strict=True))
        return _answer(a, b, compare_services(one, other), None, kind, names)

    return compared


def _deployment(of: Side, kind: str, name: str) -> Deployed:
    found = [Frames(source) for source in of.capture.sources if source.kind == "cloud"]
    for frames in found:
        if name in names_of(frames, f"{kind}_name"):
            return Deployed(frames, name) if kind == "service" else Deployed(frames, _service_of(frames, name), name)
    known = ", ".join(known for frames in found for known in names_of(frames, f"{kind}_name")) or "none"
    hint = f"It has: {known}." if found else "It has no cloud exports: capture with --cloud FOLDER."
    raise UsageError(f"{of.name} has no {kind} {name!r}.", hint)


def _service_of(frames: Frames, revision: str) -> str:
    rows = frames["revisions"]
    return str(rows.loc[rows["revision_name"] == revision, "service_name"].iloc[0])


_COMPARED: Mapping[str, Callable[[Side, Side, Names], Answer]] = {
    "captures": _captures,
    "sources": _sources,
    "roles": _roles,
    "services": _deployed("service"),
    "revisions": _deployed("revision"),
}


def _answer(
    a: Side, b: Side, found: Differences, changed: FindingChanges | None, kind: str = "", names: Names = ("", "")
) -> Answer:
    status = DIFFERENT if found.all else 0 if found.is_complete else UNSEEN
    sides = [one.to_record() | ({kind: name} if kind else {}) for one, name in zip((a, b), names, strict=True)]
    verdicts = [one.document.verdict.model_dump(mode="json") for one in (a, b)] if changed else None
    record = {
        "a": sides[0],
        "b": sides[1],
        "status": {0: "equal", DIFFERENT: "different", UNSEEN: "not compared"}[status],
        "verdict": {"a": verdicts[0], "b": verdicts[1]} if verdicts else None,
        **found.to_record(),
        "findings": changed.to_record() if changed else None,
    }
    return Answer(record, told(record, found), status)
