"""Where cases live: `reports/<case>/`, beside the nearest kit.toml upwards, else in the working folder."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from kit.errors import ParameterError, UsageError
from kit.target import config_path

RECORDED = "recorded"
RECORDED_FOLDER = Path(__file__).parent.parent / "recorded"
CAPTURES, FINDINGS, WORKING_COPIES = "captures", "findings.json", "work"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


def checked_name(name: str) -> str:
    """Return the case's name; ParameterError where it cannot be one."""
    if not _NAME.match(name) or name == RECORDED or len(name) > 100:
        hint = "Use up to 100 small letters, digits, '.', '_' and '-', beginning with a letter or digit."
        raise ParameterError(f"{name!r} cannot name a case.", hint)
    return name


def reports_folder(named: Path | None = None) -> Path:
    """Return the folder of all cases: as named, else `KIT_REPORTS`, else beside kit.toml, else here."""
    if named is not None:
        return named
    if os.environ.get("KIT_REPORTS"):
        return Path(os.environ["KIT_REPORTS"])
    config = config_path()
    return (config.parent if config else Path.cwd()) / "reports"


def notebooks_folder() -> Path:
    """Return the folder of the kit's notebooks: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "notebooks"
    return inside if inside.is_dir() else package.parent / "notebooks"


def opened_folder(name: str) -> Path:
    """Return the case folder behind a name that a notebook or a person gives; UsageError if there is none.

    While the runner makes a report the case still stands aside, and `KIT_CASE_FOLDER` says where.
    """
    if name == RECORDED:
        return RECORDED_FOLDER
    standing_aside = os.environ.get("KIT_CASE_FOLDER")
    folder = Path(standing_aside) if standing_aside else _around(checked_name(name)) or reports_folder() / name
    if not folder.is_dir():
        raise UsageError(f"There is no case {name!r} in {folder.parent.name}/.", f"Make it: kit run {name} --target T")
    return folder


def _around(name: str) -> Path | None:
    """Return the case folder of that name around the working folder: a working copy runs inside it."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if folder.name == name and (folder / CAPTURES).is_dir()), None)


def captures(folder: Path) -> list[Path]:
    """Return the capture folders of a case, the newest last."""
    return sorted(path for path in (folder / CAPTURES).glob("*") if path.is_dir() and path.name[0] != ".")


def capture_name(at: datetime) -> str:
    """Return the folder name of a capture: its UTC time, which sorts.

    >>> capture_name(datetime(2026, 11, 20, 3, 4, 5, 678000))
    '20261120T030405.678Z'
    """
    return at.strftime("%Y%m%dT%H%M%S.") + f"{at.microsecond // 1000:03d}Z"
