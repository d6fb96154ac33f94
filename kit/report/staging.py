"""A report is written aside and swapped in whole: never a half-written folder in place of a good one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kit.case.folders import CAPTURES, WORKING_COPIES
from kit.case.notes import NOTES, held
from kit.errors import RunError
from kit.sandbox.scratch import deferred_signals

MANIFEST = "manifest.json"
_NOTES_TEXT = "# Notes\n\nYour own words about this case. The kit never writes over this file.\n"
_BEFORE = ".before"  # no case has such a name


@contextlib.contextmanager
def only_run(case_folder: Path) -> Iterator[None]:
    """Hold the case, so that two runs never replace each other's captures; RunError at once where another run holds it.

    What a killed run left aside is removed.
    """
    path = case_folder.parent / f".{case_folder.name}.lock"
    made = not case_folder.parent.exists()
    try:
        case_folder.parent.mkdir(parents=True, exist_ok=True)
        held = _locked(path)
    except OSError as error:
        raise _unwritable(case_folder.parent, error) from error
    if held is None:
        message = f"Another run of the case {case_folder.name!r} is under way."
        raise RunError(message, "Wait for its end, then run again; or name another case.")
    try:
        _tidy(case_folder)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(held)
        if made:
            with contextlib.suppress(OSError):
                case_folder.parent.rmdir()  # only where nothing came into it


@contextlib.contextmanager
def staged(case_folder: Path) -> Iterator[Path]:
    """Yield a folder aside, with the case's captures, working copies and notes; swap it in when the block ends well.

    Raises RunError where the reports folder does not take it; what stood before stays as it was.
    """
    standing_aside = _make_aside(case_folder)
    aside = standing_aside / case_folder.name
    try:
        aside.mkdir()  # mode by the user's umask; what mkdtemp makes is private
        _carry_captures(case_folder, aside)
        _carry_own_work(case_folder, aside)
        yield aside
        with held(case_folder.parent):  # a note that came between the two would be lost
            _carry_own_work(case_folder, aside)  # people wrote on while the notebooks ran
            swap_in(aside, case_folder)
    except OSError as error:
        raise RunError(f"The report could not be written: {error.strerror or error}.", _room(error)) from error
    finally:
        with deferred_signals():
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
    """Put `aside` in the place of the case folder, as two renames; undo the first if the second fails.

    Ctrl-C waits meanwhile: between the two there is no report, and the only copy lies where it would be removed.
    """
    before = aside.parent / _BEFORE
    with deferred_signals():
        if case_folder.exists():
            case_folder.rename(before)
        try:
            aside.rename(case_folder)
        except OSError:
            if before.exists():
                before.rename(case_folder)
            raise


def _locked(path: Path) -> int | None:
    """Return the open file that holds the lock, or None where somebody else holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is held back there
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)  # the one who held it has removed the file meanwhile


def _tidy(case_folder: Path) -> None:
    """Remove what a killed run left aside; put the report back where it died between the two renames."""
    name = re.compile(re.escape(f".{case_folder.name}-") + r"[a-z0-9_]{8}\Z")
    for left in [path for path in case_folder.parent.iterdir() if name.match(path.name)]:
        if (left / _BEFORE).exists() and not case_folder.exists():
            (left / _BEFORE).rename(case_folder)
        shutil.rmtree(left, ignore_errors=True)


def _make_aside(case_folder: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{case_folder.name}-", dir=case_folder.parent))
    except OSError as error:
        raise _unwritable(case_folder.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder} cannot be written: {error.strerror}.", "Name a folder you may write to with --reports.")


def _carry_captures(case_folder: Path, aside: Path) -> None:
    """Captures are never altered, so links do."""
    if (case_folder / CAPTURES).is_dir():
        shutil.copytree(case_folder / CAPTURES, aside / CAPTURES, copy_function=_link_or_copy, symlinks=True)
    (aside / CAPTURES).mkdir(exist_ok=True)


def _carry_own_work(case_folder: Path, aside: Path) -> None:
    """Copy what people write themselves: the notes and the working copies."""
    copies = aside / WORKING_COPIES
    if copies.exists():
        shutil.rmtree(copies)
    if (case_folder / WORKING_COPIES).is_dir():
        shutil.copytree(case_folder / WORKING_COPIES, copies, symlinks=True)
    if (case_folder / NOTES).is_file():
        shutil.copy2(case_folder / NOTES, aside / NOTES)
    elif not (aside / NOTES).exists():
        (aside / NOTES).write_text(_NOTES_TEXT, encoding="utf-8")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _room(error: OSError) -> str:
    return "Free some space, then run again." if error.errno == errno.ENOSPC else "See that the reports folder can be written."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
