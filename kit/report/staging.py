"""A report is written aside and swapped in whole: never a half-written folder in place of a good one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.case.folders import CAPTURES, WORKING_COPIES
from kit.errors import RunError

NOTES, MANIFEST = "notes.md", "manifest.json"
_NOTES_TEXT = "# Notes\n\nYour own words about this case. The kit never writes over this file.\n"
_KEPT = (CAPTURES, WORKING_COPIES, NOTES)


@contextlib.contextmanager
def staged(case_folder: Path) -> Iterator[Path]:
    """Yield a folder aside, with the case's captures, working copies and notes; swap it in when the block ends well.

    Raises RunError where the reports folder does not take it; what stood before stays as it was.
    """
    standing_aside = _make_aside(case_folder)
    aside = standing_aside / case_folder.name
    try:
        aside.mkdir()  # mode by the user's umask; what mkdtemp makes is private
        _carry_over(case_folder, aside)
        yield aside
        swap_in(aside, case_folder)
    except OSError as error:
        raise RunError(f"The report could not be written: {error.strerror or error}.", _room(error)) from error
    finally:
        shutil.rmtree(standing_aside, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: the SHA-256 of every file of the case folder but itself, the notes and working copies."""
    files = {
        str(path.relative_to(folder)): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in (WORKING_COPIES, NOTES, MANIFEST)
    }
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}, indent=1) + "\n", encoding="utf-8")


def swap_in(aside: Path, case_folder: Path) -> None:
    """Put `aside` in the place of the case folder, as two renames; undo the first if the second fails."""
    if not case_folder.exists():
        aside.rename(case_folder)
        return
    before = Path(tempfile.mkdtemp(prefix=f".{case_folder.name}-old-", dir=case_folder.parent))
    case_folder.rename(before / "case")
    try:
        aside.rename(case_folder)
    except OSError:
        (before / "case").rename(case_folder)
        raise
    finally:
        shutil.rmtree(before, ignore_errors=True)


def _make_aside(case_folder: Path) -> Path:
    try:
        case_folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{case_folder.name}-", dir=case_folder.parent))
    except OSError as error:
        message = f"{case_folder.parent} cannot be written: {error.strerror}."
        raise RunError(message, "Name a folder you may write to with --reports.") from error


def _carry_over(case_folder: Path, aside: Path) -> None:
    for name in _KEPT:
        before = case_folder / name
        if before.is_dir():
            shutil.copytree(before, aside / name, copy_function=_link_or_copy)
        elif before.is_file():
            shutil.copy2(before, aside / name)
    (aside / CAPTURES).mkdir(exist_ok=True)
    if not (aside / NOTES).exists():
        (aside / NOTES).write_text(_NOTES_TEXT, encoding="utf-8")


def _link_or_copy(source: str, target: str) -> None:
    """Captures are never altered, so a link does; working copies are, so they are copied."""
    if f"{os.sep}{WORKING_COPIES}{os.sep}" in source:
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _room(error: OSError) -> str:
    return "Free some space, then run again." if error.errno == 28 else "See that the reports folder can be written."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
