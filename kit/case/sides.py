"""What `kit diff` compares: bundles, captures of cases, and targets captured now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kit.analyze.document import FindingsDocument
from kit.case import folders
from kit.case.collecting import collected
from kit.case.judging import Question, judged
from kit.case.notes import held
from kit.errors import TargetError, UsageError
from kit.evidence import bundle
from kit.evidence.model import Capture, Source
from kit.target import resolve

_CASE = re.compile(r"([a-z0-9][a-z0-9._-]*)(?:(?:@|/captures/)([0-9A-Za-z:.-]+)/?)?\Z")
_HINT = "Name a case, CASE@TIME for a certain capture, a bundle's folder, or a target."


@dataclass(frozen=True)
class Side:
    """One side: what it is called, its capture, and the findings that were published with it, if any."""

    name: str
    capture: Capture
    symptom: str | None = None
    published: FindingsDocument | None = None

    @cached_property
    def document(self) -> FindingsDocument:
        """The judgement as it was published, or made now."""
        return self.published or judged(self.capture, Question(case="diff", symptom=self.symptom))

    def judged_with(self, symptom: str) -> Side:
        """Return the side with another symptom, judged anew."""
        return Side(self.name, self.capture, symptom)

    def source(self, name: str) -> Source:
        """Return the source of that name; UsageError where there is none."""
        try:
            return self.capture.source(name)
        except StopIteration:
            known = ", ".join(source.name for source in self.capture.sources)
            raise UsageError(f"{self.name} has no source {name!r}.", f"It has: {known}.") from None

    def to_record(self) -> dict[str, Any]:
        """Return which capture it is, for programs."""
        at = self.capture.started_at.isoformat()
        return {"name": self.name, "target": self.capture.target, "captured_at": at}


def side(text: str, reports: Path | None = None) -> Side:
    """Return the side that the words name: a bundle's folder, a case with or without a time, else a target, captured now.

    UsageError where they name nothing; BundleError where a bundle cannot be read.
    """
    if bundle.is_bundle(Path(text)):
        return _of_folder(Path(text), text)
    found = _CASE.match(text)
    folder = _case_folder(found[1], reports) if found else None
    if found and folder is not None:
        with held(folder.parent):
            return _of_case(folder, found[2])
    return _of_target(text, reports)


def last_two(text: str, reports: Path | None = None) -> tuple[Side, Side]:
    """Return the last two captures of a case, the older first; UsageError where it has not two."""
    found = _CASE.match(text)
    folder = _case_folder(text, reports) if found and not found[2] else None
    if folder is None:
        raise UsageError(f"{text} is one thing, and two are compared.", "Write: kit diff A B; a case alone has two captures.")
    with held(folder.parent):
        taken = folders.captures(folder)
        if len(taken) < 2:
            hint = f"Capture again: kit run {text} --target T; or name what to compare with: kit diff {text} B"
            raise UsageError(f"The case {text} has one capture, and two are compared.", hint)
        before, after = (_of_folder(path, f"{text}@{path.name}") for path in taken[-2:])
    return before, after


def _case_folder(name: str, reports: Path | None) -> Path | None:
    folder = folders.RECORDED_FOLDER if name == folders.RECORDED else folders.reports_folder(reports) / name
    return folder if (folder / folders.CAPTURES).is_dir() else None


def _of_case(folder: Path, time: str | None) -> Side:
    taken = folders.captures(folder)
    if not taken:
        raise UsageError(f"The case {folder.name} holds no capture.", f"Make one: kit run {folder.name} --target T")
    fitting = taken[-1:] if time is None else [path for path in taken if path.name.startswith(_compact(time))]
    if len(fitting) != 1:
        known = ", ".join(path.name for path in taken[-5:])
        count = "no capture" if not fitting else "more than one capture"
        raise UsageError(f"The case {folder.name} has {count} of {time}.", f"It has: {known}.")
    return _of_folder(fitting[0], f"{folder.name}@{fitting[0].name}")


def _compact(time: str) -> str:
    """Return a time as the folders write it: ISO 8601 without its signs; `Z` at the end of a beginning says nothing."""
    bare = time.replace("-", "").replace(":", "")
    return bare if "." in bare else bare.removesuffix("Z")


def _of_folder(folder: Path, name: str) -> Side:
    document = _document(folder / folders.FINDINGS)
    return Side(name, bundle.load(folder), document.symptom if document else None, document)


def _document(path: Path) -> FindingsDocument | None:
    try:
        return FindingsDocument.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _of_target(text: str, reports: Path | None) -> Side:
    try:
        target = resolve(text)
    except TargetError as error:
        if not _CASE.match(text):
            raise
        where = folders.reports_folder(reports).name
        raise UsageError(f"{text!r} is no case in {where}/, no bundle and no target.", _HINT) from error
    return Side(target.name, collected(target))
