"""Notes: people's own words about a case, in `notes.md` of its folder. The kit adds lines and never alters one."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from kit.analyze.document import ChangeEntry, FindingsDocument
from kit.case import folders
from kit.errors import KitError, ParameterError, UsageError
from kit.evidence.secrets import SHAPES
from kit.present.text import visible

NOTES = "notes.md"
KIND = "note"
LONGEST = 2000
# The kit's own lines, and those that people write the same way; everything else is prose without a time.
_DATED = re.compile(r"[-*] (\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d| UTC)?) +(\S.*)")
# A password as people tell it; one without a digit would be taken for a word of the sentence.
_TOLD = r"(?i)\b(?:password|passwd|passphrase|pwd|pw)\b\s*(?:is|was|[=:]|->)\s*(?!\*{3}|<masked>)(?=\S{5})[^\s\d]*\d"
_SECRET = [re.compile(shape) for shape in (_TOLD, *(shape for _, shape in SHAPES))]


def add_note(case: str, text: str, reports: Path | None = None, now: datetime | None = None) -> str:
    """Add a line with its time in UTC to the case's notes, and return the line.

    UsageError where there is no such case; ParameterError where the text is empty, too long, or holds a secret.
    """
    parent = folders.reports_folder(reports)
    folder = parent / folders.checked_name(case)
    words = _words(text, folder)
    line = f"- {(now or datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ} {words}"
    try:
        with held(parent):
            _refuse_missing(folder, case)
            _append(folder / NOTES, line)
    except OSError as error:
        raise UsageError(f"The note cannot be written: {error.strerror}.", f"See that {folder} can be written.") from error
    return line


@contextlib.contextmanager
def held(parent: Path) -> Iterator[None]:
    """Hold the folder of all cases for the moment of a note or of a swap, so that neither loses what the other writes.

    The folder itself is locked, so that no file is left behind; where it cannot be (Windows, some network file systems),
    nothing is held back.
    """
    file = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        file = os.open(parent, os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def dated_notes(folder: Path) -> list[ChangeEntry]:
    """Return the notes that begin with a time, as changes; prose, and a file that cannot be read, give none."""
    try:
        lines = (folder / NOTES).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = (_entry(line) for line in lines)
    return [entry for entry in found if entry is not None]


def with_notes(document: FindingsDocument, folder: Path) -> FindingsDocument:
    """Return the document with the case's notes of this moment on its time line.

    All of them: what people did about an incident happens after its window, and belongs to it.
    """
    others = [change for change in document.changes if change.kind != KIND]
    notes = dated_notes(folder)
    if not notes and len(others) == len(document.changes):
        return document
    ordered = sorted([*others, *notes], key=lambda change: (change.at, change.kind, change.summary))
    return document.model_copy(update={"changes": ordered})


def _entry(line: str) -> ChangeEntry | None:
    match = _DATED.match(line.strip())
    if match is None:
        return None
    try:
        at = datetime.fromisoformat(match[1].replace(" UTC", "Z"))
        moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return ChangeEntry(at=moment, kind=KIND, summary=visible(match[2])[:LONGEST], source=NOTES)


def _words(text: str, folder: Path) -> str:
    """Return the text as one line in which nothing is hidden: a line end in it would make another line of the file."""
    words = " ".join(visible(" ".join(text.split())).encode("utf-8", "replace").decode("utf-8").split())
    if not words:
        raise ParameterError("The note is empty.", 'Write: kit note CASE "what was seen or done".')
    if len(words) > LONGEST:
        raise ParameterError(f"The note is longer than {LONGEST:,} characters.", "Write it into notes.md itself.")
    if _holds_secret(words, folder) or _holds_secret(text, folder):
        hint = "Say it without the secret: a note is handed on with the report."
        raise ParameterError("The note looks as if it held a password or another secret; nothing was written.", hint)
    return words


def _holds_secret(text: str, folder: Path) -> bool:
    """Return whether it has the shape of a secret, or is a password of the case's own targets.

    The gate would refuse the next report for either. What is masked already is no secret.
    """
    from kit.collect.masking import MASKED, holds_token
    from kit.collect.secrecy import secrecy_of

    masked = secrecy_of(_conninfos(folder)).text(text)
    is_shaped = any(shape.search(text) for shape in _SECRET) or holds_token(text)
    return is_shaped or masked.replace("***", MASKED) != text.replace("***", MASKED)


def _conninfos(folder: Path) -> list[str]:
    """Return how the case's targets are reached, as far as they can still be resolved."""
    from kit.target import resolve

    found: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        document = FindingsDocument.model_validate_json((folder / folders.FINDINGS).read_text(encoding="utf-8"))
        for name in document.targets:
            with contextlib.suppress(KitError):
                found += resolve(name).conninfos
    return found


def _refuse_missing(folder: Path, case: str) -> None:
    if folder.is_dir():
        return
    there = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(case, there, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Make it: kit run {case} --target T"
    raise UsageError(f"There is no case {case!r} in {folder.parent.name}/.", hint)


def _append(path: Path, line: str) -> None:
    """Add the line as one write at the end of the file, on a line of its own."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.lseek(file, 0, os.SEEK_END)
        before = os.pread(file, 1, size - 1) if size else b"\n"
        os.write(file, (b"" if before == b"\n" else b"\n") + line.encode("utf-8") + b"\n")
    finally:
        os.close(file)
